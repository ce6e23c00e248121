//! `prompts` and `responses`: everything that was asked and generated.

use serde::{Deserialize, Serialize};

use super::counts::End;
use super::labels::{DecodingLabel, PromptKind};
use crate::schema::Table;

/// A prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptRow {
    /// Its name in other tables.
    pub prompt_id: String,
    /// What it is for.
    pub kind: PromptKind,
    /// Its token ids.
    pub tokens: Vec<i64>,
    /// How the vocabulary writes each.
    pub token_strings: Vec<String>,
    /// The text.
    pub text: String,
}

/// The table `prompts`.
pub struct Prompts;

impl Table for Prompts {
    type Row = PromptRow;
    const NAME: &'static str = "prompts";
    const FREE_TEXT: &'static [&'static str] = &["prompt_id", "text"];
}

/// What a model generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseRow {
    /// The prompt in the table `prompts`.
    pub prompt_id: String,
    /// What it was made under.
    pub condition: String,
    /// How it was chosen.
    pub decoding: DecodingLabel,
    /// Which sampled continuation; 0 for the greedy one.
    pub sample: u32,
    /// Why it ended.
    pub end: End,
    /// Its token ids.
    pub tokens: Vec<i64>,
    /// How the vocabulary writes each.
    pub token_strings: Vec<String>,
    /// The text.
    pub text: String,
}

/// The table `responses`.
pub struct Responses;

impl Table for Responses {
    type Row = ResponseRow;
    const NAME: &'static str = "responses";
    const FREE_TEXT: &'static [&'static str] = &["text"];
}
