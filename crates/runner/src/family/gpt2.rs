//! GPT-2 (Radford et al. 2019) as `transformers` stores it: LayerNorm, learned positions, fused q/k/v in
//! `Conv1D` layout, which keeps weights as `[in, out]`.

use super::shape::{self, Sizes};
use super::{Config, parts};
use crate::architecture::{Activation, Architecture, Mlp, Norm};
use crate::error::{Error, Result};
use crate::weights::{Attention, Block, Linear, MlpWeights, Part, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    config.refuse_flag("add_cross_attention", "this is not a decoder-only model")?;
    // Only a numerical safeguard in half precision: the products are the same.
    config.flag_or("reorder_and_upcast_attn", false)?;
    let mut arch = gpt_shape(config)?;
    if !config.flag_or("scale_attn_weights", true)? {
        arch.layers.iter_mut().for_each(|layer| layer.score_factor = 1.0);
    }
    if config.flag_or("scale_attn_by_inverse_layer_idx", false)? {
        for (index, layer) in arch.layers.iter_mut().enumerate() {
            layer.score_factor /= (index + 1) as f64;
        }
    }
    arch.embedding.learned_positions = true;
    (arch.biases.qkv, arch.biases.attention_out) = (true, true);
    arch.embedding.tied = config.flag_or("tie_word_embeddings", true)?;
    Ok(arch)
}

/// The sizes under the keys of GPT-2 and GPT-J, with LayerNorm and an ungated MLP with biases.
pub(super) fn gpt_shape(config: &Config) -> Result<Architecture> {
    let d_model = config.size("n_embd")?;
    let n_heads = config.size("n_head")?;
    // n_ctx is the old name of n_positions; both occur in one file.
    let n_ctx = config.size_if("n_ctx")?;
    let sizes = Sizes {
        n_layers: config.size("n_layer")?,
        n_heads,
        n_kv_heads: n_heads,
        d_model,
        d_head: shape::even_heads(d_model, n_heads)?,
        d_mlp: config.size_if("n_inner")?.unwrap_or(4 * d_model),
        n_vocab: config.size("vocab_size")?,
        n_ctx: match config.size_if("n_positions")?.or(n_ctx) {
            Some(window) => window,
            None => return Err(Error::Config("`n_positions` is missing".into())),
        },
    };
    let norm = Norm::Layer { eps: config.number_or("layer_norm_epsilon", 1e-5)? };
    let activation = Activation::from_name(&config.string_or("activation_function", "gelu_new")?)?;
    let mut arch = shape::default_shape(config, sizes, norm, Mlp::Ungated { activation })?;
    arch.biases.mlp = true;
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    // Checkpoints of the bare GPT2Model lack the prefix.
    let prefix = if source.has("wte.weight") { "" } else { "transformer." };
    let d = arch.d_model;
    source.enter(Part::Embed);
    let embed = source.take(&format!("{prefix}wte.weight"), &[arch.n_vocab as i64, d as i64])?;
    let positions = source.take(&format!("{prefix}wpe.weight"), &[arch.n_ctx as i64, d as i64])?;
    let blocks = parts::blocks(arch, source, |arch, source, layer| {
        block(arch, source, layer, &format!("{prefix}h.{layer}"))
    })?;
    source.enter(Part::Head);
    let final_norm = Some(parts::norm(arch, source, &format!("{prefix}ln_f"), d)?);
    let unembed = parts::unembedding(arch, source, "lm_head", &embed, d)?;
    Ok(Weights { positions: Some(positions), blocks, final_norm, ..Weights::new(embed, unembed) })
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize, at: &str) -> Result<Block> {
    let (d, heads) = (arch.d_model, arch.n_heads * arch.layers[layer].d_head);
    fn conv1d(source: &mut dyn TensorSource, name: &str, input: usize, output: usize) -> Result<Linear> {
        let stored = source.take(&format!("{name}.weight"), &[input as i64, output as i64])?;
        // A weight that is being trained stays the caller's own.
        let weight = if stored.requires_grad() { stored.f_tr()? } else { stored.f_tr()?.f_contiguous()? };
        Ok(Linear { weight, bias: Some(source.take(&format!("{name}.bias"), &[output as i64])?) })
    }
    let fused = conv1d(source, &format!("{at}.attn.c_attn"), d, 3 * heads)?;
    let attention = Attention {
        q: parts::rows(&fused, 0, heads)?,
        k: Some(parts::rows(&fused, heads, heads)?),
        v: Some(parts::rows(&fused, 2 * heads, heads)?),
        q_norm: None,
        k_norm: None,
        out: conv1d(source, &format!("{at}.attn.c_proj"), heads, d)?,
    };
    let mlp = |source: &mut dyn TensorSource, width: usize| -> Result<MlpWeights> {
        Ok(MlpWeights {
            gate: None,
            input: conv1d(source, &format!("{at}.mlp.c_fc"), d, width)?,
            output: conv1d(source, &format!("{at}.mlp.c_proj"), width, d)?,
        })
    };
    Ok(Block {
        ln1: Some(parts::norm(arch, source, &format!("{at}.ln_1"), d)?),
        ln2: Some(parts::norm(arch, source, &format!("{at}.ln_2"), d)?),
        mlp: arch.layers[layer].d_mlp.map(|width| mlp(source, width)).transpose()?,
        ..Block::new(attention)
    })
}
