//! Gemma (Gemma team 2024, arXiv 2403.08295): Llama with a scaled embedding, norms that add 1 to their weights, and
//! GELU in the gate.

use tch::Tensor;

use super::{Config, parts, shape};
use crate::architecture::{Activation, Architecture, Mlp, Norm};
use crate::error::{Error, Result};
use crate::weights::{Part, TensorSource, Weights};

pub(super) fn architecture(config: &Config) -> Result<Architecture> {
    let mut arch = common(config)?;
    super::rope::everywhere(config, &mut arch, 10_000.0)?;
    Ok(arch)
}

/// What all Gemmas have in common.
pub(super) fn common(config: &Config) -> Result<Architecture> {
    // Not the model's width over its heads, as elsewhere.
    config.size("head_dim")?;
    let sizes = shape::llama_sizes(config)?;
    let norm = Norm::Rms { eps: config.number_or("rms_norm_eps", 1e-6)? };
    // Gemma 1 was published with `hidden_act` "gelu", which its authors take to mean the tanh approximation.
    let older = match config.string_or("hidden_act", "")?.as_str() {
        "" => None,
        "gelu" => Some(Activation::GeluTanh),
        other => Some(Activation::from_name(other)?),
    };
    let newer = match config.string_or("hidden_activation", "")?.as_str() {
        "" => None,
        name => Some(Activation::from_name(name)?),
    };
    if older.is_some() && newer.is_some() && older != newer {
        return Err(Error::Config("`hidden_act` and `hidden_activation` say different things".into()));
    }
    let activation = newer.or(older).unwrap_or(Activation::GeluTanh);
    let mut arch = shape::default_shape(config, sizes, norm, Mlp::Gated { activation })?;
    let bias = config.flag_or("attention_bias", false)?;
    (arch.biases.qkv, arch.biases.attention_out) = (bias, bias);
    arch.embedding.scale = Some((arch.d_model as f64).sqrt());
    arch.embedding.tied = config.flag_or("tie_word_embeddings", true)?;
    // "vision" is about the tokens of an image, which no text has.
    if config.get("use_bidirectional_attention").is_none_or(|which| which != "vision") {
        config.refuse_flag("use_bidirectional_attention", "only causal attention is supported")?;
    }
    Ok(arch)
}

pub(super) fn weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    parts::llama_weights(arch, &mut WholeNorms(source), parts::llama_block)
}

/// Gives every norm's weight plus one, as these norms multiply by it.
pub(super) struct WholeNorms<'a>(pub(super) &'a mut dyn TensorSource);

impl TensorSource for WholeNorms<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.has(name)
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        match name.ends_with("norm.weight") {
            true => self.0.take_plus_one(name, shape),
            false => self.0.take(name, shape),
        }
    }

    fn skip(&mut self, name: &str) {
        self.0.skip(name);
    }

    fn skip_all(&mut self, prefix: &str) {
        self.0.skip_all(prefix);
    }

    fn enter(&mut self, part: Part) {
        self.0.enter(part);
    }
}
