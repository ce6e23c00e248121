//! The MLP of a block and the mixture of experts.

use tch::{Kind, Tensor};

use crate::architecture::{Activation, Architecture, Experts, Mlp, Norm};
use crate::dtype::wider;
use crate::error::{Error, Result};
use crate::forward::norm::without_hooks;
use crate::hook::{Hook, HookPoint};
use crate::tap::Tap;
use crate::weights::{Block, ExpertWeights, MlpWeights};

/// Everything that stands between the norms around the MLP: the dense one, the experts, or both.
/// `x` is the normalised stream, `resid` the stream itself, both `[batch, pos, d_model]`, as is the output.
pub(crate) fn forward(
    arch: &Architecture,
    block: &Block,
    x: &Tensor,
    resid: &Tensor,
    layer: usize,
    tap: &mut Tap<'_>,
) -> Result<Tensor> {
    let dense = match &block.mlp {
        Some(weights) => Some(dense(arch.mlp, weights, x, layer, tap)?),
        None => None,
    };
    let (experts, form) = match (&block.experts, &arch.layers[layer].experts) {
        (Some(experts), Some(form)) => (experts, form),
        _ => return dense.ok_or_else(|| Error::weight(format!("blocks.{layer}.mlp"), "is missing")),
    };
    let Some(norms) = &experts.own_norms else {
        let mixed = mixture(arch.mlp, form, experts, x, x, layer, tap)?;
        return match (dense, &experts.shared_gate) {
            (Some(dense), Some(gate)) => Ok(mixed.f_add(&dense.f_mul(&gate.forward(x)?.f_sigmoid()?)?)?),
            (Some(dense), None) => Ok(mixed.f_add(&dense)?),
            (None, _) => Ok(mixed),
        };
    };
    let routed = without_hooks(arch.norms.form, &norms.router, resid)?;
    let input = without_hooks(arch.norms.form, &norms.input, resid)?;
    let mixed = mixture(arch.mlp, form, experts, &input, &routed, layer, tap)?;
    let mixed = without_hooks(arch.norms.form, &norms.output, &mixed)?;
    match dense {
        Some(dense) => Ok(without_hooks(arch.norms.form, &norms.dense_output, &dense)?.f_add(&mixed)?),
        None => Ok(mixed),
    }
}

fn dense(form: Mlp, weights: &MlpWeights, x: &Tensor, layer: usize, tap: &mut Tap<'_>) -> Result<Tensor> {
    let post = match (form, &weights.gate) {
        (Mlp::Ungated { activation }, _) => {
            let pre = tap.observe(Hook::block(layer, HookPoint::MlpPre), weights.input.forward(x)?)?;
            activate(activation, &pre)?
        }
        (Mlp::Gated { activation }, Some(gate)) => {
            let pre = tap.observe(Hook::block(layer, HookPoint::MlpPre), gate.forward(x)?)?;
            let linear =
                tap.observe(Hook::block(layer, HookPoint::MlpPreLinear), weights.input.forward(x)?)?;
            activate(activation, &pre)?.f_mul(&linear)?
        }
        (Mlp::Gated { .. }, None) => {
            return Err(Error::weight(format!("blocks.{layer}.mlp"), "has no gate in a gated MLP"));
        }
    };
    let post = tap.observe(Hook::block(layer, HookPoint::MlpPost), post)?;
    weights.output.forward(&post)
}

/// The weighted sum of the experts' outputs for `x`, routed by `routed`; both `[batch, pos, d_model]`. An expert
/// computes only the tokens for which its weight is not 0, so that gradients reach only the weights of those.
fn mixture(
    form: Mlp,
    shape: &Experts,
    weights: &ExpertWeights,
    x: &Tensor,
    routed: &Tensor,
    layer: usize,
    tap: &mut Tap<'_>,
) -> Result<Tensor> {
    let size = x.size();
    let logits = tap.observe(Hook::block(layer, HookPoint::Router), weights.router.forward(routed)?)?;
    let probabilities = logits.f_to_kind(wider(logits.kind()))?.f_softmax(-1, None::<Kind>)?;
    let (largest, chosen) = probabilities.f_topk(shape.per_token as i64, -1, true, true)?;
    let kept = match shape.renormalise {
        true => largest.f_div(&largest.f_sum_dim_intlist(-1, true, None::<Kind>)?)?,
        false => largest,
    };
    let mut share = probabilities.f_zeros_like()?.f_scatter(-1, &chosen, &kept)?;
    if let Some(norms) = &weights.own_norms {
        share = share.f_mul(&norms.expert_scale)?;
    }
    // [batch, pos, expert]
    let share = tap.observe(Hook::block(layer, HookPoint::ExpertWeights), share.f_to_kind(x.kind())?)?;
    // [token, expert] and [token, d_model]
    let (share, tokens) = (share.f_flatten(0, 1)?, x.f_flatten(0, 1)?);
    let mut sum = tokens.f_zeros_like()?;
    for (index, expert) in weights.experts.iter().enumerate() {
        let weight = share.f_select(1, index as i64)?;
        let at = weight.f_nonzero()?.f_flatten(0, 1)?;
        if at.size()[0] == 0 {
            continue;
        }
        let input = tokens.f_index_select(0, &at)?;
        let post = match (form, &expert.gate) {
            (Mlp::Gated { activation }, Some(gate)) => {
                activate(activation, &gate.forward(&input)?)?.f_mul(&expert.input.forward(&input)?)?
            }
            (Mlp::Gated { activation } | Mlp::Ungated { activation }, _) => {
                activate(activation, &expert.input.forward(&input)?)?
            }
        };
        let output = expert.output.forward(&post)?;
        let weighted = output.f_mul(&weight.f_index_select(0, &at)?.f_unsqueeze(1)?)?;
        sum = sum.f_index_add(0, &at, &weighted.f_to_kind(sum.kind())?)?;
    }
    Ok(sum.f_reshape(&size)?)
}

/// Gemma 4: what the per-layer input of `layer` adds to the stream `x`, `[batch, pos, d_model]`.
pub(crate) fn per_layer(
    form: Mlp,
    norm: Norm,
    weights: &crate::weights::PerLayerWeights,
    x: &Tensor,
    input: &Tensor,
) -> Result<Tensor> {
    let (Mlp::Gated { activation } | Mlp::Ungated { activation }) = form;
    let gated = activate(activation, &weights.gate.forward(x)?)?.f_mul(input)?;
    without_hooks(norm, &weights.norm, &weights.output.forward(&gated)?)
}

fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    Ok(match activation {
        Activation::Gelu => x.f_gelu("none")?,
        Activation::GeluTanh => x.f_gelu("tanh")?,
        Activation::Relu => x.f_relu()?,
        Activation::Silu => x.f_silu()?,
    })
}
