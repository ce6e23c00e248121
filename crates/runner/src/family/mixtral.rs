//! Mixtral (Jiang et al. 2024, arXiv 2401.04088): Mistral with experts instead of the MLP.

use super::{Config, parts, rope, shape};
use crate::architecture::{Architecture, BesideDense, Experts};
use crate::error::Result;
use crate::weights::{Block, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = shape::unrotated(config, 1e-5)?;
    rope::everywhere(config, &mut arch, 1_000_000.0)?;
    shape::window_everywhere(config, &mut arch)?;
    let experts = Experts {
        count: config.size("num_local_experts")?,
        per_token: config.size("num_experts_per_tok")?,
        d_expert: config.size("intermediate_size")?,
        renormalise: true,
        beside_dense: BesideDense::Alone,
    };
    for layer in &mut arch.layers {
        (layer.d_mlp, layer.experts) = (None, Some(experts.clone()));
    }
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
    let form = arch.layers[layer].experts.as_ref();
    let names = ["w1", "w3", "w2"];
    let mixture = |form| parts::experts(arch, source, &format!("{at}.block_sparse_moe"), form, names);
    let experts = form.map(mixture).transpose()?;
    Ok(Block {
        ln1: norm(source, "input_layernorm")?,
        ln2: norm(source, "post_attention_layernorm")?,
        experts,
        ..Block::new(parts::attention(arch, source, layer, &format!("{at}.self_attn"), "o_proj")?)
    })
}
