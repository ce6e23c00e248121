//! A layer's heads as linear maps between residual stream and head, with what the norms around them do folded in:
//! weights and centring, but not the division, which depends on the input.

use refrain_runner::Model;
use refrain_runner::architecture::{Keys, NormPlace, QkNorm};
use refrain_runner::weights::{Linear, NormWeights};
use tch::Tensor;

use crate::error::{Error, Result};
use crate::tensors::{out_by_head, wide, wider};

/// The layer whose stream a layer's keys and values are read from.
pub(super) fn source(model: &Model, layer: usize) -> usize {
    match model.architecture().layers[layer].keys {
        Keys::OfLayer(source) => source,
        Keys::Own | Keys::SharedProjection => layer,
    }
}

/// W_Q of every head, `[head, d_head, d_model]`. Not rotated: as for a query and a key at one place.
pub(super) fn queries(model: &Model, layer: usize) -> Result<Tensor> {
    let attention = &model.weights().blocks[layer].attention;
    let map = read(model, layer, &attention.q, model.architecture().n_heads)?;
    qk_normalised(model, map, attention.q_norm.as_ref())
}

/// W_K of every query head, `[head, d_head, d_model]`, that of its group; not rotated.
pub(super) fn keys(model: &Model, layer: usize) -> Result<Tensor> {
    let source = source(model, layer);
    let attention = &model.weights().blocks[source].attention;
    let keys = attention.k.as_ref().ok_or_else(|| missing(source, "keys"))?;
    let map = read(model, source, keys, model.architecture().layers[source].n_kv_heads)?;
    spread(model, layer, &qk_normalised(model, map, attention.k_norm.as_ref())?)
}

/// W_V of every query head, `[head, d_head, d_model]`, that of its group.
pub(super) fn values(model: &Model, layer: usize) -> Result<Tensor> {
    let source = source(model, layer);
    let attention = &model.weights().blocks[source].attention;
    let values = attention.v.as_ref().or(attention.k.as_ref()).ok_or_else(|| missing(source, "values"))?;
    spread(model, layer, &read(model, source, values, model.architecture().layers[source].n_kv_heads)?)
}

/// W_O of every head, `[head, d_head, d_model]`, as far as the stream that leaves the last block.
///
/// # Errors
/// [`Error::Runner`] for a model that normalises the stream itself.
pub(super) fn outputs(model: &Model, layer: usize) -> Result<Tensor> {
    let by_head = out_by_head(model, layer)?;
    let scale = Tensor::f_ones([1], (by_head.kind(), by_head.device()))?;
    wide(&model.attention_to_stream(layer, &by_head, Some(&scale))?)
}

/// Rows of W_E, those of `ids` or all, `[token, d_model]`, as they enter the stream; not scaled.
pub(super) fn embedding(model: &Model, rows: Rows<'_>) -> Result<Tensor> {
    let weights = model.weights();
    let embed = wide(&rows.of(&weights.embed)?)?;
    match &weights.embed_in {
        Some(projection) => Ok(embed.f_matmul(&wide(&projection.weight)?.f_transpose(0, 1)?)?),
        None => Ok(embed),
    }
}

/// Rows of W_U, those of `ids` or all, `[token, d_model]`: the directions of the stream that are read as logits, the
/// final norm's weight and centring folded in.
pub(super) fn unembedding(model: &Model, rows: Rows<'_>) -> Result<Tensor> {
    let weights = model.weights();
    let mut unembed = wide(&rows.of(&weights.unembed.weight)?)?;
    if let Some(projection) = &weights.unembed_in {
        unembed = unembed.f_matmul(&wide(&projection.weight)?)?;
    }
    folded(model, unembed, weights.final_norm.as_ref())
}

/// Rows of a table of the vocabulary.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// Of these tokens.
    Ids(&'a Tensor),
    /// So many from the first number on.
    Range(i64, i64),
}

impl Rows<'_> {
    fn of(self, table: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Rows::Ids(ids) => table.f_index_select(0, &ids.f_to_device(table.device())?)?,
            Rows::Range(start, length) => table.f_narrow(0, start, length)?,
        })
    }
}

/// Why there is no straight way from a head to the logits or to another head, if there is none.
pub(super) fn obstacle(model: &Model) -> Option<String> {
    (model.architecture().norms.place == NormPlace::Post).then(|| {
        format!(
            "this {} model normalises the stream in every block: nothing goes through it unchanged",
            model.architecture().family
        )
    })
}

/// A projection that reads the stream through the layer's first norm, by head.
fn read(model: &Model, layer: usize, projection: &Linear, heads: usize) -> Result<Tensor> {
    let map = folded(model, wide(&projection.weight)?, model.weights().blocks[layer].ln1.as_ref())?;
    let width = map.size()[1];
    Ok(map.f_reshape([heads as i64, -1, width])?)
}

/// `map`, `[out, d_model]`, applied to what a norm gives: as a map of what the norm reads, divided.
fn folded(model: &Model, map: Tensor, norm: Option<&NormWeights>) -> Result<Tensor> {
    let Some(norm) = norm else { return Ok(map) };
    let map = match &norm.weight {
        Some(weight) => map.f_mul(&weight.f_to_device(map.device())?)?,
        None => map,
    };
    match model.architecture().norms.form.centres() {
        true => Ok(map.f_sub(&map.f_mean_dim(-1, true, wider(map.kind()))?)?),
        false => Ok(map),
    }
}

/// Queries or keys, `[head, d_head, d_model]`, through the norm that they have of their own.
fn qk_normalised(model: &Model, map: Tensor, norm: Option<&NormWeights>) -> Result<Tensor> {
    let arch = model.architecture();
    let (Some(kind), Some(norm)) = (arch.norms.qk, norm) else { return Ok(map) };
    let (heads, width) = (map.size()[0], map.size()[1]);
    let mut map = map;
    if arch.norms.form.centres() {
        let over: &[i64] = if kind == QkNorm::AllHeads { &[0, 1] } else { &[1] };
        map = map.f_sub(&map.f_mean_dim(over, true, wider(map.kind()))?)?;
    }
    match &norm.weight {
        // [d_head], [heads, d_head] or [heads * d_head]
        Some(weight) if weight.numel() as i64 == heads * width => {
            Ok(map.f_mul(&weight.f_reshape([heads, width, 1])?)?)
        }
        Some(weight) => Ok(map.f_mul(&weight.f_reshape([1, width, 1])?)?),
        None => Ok(map),
    }
}

/// Each key/value head once for every query head of its group, on the device of the layer that uses it.
fn spread(model: &Model, layer: usize, map: &Tensor) -> Result<Tensor> {
    let map = map.f_to_device(model.weights().blocks[layer].attention.q.weight.device())?;
    let times = model.architecture().n_heads as i64 / map.size()[0];
    if times == 1 {
        return Ok(map);
    }
    Ok(map.f_repeat_interleave_self_int(times, 0, None::<i64>)?)
}

fn missing(layer: usize, what: &str) -> Error {
    Error::Input(format!("layer {layer} has no {what}"))
}
