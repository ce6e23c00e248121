//! GPT-J (Wang and Komatsuzaki 2021): a parallel block with one norm, a partial rotation of neighbouring entries, and a
//! bias on the unembedding.

use super::{Config, gpt2, parts};
use crate::architecture::Architecture;
use crate::architecture::{Pairing, Rotary, Scaling};
use crate::error::{Error, Result};
use crate::weights::{Block, Part, ShallowClone, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = gpt2::gpt_shape(config)?;
    let dims = match config.size_if("rotary_dim")? {
        Some(dims) => dims,
        None => return Err(Error::Config("`rotary_dim` is missing".into())),
    };
    let rotary = Rotary { dims, base: 10_000.0, pairing: Pairing::Neighbours, scaling: Scaling::None };
    arch.layers.iter_mut().for_each(|layer| layer.rotary = Some(rotary.clone()));
    arch.parallel = true;
    arch.biases.unembed = true;
    arch.embedding.tied = config.flag_or("tie_word_embeddings", false)?;
    // Both occur in published files: no effect, and the scaling that GPT-J always has.
    config.flag_or("rotary", true)?;
    if !config.flag_or("scale_attn_weights", true)? {
        return Err(Error::Config("`scale_attn_weights` is false, which GPT-J has no meaning for".into()));
    }
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    let d = arch.d_model;
    source.enter(Part::Embed);
    let embed = source.take("transformer.wte.weight", &[arch.n_vocab as i64, d as i64])?;
    let blocks = parts::blocks(arch, source, block)?;
    source.enter(Part::Head);
    let final_norm = Some(parts::norm(arch, source, "transformer.ln_f", d)?);
    let unembed = parts::unembedding(arch, source, "lm_head", &embed, d)?;
    Ok(Weights { blocks, final_norm, ..Weights::new(embed, unembed) })
}

fn block(arch: &Architecture, source: &mut dyn TensorSource, layer: usize) -> Result<Block> {
    let at = format!("transformer.h.{layer}");
    let ln1 = parts::norm(arch, source, &format!("{at}.ln_1"), arch.d_model)?;
    Ok(Block {
        ln2: Some(ln1.shallow()),
        ln1: Some(ln1),
        mlp: parts::ungated_mlp(arch, source, layer, &format!("{at}.mlp"), ["fc_in", "fc_out"])?,
        ..Block::new(parts::attention(arch, source, layer, &format!("{at}.attn"), "out_proj")?)
    })
}
