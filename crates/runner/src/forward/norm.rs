//! LayerNorm and RMSNorm.

use tch::{Kind, Tensor};

use crate::architecture::Norm;
use crate::dtype::wider;
use crate::error::Result;
use crate::hook::{Hook, HookPoint};
use crate::tap::Tap;
use crate::weights::NormWeights;

/// The hooks of one norm.
#[derive(Clone, Copy)]
pub(crate) struct NormHooks {
    pub(crate) scale: Hook,
    pub(crate) normalized: Hook,
}

impl NormHooks {
    pub(crate) fn block(layer: usize, scale: HookPoint, normalized: HookPoint) -> Self {
        NormHooks { scale: Hook::block(layer, scale), normalized: Hook::block(layer, normalized) }
    }
}

/// Normalises the last axis of `x`, `[batch, pos, d_model]`, in at least single precision, and returns it in the
/// dtype of `x`.
pub(crate) fn forward(
    norm: Norm,
    weights: &NormWeights,
    x: &Tensor,
    hooks: NormHooks,
    tap: &mut Tap<'_>,
) -> Result<Tensor> {
    let normalized = if tap.wants(hooks.scale) {
        let (centred, scale) = centred_and_scale(norm, x)?;
        let scale = tap.observe(hooks.scale, scale)?;
        affine(norm, weights, &centred.f_div(&scale)?, x.kind())?
    } else {
        without_hooks(norm, weights, x)?
    };
    tap.observe(hooks.normalized, normalized)
}

/// The same without hooks, by libtorch's fused kernel where it has one.
pub(crate) fn without_hooks(norm: Norm, weights: &NormWeights, x: &Tensor) -> Result<Tensor> {
    let (weight, bias) = (weights.weight.as_ref(), weights.bias.as_ref());
    let same = |t: Option<&Tensor>| t.is_none_or(|t| t.kind() == x.kind() && t.dim() == 1);
    if let (Norm::Layer { eps }, true) = (norm, same(weight) && same(bias)) {
        let width = *x.size().last().unwrap_or(&1);
        return Ok(x.f_layer_norm([width], weight, bias, eps, false)?);
    }
    let (centred, scale) = centred_and_scale(norm, x)?;
    affine(norm, weights, &centred.f_div(&scale)?, x.kind())
}

/// `x` in wide arithmetic, less its mean if the norm centres, and what it is to be divided by, `[..., 1]`.
fn centred_and_scale(norm: Norm, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let wide = x.f_to_kind(wider(x.kind()))?;
    let centred = if norm.centres() { wide.f_sub(&wide.f_mean_dim(-1, true, None)?)? } else { wide };
    let scale = centred.f_square()?.f_mean_dim(-1, true, None)?.f_add_scalar(norm.eps())?.f_sqrt()?;
    Ok((centred, scale))
}

/// Weight and bias on `unit`, which is wide; the result is `kind`. LayerNorm applies them before it rounds to
/// `kind`. An RMSNorm does so if its weight is stored wide and rounds first otherwise: families differ in that, and
/// their loaders choose.
fn affine(norm: Norm, weights: &NormWeights, unit: &Tensor, kind: Kind) -> Result<Tensor> {
    let Some(weight) = &weights.weight else { return Ok(unit.f_to_kind(kind)?) };
    let first = norm.centres() || weight.kind() == unit.kind();
    let unit = if first { unit.shallow_clone() } else { unit.f_to_kind(kind)? };
    let scaled = unit.f_mul(weight)?;
    let shifted = match &weights.bias {
        Some(bias) => scaled.f_add(bias)?,
        None => scaled,
    };
    Ok(shifted.f_to_kind(kind)?)
}
