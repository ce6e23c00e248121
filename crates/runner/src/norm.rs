//! LayerNorm and RMSNorm.

use tch::{Kind, Tensor};

use crate::architecture::Norm;
use crate::decoder::Tap;
use crate::error::Result;
use crate::hook::{Hook, Point};
use crate::weights::NormWeights;

/// The hooks of one norm.
#[derive(Clone, Copy)]
pub(crate) struct NormHooks {
    pub(crate) scale: Hook,
    pub(crate) normalized: Hook,
}

impl NormHooks {
    pub(crate) fn block(layer: usize, scale: Point, normalized: Point) -> Self {
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
    let kind = x.kind();
    let wide = x.f_to_kind(wider(kind))?;
    let (centred, eps) = match norm {
        Norm::Layer { eps } => (wide.f_sub(&wide.f_mean_dim(-1, true, None)?)?, eps),
        Norm::Rms { eps } => (wide, eps),
    };
    // [batch, pos, 1]
    let scale = centred.f_square()?.f_mean_dim(-1, true, None)?.f_add_scalar(eps)?.f_sqrt()?;
    let scale = tap.see(hooks.scale, scale)?;
    let unit = centred.f_div(&scale)?.f_to_kind(kind)?;
    let scaled = unit.f_mul(&weights.weight)?;
    let normalized = match &weights.bias {
        Some(bias) => scaled.f_add(bias)?,
        None => scaled,
    };
    tap.see(hooks.normalized, normalized)
}

/// The dtype for sums over many terms: f64 stays, everything else becomes f32.
pub(crate) fn wider(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}
