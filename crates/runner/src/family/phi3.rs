//! Phi-3 (Abdin et al. 2024, arXiv 2404.14219): Llama with fused q/k/v and gate/up projections, and LongRoPE in the
//! checkpoints for long contexts.

use super::{Config, parts, rope, shape};
use crate::architecture::Architecture;
use crate::error::Result;
use crate::weights::{Attention, Block, Linear, MlpWeights, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = shape::unrotated(config, 1e-5)?;
    rope::partly(config, &mut arch, 1.0)?;
    // The context trained on stands at the top also where nothing is scaled.
    config.size_if("original_max_position_embeddings")?;
    shape::window_everywhere(config, &mut arch)?;
    let bias = config.flag_or("attention_bias", false)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    parts::llama_weights(arch, source, block)
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let (at, shape, d) = (format!("model.layers.{layer}"), &arch.layers[layer], arch.d_model);
    let (heads, groups) = (arch.n_heads * shape.d_head, shape.n_kv_heads * shape.d_head);
    let fused =
        parts::linear(source, &format!("{at}.self_attn.qkv_proj"), [heads + 2 * groups, d], arch.biases.qkv)?;
    let attention = Attention {
        q: parts::rows(&fused, 0, heads)?,
        k: Some(parts::rows(&fused, heads, groups)?),
        v: Some(parts::rows(&fused, heads + groups, groups)?),
        q_norm: None,
        k_norm: None,
        out: parts::linear(source, &format!("{at}.self_attn.o_proj"), [d, heads], arch.biases.attention_out)?,
    };
    let mlp = match shape.d_mlp {
        Some(width) => {
            let fused: Linear =
                parts::linear(source, &format!("{at}.mlp.gate_up_proj"), [2 * width, d], false)?;
            Some(MlpWeights {
                gate: Some(parts::rows(&fused, 0, width)?),
                input: parts::rows(&fused, width, width)?,
                output: parts::linear(source, &format!("{at}.mlp.down_proj"), [d, width], false)?,
            })
        }
        None => None,
    };
    Ok(Block {
        ln1: Some(parts::norm(arch, source, &format!("{at}.input_layernorm"), d)?),
        ln2: Some(parts::norm(arch, source, &format!("{at}.post_attention_layernorm"), d)?),
        mlp,
        ..Block::new(attention)
    })
}
