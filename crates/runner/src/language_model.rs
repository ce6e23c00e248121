//! A model with its tokenizer, for the common case of one text at a time.

use std::path::Path;

use crate::chat::{ChatTemplate, Message};
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

impl<'a> From<&'a str> for Prompt<'a> {
    fn from(text: &'a str) -> Self {
        Prompt::Text(text)
    }
}

impl<'a> From<&'a String> for Prompt<'a> {
    fn from(text: &'a String) -> Self {
        Prompt::Text(text)
    }
}

impl<'a> From<&'a [i64]> for Prompt<'a> {
    fn from(ids: &'a [i64]) -> Self {
        Prompt::Ids(ids)
    }
}

impl<'a> From<&'a Vec<i64>> for Prompt<'a> {
    fn from(ids: &'a Vec<i64>) -> Self {
        Prompt::Ids(ids)
    }
}

impl<'a, const N: usize> From<&'a [i64; N]> for Prompt<'a> {
    fn from(ids: &'a [i64; N]) -> Self {
        Prompt::Ids(ids)
    }
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

    /// The token ids of `prompt`; those of a text with the tokens that the tokenizer adds at its ends.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn to_tokens<'p>(&self, prompt: impl Into<Prompt<'p>>) -> Result<Vec<i64>> {
        match prompt.into() {
            Prompt::Text(text) => self.tokenizer.encode_with_specials(text),
            Prompt::Ids(ids) => Ok(ids.to_vec()),
        }
    }

    /// The text of each token of `prompt`, special tokens shown. Together they are the text; where several tokens write
    /// one character, the last of them has it and the others are empty.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn to_str_tokens<'p>(&self, prompt: impl Into<Prompt<'p>>) -> Result<Vec<String>> {
        let mut stream = self.tokenizer.stream();
        let pieces = self.to_tokens(prompt)?.into_iter().map(|id| Ok(stream.push(id)?.unwrap_or_default()));
        let mut pieces = pieces.collect::<Result<Vec<String>>>()?;
        if let (Some(last), Some(rest)) = (pieces.last_mut(), stream.finish()?) {
            last.push_str(&rest);
        }
        Ok(pieces)
    }

    /// The id of a text that is one token, alone or after another text (`" Mary"`), or of an id the id itself.
    ///
    /// # Errors
    /// [`Error::Input`] if it is several tokens, naming them, none, or one that the model does not have.
    pub fn to_single_token<'p>(&self, token: impl Into<Prompt<'p>>) -> Result<i64> {
        let text = match token.into() {
            Prompt::Ids([id]) if (0..self.model.architecture().n_vocab as i64).contains(id) => {
                return Ok(*id);
            }
            Prompt::Ids(ids) => {
                let n_vocab = self.model.architecture().n_vocab;
                return Err(Error::Input(format!("{ids:?} is not one token of the {n_vocab} of this model")));
            }
            Prompt::Text(text) => text,
        };
        self.tokenizer.check_known(text)?;
        let alone = self.tokenizer.encode(text)?;
        if let [id] = alone[..] {
            return Ok(id);
        }
        // Tokenizers that put a space before every text write a word inside of one otherwise.
        const BEFORE: &str = "a";
        let (before, whole) =
            (self.tokenizer.encode(BEFORE)?, self.tokenizer.encode(&format!("{BEFORE}{text}"))?);
        match whole.strip_prefix(&before[..]) {
            Some([id]) => Ok(*id),
            _ => Err(Error::Input(format!(
                "{text:?} is {} tokens for this model: {:?}\nhint: choose a word that is one token; most words \
                 inside a text begin with a space",
                alone.len(),
                self.to_str_tokens(&alone)?
            ))),
        }
    }

    /// Continues `prompt` as `options` say; the new text alone, special tokens shown. If they name no tokens to stop
    /// at, those that end a text for this model do.
    ///
    /// # Errors
    /// As [`Model::generate`] and [`Tokenizer::decode`].
    pub fn generate<'a, 'p>(
        &'a self,
        prompt: impl Into<Prompt<'p>>,
        mut options: Generate<'a>,
    ) -> Result<String> {
        if options.stop.is_empty() {
            options.stop = &self.model.architecture().eos;
        }
        let generated = self.model.generate(&[self.to_tokens(prompt)?], options)?;
        generated.first().map_or_else(|| Ok(String::new()), |one| self.tokenizer.decode(&one.tokens))
    }

    /// The model's answer to a conversation.
    ///
    /// # Errors
    /// As [`LanguageModel::conversation`] and [`LanguageModel::generate`].
    pub fn answer<'a>(&'a self, messages: &[Message], options: Generate<'a>) -> Result<String> {
        self.generate(self.conversation(messages)?.tokens(), options)
    }
}
