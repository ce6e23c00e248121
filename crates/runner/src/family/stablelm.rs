//! StableLM (Bellagente et al. 2024, arXiv 2402.17834): LayerNorm, a partial rotation, a gated MLP, and in some
//! checkpoints a parallel block or a norm of its own for every query and key head.

use tch::Tensor;

use super::{Config, parts, rope, shape};
use crate::architecture::{Activation, Architecture, Mlp, Norm, QkNorm};
use crate::error::Result;
use crate::weights::{Block, NormWeights, ShallowClone, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let sizes = shape::llama_sizes(config)?;
    let norm = Norm::Layer { eps: config.number_or("layer_norm_eps", 1e-5)? };
    let activation = Activation::from_name(&config.string_or("hidden_act", "silu")?)?;
    let mut arch = shape::default_shape(config, sizes, norm, Mlp::Gated { activation })?;
    rope::partly(config, &mut arch, 0.25)?;
    arch.embedding.tied = config.flag_or("tie_word_embeddings", false)?;
    arch.biases.qkv = config.flag_or("use_qkv_bias", false)?;
    arch.parallel = config.flag_or("use_parallel_residual", false)?;
    arch.norms.qk = config.flag_or("qk_layernorm", false)?.then_some(QkNorm::EachHead);
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    parts::llama_weights(arch, source, block)
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let at = format!("model.layers.{layer}");
    let ln1 = parts::norm(arch, source, &format!("{at}.input_layernorm"), arch.d_model)?;
    // A parallel block has one norm for both.
    let ln2 = match arch.parallel {
        true => ln1.shallow(),
        false => parts::norm(arch, source, &format!("{at}.post_attention_layernorm"), arch.d_model)?,
    };
    let mut attention = parts::attention(arch, source, layer, &format!("{at}.self_attn"), "o_proj")?;
    if arch.norms.qk.is_some() {
        let shape = &arch.layers[layer];
        let mut by_head = |name: &str, heads: usize| -> Result<Option<NormWeights>> {
            let name = |head| format!("{at}.self_attn.{name}.norms.{head}.weight");
            let rows = (0..heads).map(|head| source.take(&name(head), &[shape.d_head as i64]));
            let weight = Tensor::f_stack(&rows.collect::<Result<Vec<_>>>()?, 0)?;
            Ok(Some(NormWeights { weight: Some(weight), bias: None }))
        };
        attention.q_norm = by_head("q_layernorm", arch.n_heads)?;
        attention.k_norm = by_head("k_layernorm", shape.n_kv_heads)?;
    }
    let mlp = parts::dense_mlp(arch, source, layer)?;
    Ok(Block { ln1: Some(ln1), ln2: Some(ln2), mlp, ..Block::new(attention) })
}
