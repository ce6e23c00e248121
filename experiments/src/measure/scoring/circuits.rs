//! Circuits: what the model still does with all heads outside a growing set ablated.

use anyhow::{Result, ensure};
use refrain_patching::attribution;
use refrain_patching::sweep::Change;
use refrain_patching::table::CircuitScoreRow;
use refrain_patching::{CircuitScore, Circuits, Component, Pair, compare};
use refrain_runner::Head;

use super::Scoring;
use super::rows::{NOT_FINITE, finite};

/// Sets times pairs that are run at once.
const ROWS: usize = 64;

/// The curves over the number of heads: in the order of attribution patching's estimates, and selected greedily among as many again.
/// Ablated heads have the values of the corrupted prompts.
///
/// # Errors
/// If the metric has no gradient, or the model cannot be run.
pub fn curves(scoring: &Scoring<'_>) -> Result<Vec<CircuitScoreRow>> {
    let metric = scoring.metrics[0];
    ensure!(
        metric.is_smooth(),
        "circuit: heads are ranked by a gradient, and {metric} has none\nhint: --metric logit or logit_diff"
    );
    let ranking = ranking(scoring, scoring.pairs)?;
    let most = scoring.circuit_heads.min(ranking.len());
    let circuits = Circuits::new(scoring.model, scoring.pairs, metric, Change::Noise, ROWS)?;
    let row = |method: &str, score: CircuitScore| {
        let heads: Vec<String> = score.heads.iter().map(ToString::to_string).collect();
        CircuitScoreRow {
            method: method.into(),
            n_heads: score.heads.len() as u32,
            heads: heads.join(" "),
            metric: metric.name().into(),
            value: finite(score.value),
            faithfulness: score.faithfulness.and_then(finite),
            incompleteness: score.incompleteness.and_then(finite),
            reason: match score.faithfulness {
                _ if !score.value.is_finite() => Some(NOT_FINITE.to_owned()),
                Some(share) if !share.is_finite() => Some(NOT_FINITE.to_owned()),
                Some(_) => None,
                None => Some("the whole model and the empty circuit hardly differ".to_owned()),
            },
        }
    };
    let sizes: Vec<usize> = (0..=most).collect();
    let mut rows: Vec<CircuitScoreRow> =
        circuits.curve(&ranking, &sizes)?.into_iter().map(|score| row("top", score)).collect();
    let candidates = &ranking[..(2 * most).min(ranking.len())];
    rows.extend(circuits.greedy(candidates, most)?.into_iter().map(|score| row("greedy", score)));
    Ok(rows)
}

/// The heads, those first whose z attribution patching estimates to do most.
fn ranking(scoring: &Scoring<'_>, pairs: &[Pair]) -> Result<Vec<Head>> {
    let settings = refrain_patching::sweep::Settings {
        components: vec![Component::Z],
        metrics: vec![scoring.metrics[0]],
        by_position: false,
        by_key_position: false,
        ..scoring.sweep(Change::Noise)
    };
    let changes = compare::changes(&attribution::atp(scoring.model, pairs, &settings)?, true);
    let mut heads: Vec<(Head, f64)> = changes
        .into_iter()
        .map(|(site, changes)| (Head { layer: site.layer, head: site.index }, changes[0].abs()))
        .collect();
    heads.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(heads.into_iter().map(|(head, _)| head).collect())
}
