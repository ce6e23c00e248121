//! Perplexity on ordinary text: what a condition costs.

use anyhow::Result;
use refrain_entropy::table::PerplexityRow;
use refrain_patching::read_out::{Likelihood, likelihoods};
use refrain_runner::{BoundInterventions, Model};

use super::condition::Condition;

/// Each text's likelihood.
///
/// # Errors
/// If a text does not fit the window or the model cannot be run.
pub fn likelihood(model: &Model, texts: &[Vec<i64>], condition: &Condition) -> Result<Vec<PerplexityRow>> {
    let bound = BoundInterventions::new(model.architecture(), &condition.interventions, &[])?;
    let row = |(text, found): (usize, Likelihood)| {
        let nll_nats = found.nll_nats / found.tokens as f64;
        PerplexityRow {
            condition: condition.id(),
            text: Some(text as u32),
            tokens: found.tokens as u32,
            nll_nats,
            perplexity: nll_nats.exp(),
            ci_low: None,
            ci_high: None,
            n_texts: 1,
            reason: None,
        }
    };
    Ok(likelihoods(model, texts, &bound)?.into_iter().enumerate().map(row).collect())
}
