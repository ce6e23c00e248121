//! Ordinary text: for perplexity, and for comparison with text that repeats itself.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::prompts::known;
use super::words::Words;
use crate::lab::{Count, Subject};
use crate::microworld::{Kind, Language, Split};
use refrain_runner::read_text;

/// For models of natural language, one text a line.
const ENGLISH: &str = include_str!("../../data/ordinary.txt");

/// Which texts.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TextArgs {
    /// Ordinary texts, one a line [default: held-out text of the built-in model's language, or a few pages of plain
    /// English that come with the program]
    #[arg(long, value_name = "FILE", help_heading = "Ordinary text")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<PathBuf>,
    /// At most so many texts
    #[arg(long, value_name = "N", default_value_t = Count::of::<64>(), help_heading = "Ordinary text")]
    pub max_texts: Count,
    /// At most so many tokens of each, from 2
    #[arg(long, value_name = "N", default_value_t = Count::of::<128>(), help_heading = "Ordinary text")]
    pub text_tokens: Count,
}

impl TextArgs {
    /// Refuses what cannot be measured.
    ///
    /// # Errors
    /// Naming the flag.
    pub fn check(&self) -> Result<()> {
        if self.text_tokens.get() < 2 {
            bail!("--text-tokens must be at least 2: a likelihood needs a token and the one after it");
        }
        Ok(())
    }

    /// The texts as tokens, cut to their length.
    ///
    /// # Errors
    /// If a file cannot be read, or holds no text.
    pub fn tokens(&self, subject: &Subject, words: &Words, seed: u64) -> Result<Vec<Vec<i64>>> {
        let (most, length) = (self.max_texts.get(), self.text_tokens.get().min(subject.window()));
        let tokenizer = subject.tokenizer()?;
        let encode = |text: &str| -> Result<Vec<Vec<i64>>> {
            let lines = text.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty()).take(most);
            lines
                .map(|(line, number)| known(tokenizer, line).with_context(|| format!("line {number}")))
                .collect()
        };
        let mut texts = match &self.texts {
            Some(path) => encode(&read_text(path)?).with_context(|| path.display().to_string())?,
            None if words.microworld => {
                let language = Language::new();
                let text = |index| {
                    let document = language.document(Split::HeldOut, seed, Kind::Sentence, index, length);
                    document.ids.into_iter().map(i64::from).collect()
                };
                (0..most as u64).map(text).collect()
            }
            None => encode(ENGLISH).context("the program's own English texts")?,
        };
        texts.iter_mut().for_each(|text| text.truncate(length));
        texts.retain(|text| text.len() >= 2);
        if texts.is_empty() {
            bail!(
                "there is no ordinary text of at least two tokens\nhint: --texts takes a file with one text a line"
            );
        }
        Ok(texts)
    }
}
