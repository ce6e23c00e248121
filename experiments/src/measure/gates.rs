//! Whether a model solves the task that its parts are scored on: without that, scores say little.

use anyhow::Result;
use refrain_entropy::stats::quantile;
use refrain_entropy::table::{CountOutcome, CountRow, GateName, GateRow};
use refrain_patching::{Metric, Pair, Targets, measure};
use refrain_runner::{BoundInterventions, Intervention, LogitPositions, Model, Run};
use tch::{Kind, Tensor};

use crate::lab::Report;

/// Share of the pairs that the clean run must solve.
const SOLVED: f64 = 0.5;
/// Median gap between clean and corrupted run, in logits.
const GAP: f64 = 1.0;
/// Counts that a model which follows the instruction at all can be expected to try.
const SMALL: u32 = 8;
/// Pairs that run at once.
const ROWS: usize = 16;

/// The gates of a task, from one clean and one corrupted run of every pair under the interventions of `background`: the
/// share of pairs whose answer is the clean run's single most probable token, and the median difference of `metric`
/// between the two runs. A metric other than of logits has no threshold of ours, and so no gap.
///
/// # Errors
/// If the model cannot be run.
pub fn gates(
    task: &str,
    metric: Metric,
    pairs: &[Pair],
    model: &Model,
    background: &[Intervention],
) -> Result<Vec<GateRow>> {
    let bound = BoundInterventions::new(model.architecture(), background, &[])?;
    let last = |prompts: Vec<Vec<i64>>| -> Result<Tensor> {
        let run = Run { interventions: Some(&bound), logits: LogitPositions::Last, ..Run::default() };
        let output = tch::no_grad(|| model.run(&model.ids(&prompts)?, run))?;
        Ok(output.logits()?.f_squeeze_dim(1)?)
    };
    let (mut solved, mut gaps) = (0, Vec::with_capacity(pairs.len()));
    for batch in refrain_patching::batches(pairs, ROWS)? {
        let own: Vec<Pair> = batch.iter().map(|pair| pairs[*pair].clone()).collect();
        let clean = last(own.iter().map(|pair| pair.clean.clone()).collect())?;
        solved += first_alone(&clean, &own)?;
        if metric.is_of_logits() {
            let corrupted = last(own.iter().map(|pair| pair.corrupted.clone()).collect())?;
            let targets = Targets::new(model, &own)?;
            let of = |logits| measure(&[metric], logits, &targets);
            gaps.extend(of(&clean)?.iter().zip(&of(&corrupted)?).map(|(clean, corrupted)| clean - corrupted));
        }
    }
    let n = pairs.len() as u32;
    let share = f64::from(solved) / f64::from(n.max(1));
    let mut rows = vec![GateRow {
        gate: GateName::Solved,
        subject: task.into(),
        value: Some(share),
        threshold: SOLVED,
        passed: share >= SOLVED,
        n,
        message: format!("the answer comes first in {:.1} % of the clean runs", 100.0 * share),
    }];
    if metric.is_of_logits() {
        gaps.sort_by(f64::total_cmp);
        let median = Some(quantile(&gaps, 0.5)).filter(|median| median.is_finite());
        rows.push(GateRow {
            gate: GateName::Gap,
            subject: task.into(),
            value: median,
            threshold: GAP,
            passed: median.is_some_and(|median| median >= GAP),
            n,
            message: match median {
                Some(median) => format!("median clean - corrupted {metric}: {median:.2}"),
                None => format!("the {metric} is not finite in half of the pairs"),
            },
        });
    }
    Ok(rows)
}

/// What [`followed`] is a gate of.
pub const COUNTING: &str = "counting";

/// Whether the model does what it is asked: the share of untouched runs with N up to 8, of which nothing is in the
/// prompt yet, that attempt to count at all. Not passed where no such N was asked for.
pub fn followed(counts: &[CountRow]) -> GateRow {
    let is_small = |row: &&CountRow| (2..=SMALL).contains(&row.n) && row.prefilled == 0;
    let small: Vec<&CountRow> =
        counts.iter().filter(|row| row.condition == "none").filter(is_small).collect();
    let tried = small.iter().filter(|row| row.outcome != CountOutcome::NoAttempt).count();
    let share = (!small.is_empty()).then(|| tried as f64 / small.len() as f64);
    GateRow {
        gate: GateName::Followed,
        subject: COUNTING.into(),
        value: share,
        threshold: SOLVED,
        passed: share.is_some_and(|share| share >= SOLVED),
        n: small.len() as u32,
        message: match share {
            Some(share) => {
                format!("{:.0} % of the runs with N from 2 to {SMALL} attempt to count", 100.0 * share)
            }
            None => {
                format!("not measured: no N from 2 to {SMALL} was asked for without copies in the prompt")
            }
        },
    }
}

