//! Weights that nearly all families have, mostly under Llama's names.

use crate::architecture::{Architecture, BesideDense, Experts, Keys, QkNorm};
use crate::error::Result;
use crate::weights::{
    Attention, Block, ExpertWeights, Linear, MlpWeights, NormWeights, Part, TensorSource, Weights,
};

/// A linear map.
pub(super) fn linear(
    source: &mut dyn TensorSource,
    name: &str,
    shape: [usize; 2],
    bias: bool,
) -> Result<Linear> {
    Ok(Linear {
        weight: source.take(&format!("{name}.weight"), &shape.map(|n| n as i64))?,
        bias: if bias { Some(source.take(&format!("{name}.bias"), &[shape[0] as i64])?) } else { None },
    })
}

/// `count` rows of a map from row `first`, without a copy: a part of a fused projection.
pub(super) fn rows(fused: &Linear, first: usize, count: usize) -> Result<Linear> {
    let cut = |t: &tch::Tensor| t.f_narrow(0, first as i64, count as i64);
    Ok(Linear { weight: cut(&fused.weight)?, bias: fused.bias.as_ref().map(cut).transpose()? })
}

/// A norm over `width` entries in the form of the architecture's.
pub(super) fn norm(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    name: &str,
    width: usize,
) -> Result<NormWeights> {
    if !arch.norms.affine {
        return Ok(NormWeights::default());
    }
    let weight = Some(source.take(&format!("{name}.weight"), &[width as i64])?);
    let bias = match arch.norms.form.centres() {
        true => Some(source.take(&format!("{name}.bias"), &[width as i64])?),
        false => None,
    };
    Ok(NormWeights { weight, bias })
}

/// q, k, v and out under `{at}.{q,k,v}_proj` and `{at}.{out}`, with q_norm and k_norm where the architecture has them.
pub(super) fn attention(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    layer: usize,
    at: &str,
    out: &str,
) -> Result<Attention> {
    let (shape, d) = (&arch.layers[layer], arch.d_model);
    let (heads, groups) = (arch.n_heads * shape.d_head, shape.n_kv_heads * shape.d_head);
    let own = !matches!(shape.keys, Keys::OfLayer(_));
    let mut project =
        |name: &str, width: usize| linear(source, &format!("{at}.{name}"), [width, d], arch.biases.qkv);
    let q = project("q_proj", heads)?;
    let k = if own { Some(project("k_proj", groups)?) } else { None };
    let v = if shape.keys == Keys::Own { Some(project("v_proj", groups)?) } else { None };
    let qk_norm = |source: &mut dyn TensorSource, name: &str, all: usize| -> Result<Option<NormWeights>> {
        let width = match arch.norms.qk {
            Some(QkNorm::Head) => shape.d_head,
            Some(QkNorm::AllHeads) => all,
            // StableLM stores these in a way of its own.
            Some(QkNorm::EachHead) | None => return Ok(None),
        };
        norm(arch, source, &format!("{at}.{name}"), width).map(Some)
    };
    Ok(Attention {
        q,
        k,
        v,
        q_norm: qk_norm(source, "q_norm", heads)?,
        k_norm: if own { qk_norm(source, "k_norm", groups)? } else { None },
        out: linear(source, &format!("{at}.{out}"), [d, heads], arch.biases.attention_out)?,
    })
}

/// A gated MLP of `width` neurons under `{at}.{names}`: gate, input, output.
pub(super) fn gated_mlp(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    at: &str,
    [gate, input, output]: [&str; 3],
    width: usize,
) -> Result<MlpWeights> {
    let (d, bias) = (arch.d_model, arch.biases.mlp);
    Ok(MlpWeights {
        gate: Some(linear(source, &format!("{at}.{gate}"), [width, d], bias)?),
        input: linear(source, &format!("{at}.{input}"), [width, d], bias)?,
        output: linear(source, &format!("{at}.{output}"), [d, width], bias)?,
    })
}

/// An MLP without a gate under `{at}.{names}`: input, output.
pub(super) fn ungated_mlp(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    layer: usize,
    at: &str,
    [input, output]: [&str; 2],
) -> Result<Option<MlpWeights>> {
    let (d, bias) = (arch.d_model, arch.biases.mlp);
    let Some(width) = arch.layers[layer].d_mlp else { return Ok(None) };
    Ok(Some(MlpWeights {
        gate: None,
        input: linear(source, &format!("{at}.{input}"), [width, d], bias)?,
        output: linear(source, &format!("{at}.{output}"), [d, width], bias)?,
    }))
}

