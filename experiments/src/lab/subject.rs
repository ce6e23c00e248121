//! The model under study, with what experiments need to know of its vocabulary.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use refrain_runner::device::device_name;
use refrain_runner::{Head, Model, ModelFiles, Tokenizer, dtype_name};

use super::disk::{Provenance, sha256_hex};
use super::model_args::ModelArgs;

/// A loaded model.
pub struct Subject {
    /// The model.
    pub model: Model,
    /// Its tokenizer, if its folder has one.
    pub tokenizer: Option<Tokenizer>,
    /// What it is called.
    pub name: String,
    files: ModelFiles,
}

impl Subject {
    /// Loads the model that the flags name.
    ///
    /// # Errors
    /// What the runner finds wrong with the model or its tokenizer.
    pub fn load(args: &ModelArgs, quiet: bool) -> Result<Self> {
        let (files, model) = args.load(quiet)?;
        let tokenizer = match files.text("tokenizer.json")? {
            Some(_) => Some(Tokenizer::load(&files, model.architecture().n_vocab)?),
            None => None,
        };
        Ok(Subject { name: files.name().to_owned(), model, tokenizer, files })
    }

    /// The files that it was loaded from.
    pub fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// If the model's folder has none.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().with_context(|| {
            format!(
                "{}/tokenizer.json does not exist, and this experiment works with text\nhint: put the model's \
                    tokenizer.json beside its weights, or name one with --tokenizer",
                self.name
            )
        })
    }

    /// Every attention head.
    pub fn heads(&self) -> Vec<Head> {
        self.model.heads()
    }

    /// Tokens that end a continuation.
    pub fn stop(&self) -> &[i64] {
        &self.model.architecture().eos
    }

    /// Positions in the context window.
    pub fn window(&self) -> usize {
        self.model.architecture().n_ctx
    }

    /// The tokens that are not special, with how the vocabulary writes them.
    ///
    /// # Errors
    /// If there is no tokenizer.
    pub fn pieces(&self) -> Result<Vec<(i64, String)>> {
        let tokenizer = self.tokenizer()?;
        let specials = tokenizer.specials();
        Ok((0..self.model.architecture().n_vocab as i64)
            .filter(|id| !specials.contains(id))
            .filter_map(|id| Some((id, tokenizer.token(id)?)))
            .collect())
    }

    /// How often each word occurs in the training corpus, if the model's folder has `token_counts.json`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn counts(&self) -> Result<Option<BTreeMap<String, u64>>> {
        let Some(text) = self.files.text("token_counts.json")? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).context("token_counts.json is not an object of counts")
    }

    /// Tokens that random prompts are drawn from: no special ones, and without the most and least frequent 4 % of
    /// the words where frequencies are known. Without a tokenizer, every token but those that begin or end a text.
    ///
    /// # Errors
    /// If the counts cannot be read.
    pub fn random_tokens(&self) -> Result<Vec<i64>> {
        let arch = self.model.architecture();
        let Some(tokenizer) = &self.tokenizer else {
            let special = |id: &i64| arch.bos == Some(*id) || arch.eos.contains(id);
            return Ok((0..arch.n_vocab as i64).filter(|id| !special(id)).collect());
        };
        let mut tokens: Vec<i64> = self.pieces()?.iter().map(|(id, _)| *id).collect();
        if let Some(counts) = self.counts()? {
            let words = by_count(&counts);
            let cut = words.len() * 4 / 100;
            let extreme = words[..cut].iter().chain(&words[words.len() - cut..]);
            let extreme: Vec<i64> = extreme.filter_map(|word| tokenizer.id(word)).collect();
            tokens.retain(|id| !extreme.contains(id));
        }
        Ok(tokens)
    }

    /// What every table says of the model.
    ///
    /// # Errors
    /// If the weights cannot be read again for their hash.
    pub fn provenance(&self) -> Result<Provenance> {
        let devices: Vec<String> = self.model.devices().into_iter().map(device_name).collect();
        let mut entries = vec![
            ("model", self.name.clone()),
            ("model_sha256", self.files.model_sha256()?),
            ("dtype", dtype_name(self.model.kind()).to_owned()),
            ("device", devices.join("+")),
        ];
        let storage = self.files.storage().iter().map(|(key, value)| (key.as_str(), value.clone()));
        entries.extend(storage);
        entries.extend(self.files.revision().map(|commit| ("revision", commit.to_owned())));
        entries.extend(
            self.tokenizer.as_ref().map(|tokenizer| ("tokenizer_sha256", tokenizer.sha256().to_owned())),
        );
        Ok(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

/// The words, the most frequent first.
pub fn by_count(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let mut words: Vec<(&String, u64)> = counts.iter().map(|(word, count)| (word, *count)).collect();
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    words.into_iter().map(|(word, _)| word.clone()).collect()
}

/// SHA-256 of prompts, for the provenance.
///
/// # Errors
/// None in practice: what is hashed is written to memory.
pub fn prompts_sha256(prompts: &impl serde::Serialize) -> Result<String> {
    Ok(sha256_hex(serde_json::to_string(prompts)?.as_bytes()))
}
