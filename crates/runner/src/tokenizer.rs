//! Text to token ids and back, as `tokenizer.json` says.

use crate::error::{Error, Result};
use crate::load::ModelFiles;

const FILE: &str = "tokenizer.json";

/// A tokenizer that fits its model.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    sha256: String,
}

impl Tokenizer {
    /// Reads the tokenizer of a model with `n_vocab` tokens.
    ///
    /// # Errors
    /// [`Error::Read`] if there is none, [`Error::Tokenizer`] if it is broken or has ids that the model lacks.
    pub fn load(files: &ModelFiles, n_vocab: usize) -> Result<Self> {
        let bytes = files.require(FILE, "this needs a tokenizer in the model folder")?;
        let wrong = |what: String| Error::Tokenizer(format!("{}: {what}", files.shown(FILE)));
        // Some broken files make the library panic instead of returning an error.
        let read = crate::panics::caught(|| tokenizers::Tokenizer::from_bytes(&bytes[..]));
        let read = read.ok_or_else(|| wrong("is no tokenizer that can be read".into()))?;
        let mut inner = read.map_err(|error| wrong(error.to_string()))?;
        // Settings of a training pipeline that would silently change a text.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| wrong(error.to_string()))?;
        let vocabulary = inner.get_vocab(true);
        if vocabulary.is_empty() {
            return Err(wrong("has no tokens".into()));
        }
        if let Some((token, id)) = vocabulary.iter().max_by_key(|(_, id)| **id)
            && *id as usize >= n_vocab
        {
            return Err(wrong(format!(
                "token {token:?} has id {id}, but the model has {n_vocab} tokens\n\
                 hint: the tokenizer belongs to another model"
            )));
        }
        Ok(Tokenizer { inner, sha256: files.sha256(&[FILE.to_owned()])? })
    }

    /// The ids of `text`, without the tokens that the tokenizer adds at its ends. Special tokens written out in the text
    /// become their ids: this is for text that has them already, such as a rendered [`crate::ChatTemplate`], which
    /// [`Tokenizer::encode_with_specials`] would give a second BOS.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<i64>> {
        self.ids(text, false)
    }

    /// The ids of `text` with the tokens that the tokenizer adds at its ends (BOS, mostly).
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode_with_specials(&self, text: &str) -> Result<Vec<i64>> {
        self.ids(text, true)
    }

    fn ids(&self, text: &str, specials: bool) -> Result<Vec<i64>> {
        let encoded = crate::panics::caught(|| self.inner.encode(text, specials));
        let encoded = encoded.ok_or_else(|| Error::Tokenizer("tokenizer.json contradicts itself".into()))?;
        let encoding = encoded.map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().iter().map(|id| i64::from(*id)).collect())
    }

    /// The text of `ids`, special tokens shown.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, ids: &[i64]) -> Result<String> {
        let ids: Vec<u32> = ids.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
        let decoded = crate::panics::caught(|| self.inner.decode(&ids, false));
        let decoded = decoded.ok_or_else(|| Error::Tokenizer("tokenizer.json contradicts itself".into()))?;
        decoded.map_err(|error| Error::Tokenizer(error.to_string()))
    }

    /// The text of tokens that come one at a time.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { tokenizer: self, ids: Vec::new(), prefix: String::new(), prefix_index: 0 }
    }

    /// How the vocabulary writes token `id`, if it has it.
    pub fn token(&self, id: i64) -> Option<String> {
        self.inner.id_to_token(u32::try_from(id).ok()?)
    }

    /// The id of a token as the vocabulary writes it.
    pub fn id(&self, token: &str) -> Option<i64> {
        self.inner.token_to_id(token).map(i64::from)
    }

    /// Ids of the tokens that are marked special.
    pub fn specials(&self) -> Vec<i64> {
        let added = self.inner.get_added_tokens_decoder();
        let mut ids: Vec<i64> =
            added.iter().filter(|(_, token)| token.special).map(|(id, _)| i64::from(*id)).collect();
        ids.sort_unstable();
        ids
    }

    /// SHA-256 of the tokenizer's file, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Text from tokens as they come, special tokens shown. The pieces together are [`Tokenizer::decode`] of all tokens;
/// a piece never ends within a character, however many tokens write it.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// The last tokens: those of the last piece, whose text decides on a space before the next, and those after it.
    ids: Vec<u32>,
    /// The text of the first `prefix_index` of them.
    prefix: String,
    prefix_index: usize,
}

impl TextStream<'_> {
    /// Takes the next token; the text that is now complete, none if a character is still unfinished.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the decoder fails, or changes text that it gave before.
    pub fn push(&mut self, id: i64) -> Result<Option<String>> {
        let id = u32::try_from(id).map_err(|_| Error::Tokenizer(format!("{id} is no token")))?;
        tokenizers::step_decode_stream(
            &self.tokenizer.inner,
            vec![id],
            false,
            &mut self.ids,
            &mut self.prefix,
            &mut self.prefix_index,
        )
        .map_err(|error| Error::Tokenizer(error.to_string()))
    }

    /// What is left at the end: a character that was never finished, shown as the decoder shows it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn finish(self) -> Result<Option<String>> {
        let ids: Vec<i64> = self.ids.iter().map(|id| i64::from(*id)).collect();
        let text = self.tokenizer.decode(&ids)?;
        let rest = text.strip_prefix(&self.prefix).unwrap_or(&text);
        Ok((!rest.is_empty()).then(|| rest.to_owned()))
    }
}
