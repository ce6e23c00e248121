//! From the vocabulary in the metadata to a `tokenizer.json`.

use crate::error::{Error, Result};

/// The tokenizer's part of the metadata.
#[allow(dead_code, reason = "nothing reads it before the tokenizer is")]
#[derive(Debug, Clone, Default)]
pub(crate) struct Vocabulary {
    pub model: String,
    pub pre: Option<String>,
    pub tokens: Vec<String>,
    pub scores: Option<Vec<f32>>,
    pub kinds: Option<Vec<i32>>,
    pub merges: Option<Vec<String>>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    pub pad: Option<u32>,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_space_prefix: Option<bool>,
}

/// The `tokenizer.json` that does what llama.cpp does with this vocabulary.
pub(crate) fn tokenizer_json(vocabulary: &Vocabulary) -> Result<Vec<u8>> {
    Err(Error::Tokenizer(format!(
        "the tokenizer in a GGUF file ({}) is not read yet\nhint: --tokenizer PATH takes a tokenizer.json",
        vocabulary.model
    )))
}
