//! The linear maps between heads, the stream and the logits, and the derivatives of norms.
//!
//! Everything is computed in at least single precision and batched: `[..., features]`.

use refrain_runner::Model;
use refrain_runner::architecture::{Norm, NormPlace};
use refrain_runner::weights::NormWeights;
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::tensors::{out_by_head, wide};

/// What each head adds to attention's output, from its z, `[pairs, pos, head, d_head]`: `[pairs, head, pos, d_model]`.
pub(crate) fn results(model: &Model, layer: usize, z: &Tensor) -> Result<Tensor> {
    Ok(wide(z)?.f_transpose(1, 2)?.f_matmul(&out_by_head(model, layer)?)?)
}

/// A projection's weight by head, `[heads, d_head, d_model]`, from `[heads * d_head, d_model]`.
pub(crate) fn in_by_head(weight: &Tensor, heads: usize) -> Result<Tensor> {
    Ok(wide(weight)?.f_unflatten(0, [heads as i64, -1])?)
}

/// The derivative of a norm at one input, without its bias.
pub(crate) struct NormAt {
    /// The input, centred if the norm centres, over what it is divided by, `[pairs, pos, d_model]`.
    unit: Tensor,
    /// `[pairs, pos, 1]`.
    scale: Tensor,
    weight: Option<Tensor>,
    centres: bool,
}

impl NormAt {
    /// Of the norm with `weights` at `x`.
    pub(crate) fn new(norm: Norm, weights: &NormWeights, x: &Tensor) -> Result<NormAt> {
        let x = wide(&x.f_detach()?)?;
        let centred = if norm.centres() { centred(&x)? } else { x };
        let scale = centred.f_square()?.f_mean_dim(-1, true, None)?.f_add_scalar(norm.eps())?.f_sqrt()?;
        let weight = weights.weight.as_ref().map(wide).transpose()?;
        Ok(NormAt { unit: centred.f_div(&scale)?, scale, weight, centres: norm.centres() })
    }

    /// The change of the output for a change of the input; both `[pairs, heads, pos, d_model]`.
    pub(crate) fn forward(&self, change: &Tensor) -> Result<Tensor> {
        let change = if self.centres { centred(change)? } else { change.shallow_clone() };
        weighted(&self.across(&change)?, self.weight.as_ref())
    }

    /// The gradient at the input for one at the output; both `[pairs, heads, pos, d_model]`.
    pub(crate) fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        let at_input = self.across(&weighted(gradient, self.weight.as_ref())?)?;
        if self.centres { centred(&at_input) } else { Ok(at_input) }
    }

    /// Less the part along the input, over the scale: its own adjoint.
    fn across(&self, t: &Tensor) -> Result<Tensor> {
        let (unit, scale) = (self.unit.f_unsqueeze(1)?, self.scale.f_unsqueeze(1)?);
        let along = t.f_mul(&unit)?.f_mean_dim(-1, true, None)?;
        Ok(t.f_sub(&unit.f_mul(&along)?)?.f_div(&scale)?)
    }
}

/// Less its mean over the last axis.
pub(crate) fn centred(t: &Tensor) -> Result<Tensor> {
    Ok(t.f_sub(&t.f_mean_dim(-1, true, None)?)?)
}

/// A norm itself, in wide arithmetic.
pub(crate) fn normed(norm: Norm, weights: &NormWeights, x: &Tensor) -> Result<Tensor> {
    let at = NormAt::new(norm, weights, x)?;
    let scaled = weighted(&at.unit, at.weight.as_ref())?;
    Ok(match &weights.bias {
        Some(bias) => scaled.f_add(&wide(bias)?)?,
        None => scaled,
    })
}

fn weighted(t: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
    Ok(match weight {
        Some(weight) => t.f_mul(weight)?,
        None => t.shallow_clone(),
    })
}

/// The adjoint of a norm that divides by a frozen `scale`: what of the output reads `reader`, to what reads the input.
pub(crate) fn frozen(norm: Norm, weights: &NormWeights, scale: &Tensor, reader: &Tensor) -> Result<Tensor> {
    let weight = weights.weight.as_ref().map(wide).transpose()?;
    let read = weighted(reader, weight.as_ref())?;
    let read = if norm.centres() { centred(&read)? } else { read };
    Ok(read.f_div(&wide(scale)?)?)
}

/// What a norm that divides by a frozen `scale` makes of a part of its input, without its bias: diagonal but for the
/// centring.
pub(crate) fn frozen_output(
    norm: Norm,
    weights: &NormWeights,
    scale: &Tensor,
    part: &Tensor,
) -> Result<Tensor> {
    let part = if norm.centres() { centred(part)? } else { part.shallow_clone() };
    weighted(&part.f_div(scale)?, weights.weight.as_ref().map(wide).transpose()?.as_ref())
}

/// By what the stream that leaves block `from` is multiplied until it enters block `to`; `from == to` is its own
/// block's end.
pub(crate) fn scale_between(model: &Model, from: usize, to: usize) -> Result<f64> {
    let mut product = 1.0;
    for block in &model.weights().blocks[from..to] {
        if let Some(scale) = &block.layer_scale {
            product *= scale.f_to_kind(Kind::Double)?.f_double_value(&[0])?;
        }
    }
    Ok(product)
}

/// Refuses models in which nothing goes through a block unchanged.
pub(crate) fn check_additive(model: &Model, what: &str) -> Result<()> {
    let arch = model.architecture();
    match arch.norms.place {
        NormPlace::Post => Err(Error::Input(format!(
            "{what}: this {} model normalises the stream in every block, so that no component adds to it for good",
            arch.family
        ))),
        _ => Ok(()),
    }
}
