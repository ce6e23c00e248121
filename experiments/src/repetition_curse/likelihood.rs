//! Perplexity on ordinary text under each condition: what an intervention costs.

use anyhow::Result;
use refrain_entropy::stats::bootstrap_ratio;
use refrain_entropy::table::PerplexityRow;
use refrain_patching::read_out::likelihoods;
use refrain_runner::BoundInterventions;

use super::conditions::Condition;
use super::settings::Settings;
use super::subject::Subject;

/// Each text's likelihood, then all of them pooled by token.
///
/// # Errors
/// If a text does not fit the window or the model cannot be run.
pub fn likelihood(
    subject: &Subject,
    settings: &Settings,
    texts: &[Vec<i64>],
    condition: &Condition,
) -> Result<Vec<PerplexityRow>> {
    let plan = BoundInterventions::new(subject.model.architecture(), &condition.interventions, &[])?;
    let found = likelihoods(&subject.model, texts, &plan)?;
    let row = |text: Option<u32>, tokens: usize, nll_nats: f64| PerplexityRow {
        intervention: condition.intervention.clone(),
        head_set: condition.head_set.clone(),
        text,
        tokens: tokens as u32,
        nll_nats,
        perplexity: nll_nats.exp(),
        ci_low: None,
        ci_high: None,
    };
    let mut rows: Vec<PerplexityRow> = found
        .iter()
        .zip(0..)
        .map(|(text, index)| row(Some(index), text.tokens, text.nll_nats / text.tokens as f64))
        .collect();
    let pairs: Vec<(f64, f64)> = found.iter().map(|text| (text.nll_nats, text.tokens as f64)).collect();
    // One id for every condition: the same resamples, so that intervals move together.
    if let Some(all) = bootstrap_ratio(&pairs, settings.resamples, settings.seed, "perplexity") {
        rows.push(PerplexityRow {
            ci_low: Some(all.low.exp()),
            ci_high: Some(all.high.exp()),
            ..row(None, found.iter().map(|text| text.tokens).sum(), all.mean)
        });
    }
    Ok(rows)
}
