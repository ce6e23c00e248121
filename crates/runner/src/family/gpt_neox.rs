//! GPT-NeoX (Black et al. 2022, arXiv 2204.06745), the family of Pythia: a partial rotation, parallel attention and
//! MLP, and q, k and v fused head by head.

use super::{Config, parts, rope, shape};
use crate::architecture::{Activation, Architecture, Mlp, Norm};
use crate::error::Result;
use crate::weights::{Attention, Block, Linear, Part, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let sizes = shape::even_head_sizes(config, "intermediate_size")?;
    let norm = Norm::Layer { eps: config.number_or("layer_norm_eps", 1e-5)? };
    let activation = Activation::from_name(&config.string_or("hidden_act", "gelu")?)?;
    let mut arch = shape::default_shape(config, sizes, norm, Mlp::Ungated { activation })?;
    rope::partly(config, &mut arch, 0.25)?;
    let bias = config.flag_or("attention_bias", true)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    arch.biases.mlp = true;
    arch.parallel = config.flag_or("use_parallel_residual", true)?;
    arch.embedding.tied = config.flag_or("tie_word_embeddings", false)?;
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    let d = arch.d_model;
    source.enter(Part::Embed);
    let embed = source.take("gpt_neox.embed_in.weight", &[arch.n_vocab as i64, d as i64])?;
    let blocks = parts::blocks(arch, source, block)?;
    source.enter(Part::Head);
    let final_norm = Some(parts::norm(arch, source, "gpt_neox.final_layer_norm", d)?);
    let unembed = parts::unembedding(arch, source, "embed_out", &embed, d)?;
    Ok(Weights { blocks, final_norm, ..Weights::new(embed, unembed) })
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let (at, d, n_heads) = (format!("gpt_neox.layers.{layer}"), arch.d_model, arch.n_heads);
    let d_head = arch.layers[layer].d_head;
    let name = format!("{at}.attention.query_key_value");
    let fused = parts::linear(source, &name, [3 * d, d], arch.biases.qkv)?;
    // Rows stand as [head, q/k/v, d_head].
    let part = |index: i64| -> Result<Linear> {
        let cut = |t: &tch::Tensor| -> Result<tch::Tensor> {
            let shape = [n_heads as i64, 3, d_head as i64, -1];
            let rows = t.f_reshape(shape)?.f_select(1, index)?;
            Ok(if t.dim() == 1 { rows.f_reshape([d as i64])? } else { rows.f_reshape([d as i64, d as i64])? })
        };
        Ok(Linear { weight: cut(&fused.weight)?, bias: fused.bias.as_ref().map(cut).transpose()? })
    };
    let attention = Attention {
        q: part(0)?,
        k: Some(part(1)?),
        v: Some(part(2)?),
        q_norm: None,
        k_norm: None,
        out: parts::linear(source, &format!("{at}.attention.dense"), [d, d], arch.biases.attention_out)?,
    };
    Ok(Block {
        ln1: Some(parts::norm(arch, source, &format!("{at}.input_layernorm"), d)?),
        ln2: Some(parts::norm(arch, source, &format!("{at}.post_attention_layernorm"), d)?),
        mlp: parts::ungated_mlp(
            arch,
            source,
            layer,
            &format!("{at}.mlp"),
            ["dense_h_to_4h", "dense_4h_to_h"],
        )?,
        ..Block::new(attention)
    })
}
