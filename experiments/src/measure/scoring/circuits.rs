//! Circuits: what the model still does with all heads outside a growing set ablated.

use anyhow::Result;
use refrain_patching::table::CircuitScoreRow;
use refrain_patching::{Change, CircuitSettings, Selection, select_circuits};

use super::rows::{NOT_FINITE, finite};
use super::settings::Scoring;

/// Sets times pairs that are run at once.
const ROWS: usize = 64;

/// The curves over the number of heads: the strongest first, and selected greedily among twice as many. Ablated
/// heads have the values of the corrupted prompts.
///
/// # Errors
/// If the model cannot be run.
pub fn curves(scoring: &Scoring<'_>) -> Result<Vec<CircuitScoreRow>> {
    let most = scoring.circuit_heads.min(scoring.model.heads().len());
    let settings = CircuitSettings {
        metrics: scoring.metrics.clone(),
        change: Change::Noise,
        selections: vec![Selection::Top, Selection::Greedy],
        sizes: (1..=most).collect(),
        candidates: 2 * most,
        rows: ROWS,
    };
    let row = |found: refrain_patching::SelectedCircuit| {
        let score = found.score;
        let heads: Vec<String> = score.heads.iter().map(ToString::to_string).collect();
        CircuitScoreRow {
            method: found.selection,
            n_heads: score.heads.len() as u32,
            heads: heads.join(" "),
            metric: found.metric.into(),
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
    Ok(select_circuits(scoring.model, scoring.pairs, &settings)?.into_iter().map(row).collect())
}
