//! The flags about a prompt and what is done to the model's run of it.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

pub use crate::lab::Background;
use crate::lab::disk::read_text;

/// A prompt, and interventions.
#[derive(Args)]
pub struct PromptArgs {
    /// The prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// A file with the prompt
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Interventions: a JSON list of them, or an object with `interventions` and `references` (docs/guide.md)
    #[arg(long, value_name = "FILE.json")]
    pub intervene: Option<PathBuf>,
}

impl PromptArgs {
    /// The prompt's text.
    ///
    /// # Errors
    /// If there is none, or its file cannot be read.
    pub fn text(&self) -> Result<String> {
        match (&self.prompt, &self.prompt_file) {
            (Some(text), _) => Ok(text.clone()),
            (None, Some(path)) => read_text(Path::new(path)),
            (None, None) => bail!("there is no prompt\nhint: --prompt TEXT or --prompt-file FILE gives one"),
        }
    }
}
