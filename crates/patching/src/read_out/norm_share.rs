//! Norm-share toxicity (Wang et al. 2025, arXiv 2505.13514): how much of the direct logits a set of heads writes.

use std::collections::HashSet;

use refrain_runner::architecture::NormPlace;
use refrain_runner::{ActivationCache, Head, Hook, HookPoint, Model};
use tch::{Kind, Tensor};

use crate::error::Result;

/// ||l|| / (||l|| + ||rest||), where l are the direct logits of a set of heads together and norms are Euclidean,
/// over the vocabulary. Direct logits are read with the final norm's scale frozen and are centred over the
/// vocabulary, since a constant added to all logits says nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormShare {
    /// The rest is the other heads, as published.
    pub of_heads: f64,
    /// The rest is everything else: the other heads, MLPs, embeddings and biases. Before the soft cap of the logits,
    /// where a model has one.
    pub of_everything: f64,
}

/// The norm shares of `induction` at the last position. `cache` must hold, of a run of one row, z and `resid_post` of
/// every layer, the final norm's scale and, where the model has them, the scales of the norms after attention. None if
/// every head writes nothing, and for a model that normalises the stream itself: there no head's output reaches the
/// logits unchanged.
///
/// # Errors
/// [`crate::Error::Runner`] if the cache lacks them.
pub fn norm_share(model: &Model, cache: &ActivationCache, induction: &[Head]) -> Result<Option<NormShare>> {
    let arch = model.architecture();
    if arch.norms.place == NormPlace::Post || arch.n_layers == 0 {
        return Ok(None);
    }
    let chosen: HashSet<&Head> = induction.iter().collect();
    let mut sums: Option<[Tensor; 2]> = None;
    for (layer, block) in model.weights().blocks.iter().enumerate() {
        let last = last_of(cache.block(layer, HookPoint::Z)?)?;
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
            Some([a, b]) => {
                [a.f_add(&inside.f_to_device(a.device())?)?, b.f_add(&others.f_to_device(b.device())?)?]
            }
        });
    }
    let Some([inside, others]) = sums else { return Ok(None) };
    let last = Hook::top(HookPoint::FinalScale);
    let scale = if arch.has(last) { last_of(cache.get(last)?)? } else { inside.f_ones_like()? };
    let direct = |contribution: &Tensor| -> Result<Tensor> {
        Ok(model.direct_logits(contribution, &scale)?.f_to_kind(Kind::Double)?)
    };
    let stream = last_of(cache.block(arch.n_layers - 1, HookPoint::ResidPost)?)?.f_unsqueeze(0)?;
    let all = direct(&stream)?.f_add(&constant(model)?)?;
    let inside_logits = direct(&inside)?;
    let everything_else = norm(&all.f_sub(&inside_logits)?)?;
    let (inside, others) = (norm(&inside_logits)?, norm(&direct(&others)?)?);
    let share = NormShare {
        of_heads: inside / (inside + others),
        of_everything: inside / (inside + everything_else),
    };
    Ok((inside + others > 0.0).then_some(share))
}

/// What the biases of the final norm and of the unembedding add to the logits, `[vocab]` or one zero.
fn constant(model: &Model) -> Result<Tensor> {
    let weights = model.weights();
    let unembed = &weights.unembed;
    let mut sum = Tensor::f_zeros([1], (Kind::Double, unembed.weight.device()))?;
    if let Some(bias) = weights.final_norm.as_ref().and_then(|norm| norm.bias.as_ref()) {
        let read = match &weights.unembed_in {
            Some(projection) => {
                bias.f_to_kind(projection.weight.kind())?.f_linear(&projection.weight, None::<&Tensor>)?
            }
            None => bias.shallow_clone(),
        };
        let read = read.f_to_kind(unembed.weight.kind())?.f_linear(&unembed.weight, None::<&Tensor>)?;
        sum = sum.f_add(&read.f_to_kind(Kind::Double)?)?;
    }
    if let Some(bias) = &unembed.bias {
        sum = sum.f_add(&bias.f_to_kind(Kind::Double)?)?;
    }
    Ok(sum)
}

/// The Euclidean norm over the vocabulary, centred.
fn norm(logits: &Tensor) -> Result<f64> {
    let centred = logits.f_sub(&logits.f_mean_dim(-1, true, None)?)?;
    Ok(centred.f_norm()?.f_double_value(&[])?)
}

/// The last position of the only row.
fn last_of(activation: &Tensor) -> Result<Tensor> {
    Ok(activation.f_select(1, activation.size()[1] - 1)?.f_select(0, 0)?)
}
