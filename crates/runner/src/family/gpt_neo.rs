//! GPT-Neo (Black et al. 2021): GPT-2 with a window in every other layer and no scaling of scores.

use super::shape::{self, Sizes};
use super::{Config, parts};
use crate::architecture::{Activation, Architecture, Mlp, Norm};
use crate::error::{Error, Result};
use crate::weights::{Block, Part, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let d_model = config.size("hidden_size")?;
    let n_heads = config.size("num_heads")?;
    let sizes = Sizes {
        n_layers: config.size("num_layers")?,
        n_heads,
        n_kv_heads: n_heads,
        d_model,
        d_head: shape::even_heads(d_model, n_heads)?,
        d_mlp: config.size_if("intermediate_size")?.unwrap_or(4 * d_model),
        n_vocab: config.size("vocab_size")?,
        n_ctx: config.size("max_position_embeddings")?,
    };
    let norm = Norm::Layer { eps: config.number_or("layer_norm_epsilon", 1e-5)? };
    let activation = Activation::from_name(&config.string_or("activation_function", "gelu_new")?)?;
    let local = kinds(config, sizes.n_layers)?;
    let mut arch = shape::default_shape(config, sizes, norm, Mlp::Ungated { activation })?;
    let window = config.size_if("window_size")?.unwrap_or(256);
    for (layer, local) in arch.layers.iter_mut().zip(local) {
        layer.score_factor = 1.0;
        layer.window = local.then_some(window);
    }
    arch.embedding.learned_positions = true;
    arch.biases.attention_out = true;
    arch.biases.mlp = true;
    arch.embedding.tied = config.flag_or("tie_word_embeddings", true)?;
    Ok(arch)
}

/// Whether each layer is local: `attention_types`, a list of `[[kinds], repeats]`, written out, and the same under
/// `attention_layers`.
fn kinds(config: &Config, n_layers: usize) -> Result<Vec<bool>> {
    let wrong = || {
        Error::Config(format!(
            "`attention_types` must be a list of [[\"global\" or \"local\", ...], repeats] for {n_layers} layers in all"
        ))
    };
    let written_out = config.strings("attention_layers")?;
    let names = match config.get("attention_types") {
        None => written_out.ok_or_else(|| Error::Config("`attention_types` is missing".into()))?,
        Some(types) => {
            let mut names: Vec<String> = Vec::new();
            for group in types.as_array().ok_or_else(wrong)? {
                let (kinds, repeats) = (group.get(0).and_then(|kinds| kinds.as_array()), group.get(1));
                let (Some(kinds), Some(repeats)) = (kinds, repeats.and_then(|repeats| repeats.as_u64()))
                else {
                    return Err(wrong());
                };
                for _ in 0..repeats.min(n_layers as u64 + 1) {
                    for kind in kinds.iter().take(n_layers + 1) {
                        names.push(kind.as_str().ok_or_else(wrong)?.to_owned());
                    }
                    if names.len() > n_layers {
                        return Err(wrong());
                    }
                }
            }
            if written_out.is_some_and(|written_out| written_out != names) {
                return Err(Error::Config("`attention_layers` contradicts `attention_types`".into()));
            }
            names
        }
    };
    if names.len() != n_layers {
        return Err(wrong());
    }
    let local = |name: &String| match name.as_str() {
        "local" => Ok(true),
        "global" => Ok(false),
        _ => Err(wrong()),
    };
    names.iter().map(local).collect()
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    let d = arch.d_model;
    source.enter(Part::Embed);
    let embed = source.take("transformer.wte.weight", &[arch.n_vocab as i64, d as i64])?;
    let positions = source.take("transformer.wpe.weight", &[arch.n_ctx as i64, d as i64])?;
    let blocks = parts::blocks(arch, source, block)?;
    source.enter(Part::Head);
    let final_norm = Some(parts::norm(arch, source, "transformer.ln_f", d)?);
    let unembed = parts::unembedding(arch, source, "lm_head", &embed, d)?;
    Ok(Weights { positions: Some(positions), blocks, final_norm, ..Weights::new(embed, unembed) })
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let at = format!("transformer.h.{layer}");
    Ok(Block {
        ln1: Some(parts::norm(arch, source, &format!("{at}.ln_1"), arch.d_model)?),
        ln2: Some(parts::norm(arch, source, &format!("{at}.ln_2"), arch.d_model)?),
        mlp: parts::ungated_mlp(arch, source, layer, &format!("{at}.mlp"), ["c_fc", "c_proj"])?,
        ..Block::new(parts::attention(arch, source, layer, &format!("{at}.attn.attention"), "out_proj")?)
    })
}
