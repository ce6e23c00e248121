//! Likelihood of given texts, with or without interventions.

use refrain_entropy::distribution::LogProbs;
use refrain_runner::{BoundInterventions, Model, Run, StepIndex};

use crate::error::{Error, Result};

/// The summed negative log-likelihood of one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// Tokens predicted: all but the first.
    pub tokens: usize,
    /// Their summed negative log-likelihood, nats.
    pub nll_nats: f64,
}

/// Negative log-likelihood of each text, given its first token. **Choice**: an intervention that depends on the
/// generation step takes the first token for the prompt, so that the token at position p is step p.
///
/// # Errors
/// [`Error::Input`] for a text of fewer than two tokens; [`Error::Runner`] for one longer than the window.
pub fn likelihoods(
    model: &Model,
    texts: &[Vec<i64>],
    plan: &BoundInterventions<'_>,
) -> Result<Vec<Likelihood>> {
    let one = |(index, text): (usize, &Vec<i64>)| -> Result<Likelihood> {
        if text.len() < 2 {
            return Err(Error::Input(format!(
                "text {index} has {} tokens: the first is given, so that it takes at least 2",
                text.len()
            )));
        }
        let ids = model.ids(std::slice::from_ref(text))?;
        let steps = StepIndex { prompt_columns: Some(1) };
        let output = model.run(&ids, Run { interventions: Some(plan), steps, ..Run::default() })?;
        let logits = output.logits()?.f_squeeze_dim(0)?.f_narrow(0, 0, text.len() as i64 - 1)?;
        let log_probs = LogProbs::from_logits(&logits)?.of(&text[1..])?;
        Ok(Likelihood { tokens: log_probs.len(), nll_nats: -log_probs.iter().sum::<f64>() })
    };
    tch::no_grad(|| texts.iter().enumerate().map(one).collect())
}
