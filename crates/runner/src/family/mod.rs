//! Families: from `config.json` and tensor names to an [`Architecture`] and its [`Weights`].
//!
//! A family is one file with two functions, `architecture` and `weights`, and nothing of the forward pass.

mod config;
mod gpt2;
mod llama;

pub use config::Config;

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::weights::{Source, Weights};

/// The values of `model_type` that [`architecture`] understands.
pub const SUPPORTED: [&str; 2] = ["gpt2", "llama"];

/// Reads `config.json`.
///
/// # Errors
/// [`Error::Config`] for a family or a key that is not understood, naming it.
pub fn architecture(config: &Config) -> Result<Architecture> {
    let family = config.string("model_type")?;
    let architecture = match family.as_str() {
        "gpt2" => gpt2::architecture(config),
        "llama" => llama::architecture(config),
        other => Err(Error::Config(format!(
            "model_type `{other}` is not supported\nhint: supported families are {}",
            SUPPORTED.join(", ")
        ))),
    }?;
    config.refuse_unread()?;
    architecture.validated()
}

/// Takes every weight of `architecture` out of `source`, under the family's names.
///
/// # Errors
/// [`Error::Weight`] for a tensor that is missing or does not fit, and whatever `source` finds wrong.
pub fn weights(architecture: &Architecture, source: &mut dyn Source) -> Result<Weights> {
    match architecture.family.as_str() {
        "gpt2" => gpt2::weights(architecture, source),
        "llama" => llama::weights(architecture, source),
        other => Err(Error::Config(format!("model_type `{other}` is not supported"))),
    }
}
