//! Mistral 7B (Jiang et al. 2023, arXiv 2310.06825): Llama with a sliding window in every layer.

use super::{Config, shape};
use crate::architecture::Architecture;
use crate::error::{Error, Result};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = shape::llama_like(config)?;
    if !config.states("sliding_window") {
        // Versions of transformers take 4096 then; whether the model was trained so, nobody knows.
        return Err(Error::Config("`sliding_window` is missing: null means that there is none".into()));
    }
    shape::window_everywhere(config, &mut arch)?;
    Ok(arch)
}
