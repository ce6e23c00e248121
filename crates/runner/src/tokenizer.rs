//! Text to token ids and back, as `tokenizer.json` says.

mod unknown;

use std::fmt::Display;

use tokenizers::Encoding;

use crate::error::{Error, Result};
use crate::load::ModelFiles;
use crate::text::without_bom;

const FILE: &str = "tokenizer.json";

/// Files of tokenizers in other forms.
const OTHERS: [&str; 6] =
    ["vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "vocab.txt", "tiktoken.model"];

/// What the library makes of something, its panics as errors: a file may contradict itself in ways that show only
/// in use.
fn caught<T, E: Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T> {
    crate::panics::caught(work)
        .ok_or_else(|| Error::Tokenizer("tokenizer.json contradicts itself".into()))?
        .map_err(|error| Error::Tokenizer(error.to_string()))
}

/// There is no `tokenizer.json`; perhaps there is a tokenizer in an older form.
fn missing(files: &ModelFiles) -> Error {
    let found: Vec<String> =
        files.list().into_iter().filter(|name| OTHERS.contains(&name.as_str())).collect();
    let others = match found.is_empty() {
        true => String::new(),
        false => format!("; the folder has a tokenizer in another form ({})", found.join(", ")),
    };
    let file = files.shown(FILE);
    Error::Tokenizer(format!(
        "{file}: does not exist{others}\nhint: this needs a tokenizer.json; name one that is \
         elsewhere (--tokenizer PATH), or {SAVE_AGAIN}"
    ))
}

/// How to have a `tokenizer.json` written.
const SAVE_AGAIN: &str = "have transformers write one:\n    \
     from transformers import AutoTokenizer\n    \
     AutoTokenizer.from_pretrained(\"DIR\").save_pretrained(\"DIR\")";

/// Why the library refused a file, and what can be done.
fn unreadable(text: &[u8], error: &str) -> String {
    match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        Err(_) => format!("is not JSON: {error}\nhint: fetch or copy it again"),
        Ok(_) => format!(
            "cannot be read: {error}\n\
             hint: it may come from another version of the tokenizers library; {SAVE_AGAIN}"
        ),
    }
}

/// A tokenizer that fits its model.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Tokens of the model.
    n_vocab: usize,
    sha256: String,
}

impl Tokenizer {
    /// Reads the tokenizer of a model with `n_vocab` tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if there is none, or it is broken or its vocabulary has ids that the model lacks;
    /// [`Error::Read`] if it cannot be opened.
    pub fn load(files: &ModelFiles, n_vocab: usize) -> Result<Self> {
        let bytes = files.read(FILE)?.ok_or_else(|| missing(files))?;
        let wrong = |what: String| Error::Tokenizer(format!("{}: {what}", files.shown(FILE)));
        // Some broken files make the library panic instead of returning an error.
        let read = crate::panics::caught(|| -> Result<_, String> {
            let text = without_bom(&bytes);
            let mut inner = tokenizers::Tokenizer::from_bytes(text).map_err(|error| error.to_string())?;
            // Settings of a training pipeline that would silently change a text.
            inner.with_padding(None);
            inner.with_truncation(None).map_err(|error| error.to_string())?;
            let mut vocabulary = inner.get_vocab(true);
            let empty = vocabulary.is_empty();
            // A model of text alone may come with the tokenizer of one that has tokens for images as well.
            let added = inner.get_added_tokens_decoder();
            vocabulary.retain(|_, id| !added.contains_key(&*id));
            let last = vocabulary.into_iter().max_by_key(|(_, id)| *id);
            Ok((inner, empty, last))
        });
        let read = read.unwrap_or_else(|| Err("it contradicts itself".into()));
        let (inner, empty, last) = read.map_err(|error| wrong(unreadable(without_bom(&bytes), &error)))?;
        if empty {
            return Err(wrong("has no tokens".into()));
        }
        if let Some((token, id)) = last
            && id as usize >= n_vocab
        {
            return Err(wrong(format!(
                "token {token:?} has id {id}, but the model has {n_vocab} tokens\n\
                 hint: the tokenizer belongs to another model"
            )));
        }
        Ok(Tokenizer { inner, n_vocab, sha256: files.sha256(&[FILE.to_owned()])? })
    }

    /// The ids of `text`, without the tokens that the tokenizer adds at its ends. Special tokens written out in the
    /// text become their ids: this is for text that has them already, such as a rendered [`crate::ChatTemplate`],
    /// which [`Tokenizer::encode_with_specials`] would give a second BOS.
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
        let encoding = self.encoding(text, specials)?;
        let beyond = |(id, _): &(&u32, &String)| **id as usize >= self.n_vocab;
        if let Some((id, token)) = encoding.get_ids().iter().zip(encoding.get_tokens()).find(beyond) {
            return Err(Error::Tokenizer(format!(
                "the text has the token {token:?} of id {id}, and the model {} tokens\n\
                 hint: it is not for this model (of images, perhaps): leave it out",
                self.n_vocab
            )));
        }
        Ok(encoding.get_ids().iter().map(|id| i64::from(*id)).collect())
    }

    fn encoding(&self, text: &str, specials: bool) -> Result<Encoding> {
        caught(|| self.inner.encode(text, specials))
    }

    /// The pieces of `text` that the vocabulary has no token for, in order, each as it stands there: what
    /// [`Tokenizer::encode`] makes the unknown token of, or, in a tokenizer without one, leaves out. An unknown token
    /// that is written out in the text is meant and so not among them.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn unknown(&self, text: &str) -> Result<Vec<String>> {
        let encoding = self.encoding(text, false)?;
        let pieces = match unknown::left_out(self.inner.get_model()) {
            true => unknown::uncovered(text, encoding.get_offsets()),
            false => unknown::replaced(text, &encoding, &self.inner),
        };
        Ok(pieces.into_iter().map(str::to_owned).collect())
    }

    /// Refuses a text with pieces that the vocabulary has no token for: there the model would read something else.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] naming the pieces.
    pub fn check_known(&self, text: &str) -> Result<()> {
        let unknown = self.unknown(text)?;
        if unknown.is_empty() { Ok(()) } else { Err(Error::Tokenizer(unknown::message(&unknown))) }
    }

    /// The text of `ids`, special tokens shown.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, ids: &[i64]) -> Result<String> {
        let ids: Vec<u32> = ids.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
        caught(|| self.inner.decode(&ids, false))
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
        let id = u32::try_from(id).map_err(|_| Error::Tokenizer(format!("{id} is not a token")))?;
        caught(|| {
            tokenizers::step_decode_stream(
                &self.tokenizer.inner,
                vec![id],
                false,
                &mut self.ids,
                &mut self.prefix,
                &mut self.prefix_index,
            )
        })
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
