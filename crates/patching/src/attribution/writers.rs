//! What writes into the stream, and what reads the logits off it: of direct logit attribution and of decompositions.

use refrain_runner::{Architecture, Hook, HookPoint, Model};
use tch::Tensor;

use crate::attribution::linear::frozen_output;
use crate::error::Result;
use crate::tensors::{out_by_head, wide};

/// What reads the logits of `answers`, less those of `incorrect`, off the stream after the final norm: `[rows,
/// d_model]`, a row for each answer.
pub(crate) fn reader(model: &Model, answers: &[i64], incorrect: Option<&[i64]>) -> Result<Tensor> {
    let weights = model.weights();
    let reader = difference(model, &weights.unembed.weight, answers, incorrect)?;
    match &weights.unembed_in {
        Some(projection) => Ok(reader.f_matmul(&wide(&projection.weight)?)?),
        None => Ok(reader),
    }
}

/// The rows of `of`, `[vocab, ...]`, for `answers`, less those for `incorrect`, in at least single precision.
pub(crate) fn difference(
    model: &Model,
    of: &Tensor,
    answers: &[i64],
    incorrect: Option<&[i64]>,
) -> Result<Tensor> {
    let row = |ids: &[i64]| -> Result<Tensor> { Ok(Tensor::f_from_slice(ids)?.f_to_device(model.device())?) };
    let own = of.f_index_select(0, &row(answers)?)?;
    wide(&match incorrect {
        Some(incorrect) => own.f_sub(&of.f_index_select(0, &row(incorrect)?)?)?,
        None => own,
    })
}

/// Whether `layer` adds an input of its own beside the stream (Gemma 4).
pub(crate) fn has_per_layer(arch: &Architecture, layer: usize) -> bool {
    arch.has(Hook::block(layer, HookPoint::PerLayerOut))
}

/// What the heads of `layer` add to the stream, `[rows, head, d_model]`, and what the biases do, `[rows, d_model]`.
/// `kept` gives an activation of the run, a row of it for each prompt or position.
pub(crate) fn attention(
    model: &Model,
    layer: usize,
    kept: &dyn Fn(Hook) -> Result<Tensor>,
) -> Result<(Tensor, Option<Tensor>)> {
    let block = &model.weights().blocks[layer];
    let norm = model.architecture().norms.form;
    let z = kept(Hook::block(layer, HookPoint::Z))?;
    let mut heads = z.f_unsqueeze(2)?.f_matmul(&out_by_head(model, layer)?)?.f_squeeze_dim(2)?;
    let mut bias = block.attention.out.bias.as_ref().map(wide).transpose()?;
    if let Some(post) = &block.ln1_post {
        let scale = kept(Hook::block(layer, HookPoint::Ln1PostScale))?;
        heads = frozen_output(norm, post, &scale.f_unsqueeze(1)?, &heads)?;
        bias = bias.map(|bias| frozen_output(norm, post, &scale, &bias)).transpose()?;
        if let Some(own) = &post.bias {
            bias = Some(match bias {
                Some(bias) => bias.f_add(&wide(own)?)?,
                None => wide(own)?,
            });
        }
    }
    let rows = [z.size()[0], -1];
    let bias = bias.map(|bias| bias.f_expand(rows, false)).transpose()?;
    Ok((heads, bias))
}

/// What the neurons of `layer` add to the stream, `[rows, neuron, d_model]`; none where the layer has no dense MLP on
/// its own (experts, whose outputs are mixed).
pub(crate) fn neurons(
    model: &Model,
    layer: usize,
    kept: &dyn Fn(Hook) -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    let block = &model.weights().blocks[layer];
    let (Some(mlp), None) = (&block.mlp, &block.experts) else { return Ok(None) };
    let post = kept(Hook::block(layer, HookPoint::MlpPost))?;
    let written = post.f_unsqueeze(-1)?.f_mul(&wide(&mlp.output.weight)?.f_tr()?)?;
    let Some(norm) = &block.ln2_post else { return Ok(Some(written)) };
    let scale = kept(Hook::block(layer, HookPoint::Ln2PostScale))?.f_unsqueeze(1)?;
    Ok(Some(frozen_output(model.architecture().norms.form, norm, &scale, &written)?))
}
