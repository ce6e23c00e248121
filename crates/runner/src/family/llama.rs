//! Llama (Touvron et al. 2023) as `transformers` stores it: RMSNorm, rotary positions, SwiGLU, grouped queries.

use super::{Config, parts, shape};
use crate::architecture::Architecture;
use crate::error::Result;
use crate::weights::{TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = shape::llama_like(config)?;
    let bias = config.flag_or("attention_bias", false)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    arch.biases.mlp = config.flag_or("mlp_bias", false)?;
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    parts::llama_weights(arch, source, parts::llama_block)
}