/// Names of a gated MLP's parts in Llama and most others.
pub(super) const GATE_UP_DOWN: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];

/// A mixture of experts under `{at}`: `gate` is the router, `experts.N` the experts.
pub(super) fn experts(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    at: &str,
    form: &Experts,
    names: [&str; 3],
) -> Result<ExpertWeights> {
    let router = linear(source, &format!("{at}.gate"), [form.count, arch.d_model], false)?;
    let expert = |index: usize, source: &mut dyn TensorSource| {
        gated_mlp(arch, source, &format!("{at}.experts.{index}"), names, form.d_expert)
    };
    let experts = (0..form.count).map(|index| expert(index, source)).collect::<Result<_>>()?;
    let shared_gate = match form.beside_dense {
        BesideDense::SharedExpert => {
            Some(linear(source, &format!("{at}.shared_expert_gate"), [1, arch.d_model], false)?)
        }
        _ => None,
    };
    Ok(ExpertWeights { router, experts, shared_gate, own_norms: None })
}

/// The dense MLP of a layer under Llama's names, or the shared expert beside its experts.
pub(super) fn dense_mlp(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    layer: usize,
) -> Result<Option<MlpWeights>> {
    let shape = &arch.layers[layer];
    let at = match shape.experts {
        Some(_) => format!("model.layers.{layer}.mlp.shared_expert"),
        None => format!("model.layers.{layer}.mlp"),
    };
    shape.d_mlp.map(|width| gated_mlp(arch, source, &at, GATE_UP_DOWN, width)).transpose()
}

/// A block of Llama's names, experts included. Taken in the order of the forward pass, which fresh weights are
/// drawn in.
pub(super) fn llama_block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let at = format!("model.layers.{layer}");
    let ln1 = norm(arch, source, &format!("{at}.input_layernorm"), arch.d_model)?;
    let attention = attention(arch, source, layer, &format!("{at}.self_attn"), "o_proj")?;
    let ln2 = norm(arch, source, &format!("{at}.post_attention_layernorm"), arch.d_model)?;
    let form = arch.layers[layer].experts.as_ref();
    let mixture = |form| experts(arch, source, &format!("{at}.mlp"), form, GATE_UP_DOWN);
    let experts = form.map(mixture).transpose()?;
    let mlp = dense_mlp(arch, source, layer)?;
    Ok(Block { ln1: Some(ln1), ln2: Some(ln2), mlp, experts, ..Block::new(attention) })
}

/// All weights, with Llama's names outside the blocks, and `block` for each of them.
pub(super) fn llama_weights(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    block: impl Fn(&Architecture, &mut dyn TensorSource, usize) -> Result<Block>,
) -> Result<Weights> {
    let embedding = [arch.n_vocab as i64, arch.d_model as i64];
    source.enter(Part::Embed);
    let embed = source.take("model.embed_tokens.weight", &embedding)?;
    let blocks = blocks(arch, source, block)?;
    source.enter(Part::Head);
    let final_norm = Some(norm(arch, source, "model.norm", arch.d_model)?);
    let unembed = unembedding(arch, source, "lm_head", &embed, arch.d_model)?;
    Ok(Weights { blocks, final_norm, ..Weights::new(embed, unembed) })
}

/// Every block, from the input up.
pub(super) fn blocks(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    block: impl Fn(&Architecture, &mut dyn TensorSource, usize) -> Result<Block>,
) -> Result<Vec<Block>> {
    let one = |layer: usize| {
        source.enter(Part::Block(layer));
        block(arch, source, layer)
    };
    (0..arch.n_layers).map(one).collect()
}

/// The unembedding: `embed` itself in a tied model, else `{name}`.
pub(super) fn unembedding(
    arch: &Architecture,
    source: &mut dyn TensorSource,
    name: &str,
    embed: &tch::Tensor,
    width: usize,
) -> Result<Linear> {
    if !arch.embedding.tied {
        return linear(source, name, [arch.n_vocab, width], arch.biases.unembed);
    }
    let bias = match arch.biases.unembed {
        true => Some(source.take(&format!("{name}.bias"), &[arch.n_vocab as i64])?),
        false => None,
    };
    Ok(Linear { weight: embed.shallow_clone(), bias })
}
