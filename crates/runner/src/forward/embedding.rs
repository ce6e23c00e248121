//! From token ids to the residual stream.

use tch::Tensor;

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::forward::norm;
use crate::hook::{Hook, HookPoint};
use crate::tap::Tap;
use crate::weights::{PerLayerInputs, Weights};

/// The token embedding as it enters the stream, `[batch, pos, d_model]`, positions not added.
pub(crate) fn embed(
    arch: &Architecture,
    weights: &Weights,
    ids: &Tensor,
    tap: &mut Tap<'_>,
) -> Result<Tensor> {
    let ids = ids.f_to_device(weights.embed.device())?;
    let (low, high) = (ids.f_min()?.f_int64_value(&[])?, ids.f_max()?.f_int64_value(&[])?);
    if low < 0 || high >= arch.n_vocab as i64 {
        let id = if low < 0 { low } else { high };
        return Err(Error::Input(format!("token id {id} is outside the vocabulary of {}", arch.n_vocab)));
    }
    let mut embedded = Tensor::f_embedding(&weights.embed, &ids, -1, false, false)?;
    if let Some(scale) = arch.embedding.scale {
        embedded = embedded.f_mul(&rounded(scale, &embedded)?)?;
    }
    if let Some(projection) = &weights.embed_in {
        embedded = projection.forward(&embedded)?;
    }
    tap.observe(Hook::top(HookPoint::Embed), embedded)
}

/// The embedding with the positions' vectors, `[batch, pos, d_model]`.
pub(crate) fn positioned(
    arch: &Architecture,
    weights: &Weights,
    embedded: Tensor,
    positions: &Tensor,
    tap: &mut Tap<'_>,
) -> Result<Tensor> {
    let Some(table) = &weights.positions else { return Ok(embedded) };
    let rows = positions.f_add_scalar(arch.embedding.position_offset as i64)?;
    let at = Tensor::f_embedding(table, &rows, -1, false, false)?;
    let at = tap.observe(Hook::top(HookPoint::PosEmbed), at.f_expand_as(&embedded)?)?;
    Ok(embedded.f_add(&at)?)
}

/// What each token brings to each layer, `[batch, pos, layer, width]`: a second embedding and a projection of the
/// first one (Gemma 4), both of unit size, summed and scaled back to it.
pub(crate) fn per_layer_inputs(
    arch: &Architecture,
    weights: &PerLayerInputs,
    ids: &Tensor,
    embedded: &Tensor,
) -> Result<Tensor> {
    let ids = ids.f_to_device(weights.embed.device())?;
    let own = Tensor::f_embedding(&weights.embed, &ids, -1, false, false)?;
    let mut size = ids.size();
    size.extend([arch.n_layers as i64, -1]);
    let own = own.f_reshape(&size)?;
    let width = own.size()[3] as f64;
    let own = own.f_mul(&rounded(width.sqrt(), &own)?)?;
    let projected = weights.projection.forward(embedded)?.f_mul_scalar(1.0 / (arch.d_model as f64).sqrt())?;
    let projected = norm::without_hooks(arch.norms.form, &weights.norm, &projected.f_reshape(&size)?)?;
    Ok(projected.f_add(&own)?.f_mul_scalar(0.5f64.sqrt())?)
}

/// A factor rounded to the dtype of `like`, as the models that have it were trained with.
fn rounded(factor: f64, like: &Tensor) -> Result<Tensor> {
    Ok(Tensor::f_full([1], factor, (like.kind(), like.device()))?)
}
