//! Families: from `config.json` and tensor names to an [`Architecture`] and its [`Weights`].
//!
//! A family is one file with two functions, `architecture` and `weights`, and nothing of the forward pass.

mod config;
mod fresh;
mod gemma;
mod gemma2;
mod gemma3;
mod gemma4;
mod gemma_multimodal;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod gptj;
mod inert;
mod llama;
mod mistral;
mod mixtral;
mod olmo;
mod olmo2;
mod olmoe;
mod opt;
mod parts;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen_moe;
mod rope;
mod shape;
mod stablelm;

pub use config::Config;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tch::Tensor;

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::weights::{TensorSource, Weights};

/// What a family is: its `model_type`, how its files are read, and what holds for keys that `config.json` leaves out.
struct Family {
    name: &'static str,
    architecture: fn(&Config) -> Result<Architecture>,
    weights: fn(&Architecture, &mut dyn TensorSource) -> Result<Weights>,
    defaults: fn() -> Value,
}

macro_rules! families {
    ($($name:literal: $architecture:path, $weights:path $(, $defaults:tt)?;)*) => {
        const FAMILIES: &[Family] = &[
            $(Family {
                name: $name,
                architecture: $architecture,
                weights: $weights,
                defaults: || families!(@ $($defaults)?),
            }),*
        ];

        /// The values of `model_type` that [`architecture`] understands.
        pub const SUPPORTED: &[&str] = &[$($name),*];
    };
    (@) => { Value::Null };
    (@ $defaults:tt) => { json!($defaults) };
}

// Defaults are those of transformers' configuration classes (5.24), which files written by hand or by older versions
// rely on. Those that most families share stand where a key is read. Sizes that the file must state have none: a model
// that is all defaults is a mistake.
families! {
    "gemma": gemma::architecture, gemma::weights, {"head_dim": 256, "num_key_value_heads": 16};
    "gemma2": gemma2::architecture, gemma2::weights, {
        "head_dim": 256, "num_key_value_heads": 4, "sliding_window": 4096,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    };
    "gemma3": gemma_multimodal::gemma3, gemma_multimodal::gemma3_weights;
    "gemma3_text": gemma3::architecture, gemma2::weights, {
        "head_dim": 256, "num_key_value_heads": 4, "sliding_window": 4096,
    };
    "gemma4": gemma_multimodal::gemma4, gemma_multimodal::gemma4_weights;
    "gemma4_text": gemma4::architecture, gemma4::weights, {
        "head_dim": 256, "num_key_value_heads": 4, "sliding_window": 512,
    };
    "gpt2": gpt2::architecture, gpt2::weights;
    "gpt_neo": gpt_neo::architecture, gpt_neo::weights;
    "gpt_neox": gpt_neox::architecture, gpt_neox::weights;
    "gptj": gptj::architecture, gptj::weights, {"rotary_dim": 64};
    "llama": llama::architecture, llama::weights;
    "mistral": mistral::architecture, llama::weights, {"num_key_value_heads": 8, "sliding_window": 4096};
    "mixtral": mixtral::architecture, mixtral::weights, {"num_key_value_heads": 8};
    "olmo": olmo::architecture, llama::weights;
    "olmo2": olmo2::architecture, olmo2::weights;
    "olmoe": olmoe::architecture, llama::weights;
    "opt": opt::architecture, opt::weights;
    "phi3": phi3::architecture, phi3::weights;
    "qwen2": qwen2::architecture, llama::weights, {"num_key_value_heads": 32, "sliding_window": 4096};
    "qwen2_moe": qwen_moe::qwen2, llama::weights, {"num_key_value_heads": 16, "sliding_window": 4096};
    "qwen3": qwen3::architecture, llama::weights, {
        "head_dim": 128, "num_key_value_heads": 32, "sliding_window": 4096,
    };
    "qwen3_moe": qwen_moe::qwen3, llama::weights, {"num_key_value_heads": 4, "sliding_window": 4096};
    "stablelm": stablelm::architecture, stablelm::weights, {"num_key_value_heads": 32};
}

fn family(name: &str) -> Result<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name).ok_or_else(|| {
        Error::Config(format!(
            "model_type `{name}` is not supported\nhint: supported families are {}",
            SUPPORTED.join(", ")
        ))
    })
}

/// Reads `config.json`.
///
/// # Errors
/// [`Error::Config`] for a family or a key that is not understood, naming it.
pub fn architecture(config: &Config) -> Result<Architecture> {
    let family = family(&config.string("model_type")?)?;
    config.refuse_quantised()?;
    let config = config.with_defaults(&(family.defaults)());
    let architecture = (family.architecture)(&config)?;
    config.refuse_unread()?;
    architecture.validated()
}

/// Takes every weight of `architecture` out of `source`, under the family's names.
///
/// # Errors
/// [`Error::Weight`] for a tensor that is missing or does not fit, and whatever `source` finds wrong.
pub fn weights(architecture: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    (family(&architecture.family)?.weights)(architecture, source)
}

/// Fresh weights for `architecture` under the family's tensor names: matrices normal with standard deviation
/// `std` (from libtorch's global generator: seed it with [`tch::manual_seed`]), norms one, biases zero.
///
/// # Errors
/// [`Error::Config`] for an unknown family, [`Error::Torch`] when memory does not suffice.
pub fn fresh(architecture: &Architecture, std: f64) -> Result<BTreeMap<String, Tensor>> {
    let mut source = fresh::Fresh { std, made: BTreeMap::new() };
    weights(architecture, &mut source)?;
    Ok(source.made)
}
