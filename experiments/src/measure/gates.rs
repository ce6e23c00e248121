//! Whether a model solves the task that its parts are scored on: without that, scores say little.

use anyhow::Result;
use refrain_entropy::stats::quantile;
use refrain_entropy::table::{GateName, GateRow};
use refrain_patching::{Metric, Pair, Targets, measure};
use refrain_runner::{BoundInterventions, Intervention, LogitPositions, Model, Run};
use tch::{Kind, Tensor};

use crate::lab::Report;

/// Share of the pairs that the clean run must solve.
const SOLVED: f64 = 0.5;
/// Median gap between clean and corrupted run, in logits.
const GAP: f64 = 1.0;
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
            "  gate `{}` of {} {state}: {} (at least {}, {} pairs)",
            gate.gate, gate.subject, gate.message, gate.threshold, gate.n
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
