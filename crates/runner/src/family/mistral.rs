//! Mistral 7B (Jiang et al. 2023, arXiv 2310.06825): Llama with a sliding window in every layer.

use super::{Config, shape};
use crate::architecture::Architecture;
use crate::error::Result;

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = shape::llama_like(config)?;
    shape::window_everywhere(config, &mut arch)?;
    Ok(arch)
}
