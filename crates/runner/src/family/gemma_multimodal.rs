//! Gemma 3 and 4 as they are published: a text model beside towers for images and sound, of which only the text
//! model is served.
//!
//! Among text tokens attention is causal in these models too; only the tokens of one image may look at each other,
//! and here there are no images. The ids that stand for an image are tokens like others: they bring their own
//! embedding. So does `transformers` in Gemma 3 when it is given no image; in Gemma 4 it gives the placeholders of
//! images, videos and sound the embedding of the padding token instead.

use serde_json::{Value, json};
use tch::Tensor;

use super::{Config, gemma2, gemma3, gemma4};
use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::weights::{Part, TensorSource, Weights};

/// What `transformers` takes for absent keys of Gemma 3's `text_config`: the published 4B states five.
fn gemma3_defaults() -> Value {
    json!({
        "model_type": "gemma3_text", "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "max_position_embeddings": 131072, "sliding_window": 4096, "bos_token_id": 2, "eos_token_id": 1,
    })
}

/// The same of Gemma 4's.
fn gemma4_defaults() -> Value {
    json!({
        "model_type": "gemma4_text", "vocab_size": 262144, "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 30, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "max_position_embeddings": 131072, "sliding_window": 512, "bos_token_id": 2, "eos_token_id": 1,
    })
}

/// Keys beside `text_config` that are about images, videos and sound alone.
const OTHER_SENSES: [&str; 5] = [
    "audio_config",
    "audio_ms_per_token",
    "mm_tokens_per_image",
    "vision_config",
    "vision_soft_tokens_per_image",
];

/// Modules that no text passes through.
const TOWERS: [&str; 5] =
    ["vision_tower.", "multi_modal_projector.", "audio_tower.", "embed_vision.", "embed_audio."];

pub(super) fn gemma3(config: &Config) -> Result<Architecture> {
    let arch = of_text(config, &gemma3_defaults(), gemma3::architecture)?;
    if arch.caps.logits.is_some() {
        return Err(Error::Config(
            "`final_logit_softcapping` in `text_config`: versions of transformers disagree on whether it holds beside \
                images".into(),
        ));
    }
    Ok(arch)
}

pub(super) fn gemma4(config: &Config) -> Result<Architecture> {
    of_text(config, &gemma4_defaults(), gemma4::architecture)
}

fn of_text(
    config: &Config,
    defaults: &Value,
    architecture: fn(&Config) -> Result<Architecture>,
) -> Result<Architecture> {
    let text = config.object("text_config")?;
    let text = text.ok_or_else(|| Error::Config("`text_config` is missing".into()))?;
    let (kind, expected) = (text.string_or("model_type", "")?, defaults["model_type"].as_str());
    if !kind.is_empty() && Some(&kind[..]) != expected {
        let expected = expected.unwrap_or_default();
        return Err(Error::Config(format!("`text_config` is of `model_type` {kind}, not {expected}")));
    }
    let text = text.with_defaults(defaults);
    let mut arch = architecture(&text)?;
    text.refuse_unread()?;
    arch.family = config.string("model_type")?;
    // Here `transformers` asks the outer object alone, whatever `text_config` says.
    arch.embedding.tied = config.flag_or("tie_word_embeddings", true)?;
    arch.bos = config.tokens("bos_token_id")?.first().copied().or(arch.bos);
    let eos = config.tokens("eos_token_id")?;
    if !eos.is_empty() {
        arch.eos = eos;
    }
    for key in OTHER_SENSES {
        config.get(key);
    }
    Ok(arch)
}

pub(super) fn gemma3_weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    // The layout of the files on the hub, which older versions of transformers wrote.
    let older = source.has("language_model.model.embed_tokens.weight");
    gemma2::weights(arch, &mut TextPart::new(source, older))
}

pub(super) fn gemma4_weights(arch: &Architecture, source: &mut dyn TensorSource) -> Result<Weights> {
    gemma4::weights(arch, &mut TextPart::new(source, false))
}

/// The text model's weights under the names that they have in a model for text alone.
struct TextPart<'a> {
    whole: &'a mut dyn TensorSource,
    older: bool,
}

impl<'a> TextPart<'a> {
    fn new(whole: &'a mut dyn TensorSource, older: bool) -> Self {
        for tower in TOWERS {
            let prefix = if older { tower.to_owned() } else { format!("model.{tower}") };
            whole.skip_all(&prefix);
        }
        TextPart { whole, older }
    }

    /// What the tensor `name` of a text model is called in the whole.
    fn name(&self, name: &str) -> String {
        match name.strip_prefix("model.") {
            _ if self.older => format!("language_model.{name}"),
            Some(inside) => format!("model.language_model.{inside}"),
            None => name.to_owned(),
        }
    }
}

impl TensorSource for TextPart<'_> {
    fn has(&self, name: &str) -> bool {
        self.whole.has(&self.name(name))
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.whole.take(&self.name(name), shape)
    }

    fn skip(&mut self, name: &str) {
        self.whole.skip(&self.name(name));
    }

    fn skip_all(&mut self, prefix: &str) {
        self.whole.skip_all(&self.name(prefix));
    }

    fn enter(&mut self, part: Part) {
        self.whole.enter(part);
    }
}

#[cfg(test)]
mod tests {
    use crate::family::{Config, architecture};

    /// The `config.json` of a published 4B, which leaves most of its text model to the defaults.
    #[test]
    fn what_the_published_4b_leaves_out() {
        let text = br#"{"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999,
            "eoi_token_index": 256000, "eos_token_id": [1, 106], "image_token_index": 262144, "initializer_range": 0.02,
            "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": {"hidden_size": 2560,
            "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}, "torch_dtype": "bfloat16",
            "transformers_version": "4.50.0.dev0", "vision_config": {"hidden_size": 1152, "vision_use_head": false}}"#;
        let arch = architecture(&Config::parse(text, &[]).unwrap()).unwrap();
        assert_eq!(
            (arch.n_heads, arch.n_vocab, arch.n_ctx, arch.embedding.tied),
            (8, 262_208, 131_072, true)
        );
        assert_eq!((arch.layers[0].n_kv_heads, arch.layers[0].d_head), (4, 256));
        assert_eq!((arch.layers[4].window, arch.layers[5].window), (Some(1024), None));
        assert_eq!((arch.bos, arch.eos), (Some(2), vec![1, 106]));
    }
}
