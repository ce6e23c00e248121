//! A model with its tokenizer, for the common case of one text at a time.

use std::path::Path;

use tch::Tensor;

use crate::cache::{ActivationCache, NameFilter};
use crate::chat::{ChatOptions, ChatTemplate, Message};
use crate::error::{Error, Result};
use crate::generate::Generate;
use crate::load::{Hub, LoadOptions, ModelFiles};
use crate::model::Model;
use crate::tokenizer::Tokenizer;

/// A model, its tokenizer, and its chat template if it has one. What is not offered here can be done with the parts.
#[derive(Debug)]
pub struct LanguageModel {
    /// The model.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How conversations are written for it, if its files say so.
    pub chat: Option<ChatTemplate>,
}

/// What a model is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt<'a> {
    /// A text, with the tokens that the tokenizer adds at its ends (BOS, mostly).
    Text(&'a str),
    /// Token ids, taken as they are.
    Ids(&'a [i64]),
}

impl LanguageModel {
    /// Loads everything from `files`.
    ///
    /// # Errors
    /// As [`Model::load`], [`Tokenizer::load`] and [`ChatTemplate::load`].
    pub fn load(files: &ModelFiles, options: &LoadOptions) -> Result<Self> {
        let model = Model::load(files, options)?;
        let tokenizer = Tokenizer::load(files, model.architecture().n_vocab)?;
        Ok(LanguageModel { model, tokenizer, chat: ChatTemplate::load(files)? })
    }

    /// Loads the model that `name` names, in its own dtype (f32 if it is quantised), on the CPU: a folder in Hugging
    /// Face's layout, a GGUF file, a model that `refrain fetch` fetched, or `ORG/NAME` of the hub, which is fetched
    /// once.
    ///
    /// # Errors
    /// As [`ModelFiles::find`] and [`LanguageModel::load`].
    pub fn from_pretrained(name: &str) -> Result<Self> {
        LanguageModel::load(&ModelFiles::find(name, None, Hub::from_env)?, &LoadOptions::default())
    }

    /// Loads a folder in Hugging Face's layout, in the checkpoint's dtype, on the CPU.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn folder(path: &Path) -> Result<Self> {
        LanguageModel::load(&ModelFiles::folder(path)?, &LoadOptions::default())
    }

    /// Loads the built-in model.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn built_in() -> Result<Self> {
        LanguageModel::load(&ModelFiles::embedded(), &LoadOptions::default())
    }

    /// The token ids of `prompt`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn ids(&self, prompt: Prompt<'_>) -> Result<Vec<i64>> {
        match prompt {
            Prompt::Text(text) => self.tokenizer.encode_with_specials(text),
            Prompt::Ids(ids) => Ok(ids.to_vec()),
        }
    }

    /// The logits of `prompt`, `[1, pos, vocab]`, and the activations that `names` asks for, without gradients.
    ///
    /// # Errors
    /// As [`Model::run`] and [`LanguageModel::ids`].
    pub fn run_with_cache(&self, prompt: Prompt<'_>, names: NameFilter) -> Result<(Tensor, ActivationCache)> {
        let ids = self.model.ids(&[self.ids(prompt)?])?;
        tch::no_grad(|| self.model.run_with_cache(&ids, names))
    }

    /// Continues `prompt`; the new text alone, special tokens shown. If `options` names no tokens to stop at, those
    /// that end a text for this model do.
    ///
    /// # Errors
    /// As [`Model::generate`] and [`Tokenizer::decode`].
    pub fn generate<'a>(&'a self, prompt: Prompt<'_>, mut options: Generate<'a>) -> Result<String> {
        if options.stop.is_empty() {
            options.stop = &self.model.architecture().eos;
        }
        let generated = self.model.generate(&[self.ids(prompt)?], options)?;
        generated.first().map_or_else(|| Ok(String::new()), |one| self.tokenizer.decode(&one.tokens))
    }

    /// The model's answer to a conversation.
    ///
    /// # Errors
    /// [`Error::Input`] if the model has no chat template, what [`ChatTemplate::apply`] refuses, and as
    /// [`LanguageModel::generate`].
    pub fn answer<'a>(&'a self, messages: &[Message], options: Generate<'a>) -> Result<String> {
        let chat = self.chat.as_ref().ok_or_else(|| {
            Error::Input(
                "this model has no chat template\nhint: continue a text with `generate` instead, or set `chat` to a \
                 `ChatTemplate::from_text`"
                    .into(),
            )
        })?;
        let text =
            chat.apply(messages, &ChatOptions { add_generation_prompt: true, ..ChatOptions::default() })?;
        // The template has written the special tokens already.
        self.generate(Prompt::Ids(&self.tokenizer.encode(&text)?), options)
    }
}
