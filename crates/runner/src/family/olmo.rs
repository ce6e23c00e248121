//! OLMo (Groeneveld et al. 2024, arXiv 2402.00838): LayerNorm without weights, and clipped queries, keys and values.

use super::{Config, rope, shape};
use crate::architecture::{Activation, Architecture, Mlp, Norm};
use crate::error::Result;

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let sizes = shape::llama_sizes(config)?;
    let activation = Activation::from_name(&config.string_or("hidden_act", "silu")?)?;
    // The epsilon is in the code, not in the file.
    let mut arch = shape::default_shape(config, sizes, Norm::Layer { eps: 1e-5 }, Mlp::Gated { activation })?;
    rope::everywhere(config, &mut arch, 10_000.0)?;
    arch.embedding.tied = config.flag_or("tie_word_embeddings", false)?;
    arch.norms.affine = false;
    arch.caps.qkv = config.number_if("clip_qkv")?;
    let bias = config.flag_or("attention_bias", false)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    Ok(arch)
}