/// How many rows of `logits`, `[pairs, vocab]`, are finite and have the pair's answer above every other token.
fn first_alone(logits: &Tensor, pairs: &[Pair]) -> Result<u32> {
    let answers: Vec<i64> = pairs.iter().map(|pair| pair.answer).collect();
    let answers = Tensor::f_from_slice(&answers)?.f_to_device(logits.device())?.f_unsqueeze(1)?;
    let others = logits.f_ge_tensor(&logits.f_gather(1, &answers, false)?)?;
    let alone = others.f_sum_dim_intlist(1, false, Kind::Int64)?.f_eq(1)?;
    let finite = logits.f_isfinite()?.f_all_dim(1, false)?;
    Ok(alone.f_logical_and(&finite)?.f_sum(Kind::Int64)?.f_int64_value(&[])? as u32)
}

/// Whether every gate of `task` is passed.
pub fn passed(gates: &[GateRow], task: &str) -> bool {
    gates.iter().filter(|gate| gate.subject == task).all(|gate| gate.passed)
}

/// Says of each gate how it stands, and what it means if it is not passed.
pub fn gate_notes(report: &mut Report, gates: &[GateRow]) {
    for gate in gates {
        let state = if gate.passed { "passed" } else { "NOT passed" };
        report.note(&format!(
            "  gate `{}` of {} {state}: {} (at least {}, {} {})",
            gate.gate,
            gate.subject,
            gate.message,
            gate.threshold,
            gate.n,
            if gate.gate == GateName::Followed { "runs" } else { "pairs" }
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wording_is_followed_if_half_of_the_small_counts_are_tried() {
        let row = |condition: &str, n: u32, outcome: CountOutcome| -> CountRow {
            serde_json::from_value(serde_json::json!({
                "condition": condition, "n": n, "pool": "top", "item": 0, "phrase": "a", "phrase_tokens": 1,
                "decoding": "greedy", "sample": 0, "prefilled": if n > 8 { 8 } else { 0 }, "prompt_id": "x",
                "prompt_tokens": 1, "tokens": 1, "response_tokens": 1, "repetitions": 1, "copies": 1,
                "separator": null, "separator_changed": false, "words_before": false, "words_after": false,
                "end": "stopped", "outcome": outcome, "feasible": true, "exact": false, "overshoot": 1.0,
                "trailing_cycle": null, "rep_4": null, "reason": null,
            }))
            .unwrap()
        };
        use CountOutcome::{BrokeOffStopped, NoAttempt, PhraseLoop};
        let mut rows =
            vec![row("none", 2, BrokeOffStopped), row("none", 8, NoAttempt), row("none", 4, NoAttempt)];
        // Copies in the prompt make any model go on, and a condition is not the model.
        rows.extend([row("none", 16, PhraseLoop), row("log:induction", 4, PhraseLoop)]);
        let gate = followed(&rows);
        assert_eq!((gate.value, gate.n, gate.passed), (Some(1.0 / 3.0), 3, false));
        rows.push(row("none", 4, PhraseLoop));
        assert!(followed(&rows).passed);
        let gate = followed(&rows[3..4]);
        assert!(gate.value.is_none() && !gate.passed && gate.message.starts_with("not measured"), "{gate:?}");
        // One copy of one is no sign that the model counts.
        assert!(followed(&[row("none", 1, PhraseLoop)]).value.is_none());
    }

    #[test]
    fn only_a_finite_answer_above_all_others_is_solved() {
        let pair = Pair { clean: vec![1], corrupted: vec![2], answer: 2, foil: None };
        let solved = |logits: [f32; 4]| {
            let logits = Tensor::from_slice(&logits).unsqueeze(0);
            first_alone(&logits, std::slice::from_ref(&pair)).unwrap()
        };
        assert_eq!(solved([0.0, 1.0, 2.0, -1.0]), 1);
        assert_eq!(solved([0.0, 3.0, 2.0, -1.0]), 0);
        // Level with another: the model does not choose the answer.
        assert_eq!(solved([0.0, 2.0, 2.0, -1.0]), 0);
        assert_eq!(solved([1.0; 4]), 0);
        // Nothing is larger than a number that is none.
        assert_eq!(solved([f32::NAN; 4]), 0);
        assert_eq!(solved([0.0, f32::NAN, 2.0, -1.0]), 0);
        assert_eq!(solved([0.0, 1.0, f32::INFINITY, -1.0]), 0);
    }
}
