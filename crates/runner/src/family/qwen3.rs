//! Qwen 3 (Yang et al. 2025, arXiv 2505.09388): Qwen 2 without biases and with a norm of each query and key.

use super::{Config, qwen2, shape};
use crate::architecture::{Architecture, QkNorm};
use crate::error::Result;

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    // Not the model's width over its heads, as elsewhere.
    config.size("head_dim")?;
    let mut arch = shape::llama_like(config)?;
    let bias = config.flag_or("attention_bias", false)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    arch.norms.qk = Some(QkNorm::Head);
    qwen2::windows(config, &mut arch, |layer, limit| layer >= limit)?;
    Ok(arch)
}
