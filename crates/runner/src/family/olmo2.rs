//! OLMo 2 (OLMo team 2025, arXiv 2501.00656): norms after attention and MLP instead of before, and one norm over all
//! queries and one over all keys of a token.

use super::{Config, parts, rope, shape};
use crate::architecture::{Architecture, NormPlace, QkNorm};
use crate::error::Result;
use crate::weights::{Block, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = shape::unrotated(config, 1e-5)?;
    rope::everywhere(config, &mut arch, 10_000.0)?;
    let bias = config.flag_or("attention_bias", false)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    arch.norms.place = NormPlace::PostSublayer;
    arch.norms.qk = Some(QkNorm::AllHeads);
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    parts::llama_weights(arch, source, block)
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let at = format!("model.layers.{layer}");
    let norm = |source: &mut dyn TensorSource, name: &str| {
        parts::norm(arch, source, &format!("{at}.{name}"), arch.d_model).map(Some)
    };
    Ok(Block {
        ln1_post: norm(source, "post_attention_layernorm")?,
        ln2_post: norm(source, "post_feedforward_layernorm")?,
        mlp: parts::dense_mlp(arch, source, layer)?,
        ..Block::new(parts::attention(arch, source, layer, &format!("{at}.self_attn"), "o_proj")?)
    })
}
