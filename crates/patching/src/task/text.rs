//! Text to prompts.

use refrain_runner::Tokenizer;

use crate::error::{Error, Result};

/// A tokenizer, and what it puts before every text.
#[derive(Debug, Clone)]
pub(super) struct Text<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    before: Vec<i64>,
    pub(super) specials: Vec<i64>,
}

impl<'a> Text<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Result<Self> {
        const SAMPLE: &str = "a";
        let (bare, whole) = (tokenizer.encode(SAMPLE)?, tokenizer.encode_with_specials(SAMPLE)?);
        let start = whole.windows(bare.len().max(1)).position(|part| part == bare).unwrap_or(0);
        Ok(Text { tokenizer, before: whole[..start].to_vec(), specials: tokenizer.specials() })
    }

    /// The tokens of `text` with those that the tokenizer puts before it (BOS, mostly) and without those that it
    /// puts after it, since the answer comes there. Text that has the first ones written out keeps its own. Refuses
    /// words that the tokenizer does not know: the model would read something else than is written.
    pub(super) fn prompt(&self, text: &str) -> Result<Vec<i64>> {
        self.tokenizer.check_known(text)?;
        let bare = self.tokenizer.encode(text)?;
        if !self.before.is_empty() && bare.starts_with(&self.before) {
            return Ok(bare);
        }
        Ok(self.before.iter().copied().chain(bare).collect())
    }

    /// The one token that `end` adds to the tokens of `start`; none if it adds more, or changes them, or is unknown.
    pub(super) fn next(&self, start: &str, end: &str) -> Result<Option<i64>> {
        let before = self.tokenizer.encode(start)?;
        let whole = self.tokenizer.encode(&format!("{start}{end}"))?;
        Ok(match whole.strip_prefix(&before[..]) {
            Some([id]) if !self.specials.contains(id) => Some(*id),
            _ => None,
        })
    }

    /// Those of `words` that are one token inside a text.
    pub(super) fn single(&self, words: &[&'static str]) -> Result<Vec<&'static str>> {
        let mut found = Vec::new();
        for word in words {
            if self.next("and the", &format!(" {word}"))?.is_some() {
                found.push(*word);
            }
        }
        Ok(found)
    }

    /// The one token that follows `prompt`.
    pub(super) fn answer(&self, prompt: &str, word: &str) -> Result<i64> {
        self.next(prompt, word)?.ok_or_else(|| {
            Error::Input(format!("{word:?} is not one token after {prompt:?} in this model's tokenizer"))
        })
    }
}
