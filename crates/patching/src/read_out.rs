//! What is read off runs without changing them: the share of some heads in the direct logits, the logit lens, the likelihood of
//! given texts.

use std::collections::HashSet;

use refrain_entropy::distribution::LogProbs;
use refrain_runner::architecture::NormPlace;
use refrain_runner::{ActivationCache, BoundInterventions, Head, Hook, HookPoint, Model, Run, StepIndex};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// Norm-share toxicity at the last position: ||sum of the induction heads' direct logits|| / (that + ||sum of
/// the others'||), with the final norm's scale frozen. `cache` must hold z of every layer, the scales of norms after
/// attention, where the model has them, and the final norm's, of a run of one row. None if every head's output is zero, and for a model that normalises the stream itself:
/// there no head's output goes through to the logits.
///
/// # Errors
/// [`Error::Runner`] if the cache lacks them.
pub fn norm_share(model: &Model, cache: &ActivationCache, induction: &[Head]) -> Result<Option<f64>> {
    let arch = model.architecture();
    if arch.norm_place == NormPlace::Post {
        return Ok(None);
    }
    let chosen: HashSet<&Head> = induction.iter().collect();
    let mut sums: Option<[Tensor; 2]> = None;
    for (layer, block) in model.weights().blocks.iter().enumerate() {
        let z = cache.block(layer, HookPoint::Z)?;
        let last = last_of(z)?;
        let out = &block.attention.out.weight;
        let post = Hook::block(layer, HookPoint::Ln1PostScale);
        let scale = if arch.has(post) { Some(last_of(cache.get(post)?)?) } else { None };
        let by_set = |inside: bool| -> Result<Tensor> {
            let weights: Vec<f64> = (0..arch.n_heads)
                .map(|head| f64::from(chosen.contains(&Head { layer, head }) == inside))
                .collect();
            let mask = Tensor::f_from_slice(&weights)?.f_to_kind(last.kind())?.f_to_device(last.device())?;
            let kept = last.f_mul(&mask.f_unsqueeze(1)?)?.f_reshape([1, -1])?;
            let output = kept.f_to_kind(out.kind())?.f_linear(out, None::<&Tensor>)?;
            Ok(model.attention_to_stream(layer, &output, scale.as_ref())?)
        };
        let (inside, others) = (by_set(true)?, by_set(false)?);
        sums = Some(match sums {
            None => [inside, others],
            Some([a, b]) => [a.f_add(&inside)?, b.f_add(&others)?],
        });
    }
    let Some([inside, others]) = sums else { return Ok(None) };
    let last = Hook::top(HookPoint::FinalScale);
    let scale = if arch.has(last) { last_of(cache.get(last)?)? } else { inside.f_ones_like()? };
    let norm = |contribution: &Tensor| -> Result<f64> {
        let logits = model.direct_logits(contribution, &scale)?.f_to_kind(Kind::Double)?;
        Ok(logits.f_norm()?.f_double_value(&[])?)
    };
    let (inside, others) = (norm(&inside)?, norm(&others)?);
    Ok((inside + others > 0.0).then(|| inside / (inside + others)))
}

/// The last position of the only row.
fn last_of(activation: &Tensor) -> Result<Tensor> {
    Ok(activation.f_select(1, activation.size()[1] - 1)?.f_select(0, 0)?)
}

/// Entropy in nats of the logit lens at the last position after each layer (nostalgebraist 2020): the final norm
/// and the unembedding applied to the residual stream. `cache` must hold `resid_post` of every layer.
///
/// # Errors
/// [`Error::Runner`] if the cache lacks it.
pub fn logit_lens_entropy_nats(model: &Model, cache: &ActivationCache) -> Result<Vec<f64>> {
    let mut streams = Vec::with_capacity(model.architecture().n_layers);
    for layer in 0..model.architecture().n_layers {
        let resid = cache.block(layer, HookPoint::ResidPost)?;
        streams.push(resid.f_narrow(1, resid.size()[1] - 1, 1)?);
    }
    let logits = model.unembed(&Tensor::f_cat(&streams, 0)?)?.f_squeeze_dim(1)?;
    Ok(LogProbs::from_logits(&logits)?.entropy_nats()?)
}

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
pub fn of_texts(model: &Model, texts: &[Vec<i64>], plan: &BoundInterventions<'_>) -> Result<Vec<Likelihood>> {
    let one = |(index, text): (usize, &Vec<i64>)| -> Result<Likelihood> {
        if text.len() < 2 {
            return Err(Error::Input(format!("text {index} has {} tokens; it takes 2", text.len())));
        }
        let ids = model.ids(std::slice::from_ref(text))?;
        let steps = StepIndex { prompt_columns: Some(1) };
        let output = model.run(&ids, Run { plan: Some(plan), steps, ..Run::default() })?;
        let logits = output.logits()?.f_squeeze_dim(0)?.f_narrow(0, 0, text.len() as i64 - 1)?;
        let log_probs = LogProbs::from_logits(&logits)?.of(&text[1..])?;
        Ok(Likelihood { tokens: log_probs.len(), nll_nats: -log_probs.iter().sum::<f64>() })
    };
    tch::no_grad(|| texts.iter().enumerate().map(one).collect())
}
