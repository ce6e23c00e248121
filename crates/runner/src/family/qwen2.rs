//! Qwen 2 and 2.5 (Yang et al. 2024, arXiv 2407.10671): Llama with biases on q, k and v, and windows in the upper
//! layers of some checkpoints.

use super::{Config, shape};
use crate::architecture::Architecture;
use crate::error::Result;

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = shape::llama_like(config)?;
    arch.biases.qkv = true;
    windows(config, &mut arch, |layer, limit| layer >= limit)?;
    Ok(arch)
}

/// The windows of Qwen 2 and 3, if `use_sliding_window` switches them on: in the layers for which `slides`, given the
/// layer and `max_window_layers`, is true.
pub(super) fn windows(
    config: &Config,
    arch: &mut Architecture,
    slides: impl Fn(usize, usize) -> bool,
) -> Result<()> {
    let on = config.flag_or("use_sliding_window", false)? && config.size_if("sliding_window")?.is_some();
    let limit = config.size_if("max_window_layers")?.unwrap_or(28);
    let slides = shape::sliding_layers(config, arch.n_layers, |layer| on && slides(layer, limit))?;
    // Read also where no layer slides: it is a number then, or null.
    config.size_if("sliding_window")?;
    if on { shape::window_where(config, arch, &slides) } else { Ok(()) }
}
