//! Gemma 2 (Gemma team 2024, arXiv 2408.00118): norms before and after attention and MLP, soft caps on scores and
//! logits, a sliding window in every other layer.

use super::{Config, gemma, parts, shape};
use crate::architecture::{Architecture, NormPlace};
use crate::error::Result;
use crate::weights::{Block, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = common(config)?;
    // Null switches a cap off; where nothing is said, it is on.
    arch.caps.scores = config.number_if("attn_logit_softcapping")?;
    arch.caps.logits = config.number_if("final_logit_softcapping")?;
    super::rope::everywhere(config, &mut arch, 10_000.0)?;
    let slides = shape::sliding_layers(config, arch.n_layers, |layer| layer % 2 == 0)?;
    shape::window_where(config, &mut arch, &slides)?;
    Ok(arch)
}

/// What Gemma 2 and 3 have in common.
pub(super) fn common(config: &Config) -> Result<Architecture> {
    let mut arch = gemma::common(config)?;
    arch.norms.place = NormPlace::Sandwich;
    let scalar = config.number_or("query_pre_attn_scalar", 256.0)?;
    arch.layers.iter_mut().for_each(|layer| layer.score_factor = 1.0 / scalar.sqrt());
    // Which cache `transformers` is to make.
    config.string_or("cache_implementation", "hybrid")?;
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    parts::llama_weights(arch, &mut gemma::WholeNorms(source), block)
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let at = format!("model.layers.{layer}");
    let norm = |source: &mut dyn TensorSource, name: &str| {
        parts::norm(arch, source, &format!("{at}.{name}"), arch.d_model).map(Some)
    };
    let attention = parts::attention(arch, source, layer, &format!("{at}.self_attn"), "o_proj")?;
    Ok(Block {
        ln1: norm(source, "input_layernorm")?,
        ln1_post: norm(source, "post_attention_layernorm")?,
        ln2: norm(source, "pre_feedforward_layernorm")?,
        ln2_post: norm(source, "post_feedforward_layernorm")?,
        mlp: parts::dense_mlp(arch, source, layer)?,
        ..Block::new(attention)
    })
}
