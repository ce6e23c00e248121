//! Toxicity (Wang et al. 2025, arXiv 2505.13514): the share of the induction heads in what the heads do.
//!
//! The paper's experiments use causal effects and its proof the norms of direct logits; both are here.

use std::collections::HashSet;

use refrain_runner::architecture::NormPlace;
use refrain_runner::{ActivationCache, Head, Hook, HookPoint, Model};
use tch::{Kind, Tensor};

use crate::distribution::LogProbs;
use crate::error::Result;

/// A step counts as toxic from this share on (gamma).
pub const GAMMA: f64 = 0.65;

/// Causal toxicity: sum of |effect| over the induction heads / sum over all. None if no head has an effect.
pub fn causal(effects: &[(Head, f64)], induction: &[Head]) -> Option<f64> {
    let sum = |chosen: &dyn Fn(&Head) -> bool| -> f64 {
        effects.iter().filter(|(head, _)| chosen(head)).map(|(_, effect)| effect.abs()).sum()
    };
    let all = sum(&|_| true);
    (all > 0.0).then(|| sum(&|head| induction.contains(head)) / all)
}

/// What log descaling of the induction heads should make of a toxicity `tau` at step `t`:
/// tau / ((1 - tau) max(1, ln(t + c)) + tau). The factor is capped as the intervention is.
pub fn predicted(tau: f64, t: usize, c: f64) -> f64 {
    let divisor = (t as f64 + c).max(1.0).ln().max(1.0);
    tau / ((1.0 - tau) * divisor + tau)
}

/// Norm-share toxicity at the last position: ||sum of the induction heads' direct logits|| / (that + ||sum of
/// the others'||), with the final norm's scale frozen. `cache` must hold z of every layer, the scales of norms after
/// attention, where the model has them, and the final norm's, of a run of one row. None if every head's output is zero, and for a model that normalises the stream itself:
/// there no head's output goes through to the logits.
///
/// # Errors
/// [`crate::Error::Runner`] if the cache lacks them.
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
/// [`crate::Error::Runner`] if the cache lacks it.
pub fn logit_lens_entropy_nats(model: &Model, cache: &ActivationCache) -> Result<Vec<f64>> {
    let mut streams = Vec::with_capacity(model.architecture().n_layers);
    for layer in 0..model.architecture().n_layers {
        let resid = cache.block(layer, HookPoint::ResidPost)?;
        streams.push(resid.f_narrow(1, resid.size()[1] - 1, 1)?);
    }
    let logits = model.unembed(&Tensor::f_cat(&streams, 0)?)?.f_squeeze_dim(1)?;
    LogProbs::from_logits(&logits)?.entropy_nats()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_absolute_effects() {
        let head = |head| Head { layer: 0, head };
        let effects = [(head(0), 0.6), (head(1), -0.2), (head(2), 0.2)];
        assert!((causal(&effects, &[head(0)]).unwrap() - 0.6).abs() < 1e-12);
        assert!((causal(&effects, &[head(0), head(1)]).unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(causal(&[(head(0), 0.0)], &[head(0)]), None);
    }

    #[test]
    fn the_predicted_toxicity() {
        // ln(t + c) = 2 at t + c = e^2; 0.5 / (0.5 * 2 + 0.5) = 1/3.
        let c = 2f64.exp() - 5.0;
        assert!((predicted(0.5, 5, c) - 1.0 / 3.0).abs() < 1e-12);
        // The factor is capped at 1: nothing happens at t = 0.
        assert_eq!(predicted(0.5, 0, 2.0), 0.5);
        assert_eq!(predicted(1.0, 100, 2.0), 1.0);
    }
}
