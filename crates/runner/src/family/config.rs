//! `config.json`, read strictly: a key that nobody asked for and that is not known to be harmless is an error.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Keys that do not change the forward pass of a loaded model in evaluation.
const INERT: &[&str] = &[
    "_attn_implementation_autoset",
    "_name_or_path",
    "_num_labels",
    "activation_dropout",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "embed_dropout",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "init_std",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "layerdrop",
    "length_penalty",
    "max_length",
    "max_sequence_length",
    "min_length",
    "mlp_dropout",
    "model_type",
    "n_special",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "predict_special_tokens",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_dropout",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

/// Keys that say, with this value, what holds anyhow; any other value is refused.
const FIXED: &[(&str, &str)] = &[
    ("full_attn_mod", "1"),
    ("interpolate_factor", "1"),
    ("is_llama_config", "true"),
    ("learned_embeddings", "true"),
];

/// The object in `config.json`, which remembers the keys that were read.
#[derive(Debug)]
pub struct Config {
    object: Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
    allowed: Vec<String>,
}

impl Config {
    /// Parses the text of a `config.json`. Keys in `allowed` may be present without being understood.
    ///
    /// # Errors
    /// [`Error::Config`] if the text is not a JSON object.
    pub fn parse(text: &[u8], allowed: &[String]) -> Result<Self> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(object)) => {
                Ok(Config { object, read: RefCell::default(), allowed: allowed.to_vec() })
            }
            Ok(_) => Err(Error::Config("must be a JSON object".into())),
            Err(error) => Err(Error::Config(format!("not valid JSON: {error}"))),
        }
    }

    /// The value of `key`; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn typed<T>(&self, key: &str, kind: &str, cast: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        cast(value)
            .map(Some)
            .ok_or_else(|| Error::Config(format!("`{key}` must be {kind}, but is {}", shown(value))))
    }

    /// A string that must be there.
    pub(super) fn string(&self, key: &str) -> Result<String> {
        required(key, self.typed(key, "a string", |value| value.as_str().map(str::to_owned))?)
    }

    /// A string, or `default`.
    pub(super) fn string_or(&self, key: &str, default: &str) -> Result<String> {
        Ok(self
            .typed(key, "a string", |value| value.as_str().map(str::to_owned))?
            .unwrap_or_else(|| default.to_owned()))
    }

    /// A non-negative whole number that must be there.
    pub(super) fn size(&self, key: &str) -> Result<usize> {
        required(key, self.size_if(key)?)
    }

    /// A non-negative whole number, if it is there.
    pub(super) fn size_if(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number", |value| value.as_u64().and_then(|n| usize::try_from(n).ok()))
    }

    /// A number, or `default`.
    pub(super) fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self.number_if(key)?.unwrap_or(default))
    }

    /// A truth value, or `default`.
    pub(super) fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.typed(key, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// A list of strings, if it is there.
    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<String>>> {
        let list =
            |value: &Value| value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        self.typed(key, "a list of strings", list)
    }

    /// A list of non-negative whole numbers, empty if it is not there.
    pub(super) fn sizes(&self, key: &str) -> Result<Vec<usize>> {
        let list = |value: &Value| {
            let whole = |item: &Value| item.as_u64().and_then(|n| usize::try_from(n).ok());
            value.as_array()?.iter().map(whole).collect()
        };
        Ok(self.typed(key, "a list of whole numbers", list)?.unwrap_or_default())
    }

    /// An object, if it is there.
    pub(super) fn object(&self, key: &str) -> Result<Option<Config>> {
        let inner = self.typed(key, "an object", |value| value.as_object().cloned())?;
        Ok(inner.map(|object| Config { object, read: RefCell::default(), allowed: self.allowed.clone() }))
    }

    /// The same object, with what `defaults` has for the keys that are absent.
    pub(super) fn with_defaults(mut self, defaults: Config) -> Config {
        for (key, value) in defaults.object {
            self.object.entry(key).or_insert(value);
        }
        self
    }

    /// A number, if it is there.
    pub(super) fn number_if(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// A list of numbers that must be there.
    pub(super) fn numbers(&self, key: &str) -> Result<Vec<f64>> {
        let list = |value: &Value| value.as_array()?.iter().map(Value::as_f64).collect();
        required(key, self.typed(key, "a list of numbers", list)?)
    }

    /// Refuses a flag that is set.
    pub(super) fn refuse_flag(&self, key: &str, why: &str) -> Result<()> {
        match self.get(key) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(value) => Err(Error::Config(format!("`{key}` is {}: {why}", shown(value)))),
        }
    }

    /// One token id or a list of them.
    pub(super) fn tokens(&self, key: &str) -> Result<Vec<i64>> {
        let list = |value: &Value| match value {
            Value::Array(values) => values.iter().map(Value::as_i64).collect(),
            other => other.as_i64().map(|id| vec![id]),
        };
        Ok(self.typed(key, "a token id or a list of them", list)?.unwrap_or_default())
    }

    /// Refuses the keys that were neither read nor known to be inert.
    pub(super) fn refuse_unread(&self) -> Result<()> {
        let read = self.read.borrow();
        let known =
            |key: &String| read.contains(key) || INERT.contains(&key.as_str()) || self.allowed.contains(key);
        // A key that is null, false or empty switches nothing on.
        let off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        let fixed = |key: &String, value: &Value| {
            let text = value.to_string();
            // Gemma 2 has one window under two names.
            let twice = key == "sliding_window_size" && self.object.get("sliding_window") == Some(value);
            twice || FIXED.contains(&(key.as_str(), text.as_str()))
        };
        let unread = |(key, value): &(&String, &Value)| !known(key) && !off(value) && !fixed(key, value);
        let unread: Vec<(&String, &Value)> = self.object.iter().filter(unread).collect();
        let Some((key, value)) = unread.first() else { return Ok(()) };
        let others: String = unread[1..].iter().map(|(key, _)| format!(", `{key}`")).collect();
        let others = if others.is_empty() { others } else { format!(" (nor are {})", &others[2..]) };
        Err(Error::Config(format!(
            "key `{key}` = {} is not understood and may change the computation{others}\n\
             hint: if it does not, allow it by name (--allow-config-key {key})",
            shown(value)
        )))
    }

    /// The object's keys.
    pub(super) fn keys(&self) -> Vec<String> {
        self.object.keys().cloned().collect()
    }

    /// Whether `key` is there, if only as null.
    pub(super) fn states(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }
}

fn required<T>(key: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::Config(format!("`{key}` is missing")))
}

/// A JSON value, cut to what fits on a line.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
