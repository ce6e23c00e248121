//! OPT (Zhang et al. 2022, arXiv 2205.01068): learned positions kept from row 2 on, ReLU; OPT-350m normalises the
//! stream itself and has a narrower embedding.

use super::{Config, parts, shape};
use crate::architecture::{Activation, Architecture, Mlp, Norm, NormPlace};
use crate::error::Result;
use crate::weights::{Block, Part, TensorSource, Weights};

/// Rows of the table of positions before that of position 0.
const OFFSET: usize = 2;

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let sizes = shape::even_head_sizes(config, "ffn_dim")?;
    let activation = Activation::from_name(&config.string_or("activation_function", "relu")?)?;
    // The epsilon is PyTorch's default, not in the file.
    let mut arch =
        shape::default_shape(config, sizes, Norm::Layer { eps: 1e-5 }, Mlp::Ungated { activation })?;
    let before = config.flag_or("do_layer_norm_before", true)?;
    let removed = config.flag_or("_remove_final_layer_norm", false)?;
    arch.norms.place = if before { NormPlace::Pre } else { NormPlace::Post };
    arch.norms.last = before && !removed;
    arch.norms.affine = config.flag_or("layer_norm_elementwise_affine", true)?;
    let bias = config.flag_or("enable_bias", true)?;
    (arch.biases.qkv, arch.biases.attention_out, arch.biases.mlp) = (bias, bias, bias);
    arch.embedding.learned_positions = true;
    arch.embedding.position_offset = OFFSET;
    arch.embedding.width = config.size_if("word_embed_proj_dim")?.filter(|width| *width != arch.d_model);
    arch.embedding.tied = config.flag_or("tie_word_embeddings", true)?;
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    let d = arch.d_model;
    let width = arch.embedding.width.unwrap_or(d);
    // Checkpoints of the bare OPTModel lack the prefix.
    let prefix = if source.has("decoder.embed_tokens.weight") { "decoder" } else { "model.decoder" };
    source.enter(Part::Embed);
    let embed =
        source.take(&format!("{prefix}.embed_tokens.weight"), &[arch.n_vocab as i64, width as i64])?;
    let table = [(arch.n_ctx + arch.embedding.position_offset) as i64, d as i64];
    let positions = source.take(&format!("{prefix}.embed_positions.weight"), &table)?;
    let projection = |source: &mut dyn TensorSource, name: &str, shape: [usize; 2]| match arch.embedding.width
    {
        Some(_) => parts::linear(source, &format!("{prefix}.{name}"), shape, false).map(Some),
        None => Ok(None),
    };
    let embed_in = projection(source, "project_in", [d, width])?;
    let blocks = parts::blocks(arch, source, |arch, source, layer| {
        block(arch, source, layer, &format!("{prefix}.layers.{layer}"))
    })?;
    source.enter(Part::Head);
    let final_norm = match arch.norms.last {
        true => Some(parts::norm(arch, source, &format!("{prefix}.final_layer_norm"), d)?),
        false => None,
    };
    let unembed_in = projection(source, "project_out", [width, d])?;
    let unembed = parts::unembedding(arch, source, "lm_head", &embed, width)?;
    let positions = Some(positions);
    Ok(Weights { embed_in, positions, blocks, final_norm, unembed_in, ..Weights::new(embed, unembed) })
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize, at: &str) -> Result<Block> {
    Ok(Block {
        ln1: Some(parts::norm(arch, source, &format!("{at}.self_attn_layer_norm"), arch.d_model)?),
        ln2: Some(parts::norm(arch, source, &format!("{at}.final_layer_norm"), arch.d_model)?),
        mlp: parts::ungated_mlp(arch, source, layer, at, ["fc1", "fc2"])?,
        ..Block::new(parts::attention(arch, source, layer, &format!("{at}.self_attn"), "out_proj")?)
    })
}
