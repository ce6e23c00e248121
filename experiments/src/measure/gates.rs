//! Whether a model solves the task that its parts are scored on: without that, scores say little.

use anyhow::Result;
use refrain_entropy::stats::quantile;
use refrain_entropy::table::GateRow;
use refrain_patching::table::HeadScoreRow;
use refrain_patching::{Metric, Pair, Targets, measure};
use refrain_runner::{LogitPositions, Model, Run};

/// Share of the pairs that the clean run must solve.
const SOLVED: f64 = 0.5;
/// Median gap between clean and corrupted run, in logits.
const GAP: f64 = 1.0;
/// Pairs that run at once.
const ROWS: usize = 16;

/// The gates of a task: the share of its pairs whose answer is the clean run's most probable token, and the median difference of
/// `metric` between clean and corrupted runs, as `scores` has it.
///
/// # Errors
/// If the model cannot be run.
pub fn gates(
    task: &str,
    metric: Metric,
    scores: &[HeadScoreRow],
    pairs: &[Pair],
    model: &Model,
) -> Result<Vec<GateRow>> {
    let mut ranks = Vec::with_capacity(pairs.len());
    for batch in refrain_patching::batches(pairs, ROWS)? {
        let own: Vec<Pair> = batch.iter().map(|pair| pairs[*pair].clone()).collect();
        let ids = model.ids(&own.iter().map(|pair| pair.clean.clone()).collect::<Vec<_>>())?;
        let run = Run { logits: LogitPositions::Last, ..Run::default() };
        let output = tch::no_grad(|| model.run(&ids, run))?;
        let logits = output.logits()?.f_squeeze_dim(1)?;
        ranks.extend(measure(&[Metric::Rank], &logits, &Targets::new(model, &own)?)?.iter().copied());
    }
    let n = ranks.len() as u32;
    let solved = ranks.iter().filter(|rank| **rank == 0.0).count() as f64 / ranks.len().max(1) as f64;
    let mut rows = vec![GateRow {
        gate: "solved".into(),
        subject: task.into(),
        value: Some(solved),
        threshold: SOLVED,
        passed: solved >= SOLVED,
        n,
        message: format!(
            "the answer is the most probable token in {:.1} % of the clean runs",
            100.0 * solved
        ),
    }];
    // A gap in another unit has no threshold of ours.
    if metric.is_of_logits() {
        let mut gaps = gaps(scores, metric);
        gaps.sort_by(f64::total_cmp);
        let median = Some(quantile(&gaps, 0.5)).filter(|median| median.is_finite());
        rows.push(GateRow {
            gate: "gap".into(),
            subject: task.into(),
            value: median,
            threshold: GAP,
            passed: median.is_some_and(|median| median >= GAP),
            n: gaps.len() as u32,
            message: match median {
                Some(median) => format!("{metric}: clean - corrupted is {median:.2} in the median"),
                None => "clean and corrupted runs were not compared".into(),
            },
        });
    }
    Ok(rows)
}

/// Clean - corrupted of every prompt, from the rows of any one site.
fn gaps(scores: &[HeadScoreRow], metric: Metric) -> Vec<f64> {
    let mut by_prompt = std::collections::BTreeMap::new();
    for row in scores.iter().filter(|row| row.metric == metric.name()) {
        if let (Some(prompt), Some(clean), Some(corrupted)) =
            (row.prompt, row.clean_value, row.corrupted_value)
        {
            by_prompt.entry(prompt).or_insert(clean - corrupted);
        }
    }
    by_prompt.into_values().collect()
}
