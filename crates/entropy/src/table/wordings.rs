//! `wordings`: how the instruction can be worded, and which wording a model follows.

use serde::{Deserialize, Serialize};

use super::counts::Separator;
use crate::schema::Table;

/// A wording of the instruction, tried on words that nothing is measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WordingRow {
    /// Its name.
    pub wording: String,
    /// The instruction, with the placeholders `phrase` and `n` in braces.
    pub template: String,
    /// Repetitions asked for; null: all that were tried.
    pub n: Option<u32>,
    /// Answers.
    pub n_runs: u32,
    /// Share of them that attempt to count.
    pub followed: f64,
    /// Share of them that stop after exactly N copies and nothing else.
    pub exact: f64,
    /// What most answers with copies put between them; null if none has any.
    pub separator: Option<Separator>,
    /// How most of them would write three copies of `phrase`; null if none has any.
    pub format: Option<String>,
    /// Whether it is the wording that the run uses.
    pub chosen: bool,
}

/// The table `wordings`.
pub struct Wordings;

impl Table for Wordings {
    type Row = WordingRow;
    const NAME: &'static str = "wordings";
    const FREE_TEXT: &'static [&'static str] = &["template", "format"];
}
