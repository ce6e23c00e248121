//! Gemma (Gemma team 2024, arXiv 2403.08295): Llama with a scaled embedding, norms that add 1 to their weights, and
//! GELU in the gate.

use super::{Config, parts, shape};
use crate::architecture::{Activation, Architecture, Mlp, Norm};
use crate::error::{Error, Result};
use crate::forward::norm::wider;
use crate::weights::{Block, NormWeights, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = common(config)?;
    super::rope::everywhere(config, &mut arch, 10_000.0)?;
    Ok(arch)
}

/// What all Gemmas have in common.
pub(super) fn common(config: &Config) -> Result<Architecture> {
    // Not the model's width over its heads, as elsewhere.
    config.size("head_dim")?;
    let sizes = shape::llama_sizes(config)?;
    let norm = Norm::Rms { eps: config.number_or("rms_norm_eps", 1e-6)? };
    // Gemma 1 was published with `hidden_act` "gelu", which its authors take to mean the tanh approximation.
    let older = match config.string_or("hidden_act", "")?.as_str() {
        "" => None,
        "gelu" => Some(Activation::GeluTanh),
        other => Some(Activation::from_name(other)?),
    };
    let newer = match config.string_or("hidden_activation", "")?.as_str() {
        "" => None,
        name => Some(Activation::from_name(name)?),
    };
    if older.is_some() && newer.is_some() && older != newer {
        return Err(Error::Config("`hidden_act` and `hidden_activation` say different things".into()));
    }
    let activation = newer.or(older).unwrap_or(Activation::GeluTanh);
    let mut arch = shape::default_shape(config, sizes, norm, Mlp::Gated { activation })?;
    let bias = config.flag_or("attention_bias", false)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    arch.embedding.scale = Some((arch.d_model as f64).sqrt());
    arch.embedding.tied = config.flag_or("tie_word_embeddings", true)?;
    // "vision" is about the tokens of an image, which no text has.
    if config.get("use_bidirectional_attention").is_none_or(|which| which != "vision") {
        config.refuse_flag("use_bidirectional_attention", "only causal attention is supported")?;
    }
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    let mut weights = parts::llama_weights(arch, source, block)?;
    weights.final_norm = weights.final_norm.map(plus_one).transpose()?;
    Ok(weights)
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let mut block = parts::llama_block(arch, source, layer)?;
    for norm in [&mut block.ln1, &mut block.ln2] {
        *norm = norm.take().map(plus_one).transpose()?;
    }
    Ok(block)
}

/// 1 + weight, in wide arithmetic: these norms are applied before the result is rounded to the model's dtype.
pub(super) fn plus_one(norm: NormWeights) -> Result<NormWeights> {
    let add = |weight: tch::Tensor| -> Result<tch::Tensor> {
        Ok(weight.f_to_kind(wider(weight.kind()))?.f_add_scalar(1.0)?)
    };
    Ok(NormWeights { weight: norm.weight.map(add).transpose()?, bias: norm.bias })
}
