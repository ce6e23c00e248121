//! The tables `prompts` and `responses`: everything that was asked and generated, as token ids, token strings and text.

use anyhow::Result;
use refrain_entropy::table::{DecodingLabel, End, PromptKind, PromptRow, ResponseRow};
use refrain_patching::Pair;
use refrain_runner::{Outcome, Tokenizer};

use super::condition::Condition;

/// Token ids with how the vocabulary writes them.
pub struct Written {
    /// The ids.
    pub tokens: Vec<i64>,
    /// What the vocabulary says each is; the number where there is no tokenizer.
    pub strings: Vec<String>,
    /// The text.
    pub text: String,
}

/// The tokens of `text`, with those that the tokenizer puts before it.
///
/// # Errors
/// Naming the words that the vocabulary has no token for: a model that reads an unknown token in their place
/// answers another question.
pub fn known(tokenizer: &Tokenizer, text: &str) -> Result<Vec<i64>> {
    tokenizer.check_known(text)?;
    Ok(tokenizer.encode_with_specials(text)?)
}

/// Writes out `tokens`.
pub fn written(tokenizer: Option<&Tokenizer>, tokens: &[i64]) -> Written {
    let string =
        |id: &i64| tokenizer.and_then(|tokenizer| tokenizer.token(*id)).unwrap_or_else(|| id.to_string());
    let text = tokenizer.and_then(|tokenizer| tokenizer.decode(tokens).ok()).unwrap_or_default();
    Written { tokens: tokens.to_vec(), strings: tokens.iter().map(string).collect(), text }
}

/// A row of the table `prompts`.
pub fn prompt_row(tokenizer: Option<&Tokenizer>, id: &str, kind: PromptKind, tokens: &[i64]) -> PromptRow {
    let Written { tokens, strings, text } = written(tokenizer, tokens);
    PromptRow { prompt_id: id.to_owned(), kind, tokens, token_strings: strings, text }
}

/// The rows of pairs: `PREFIX0/clean`, `PREFIX0/corrupted` and so on.
pub fn pair_rows(tokenizer: Option<&Tokenizer>, prefix: &str, pairs: &[Pair]) -> Vec<PromptRow> {
    let rows = |(index, pair): (usize, &Pair)| {
        [("clean", PromptKind::Clean, &pair.clean), ("corrupted", PromptKind::Corrupted, &pair.corrupted)]
            .map(|(side, kind, tokens)| {
                prompt_row(tokenizer, &format!("{prefix}{index}/{side}"), kind, tokens)
            })
    };
    pairs.iter().enumerate().flat_map(rows).collect()
}

/// `row` with the response's tokens.
pub fn with_tokens(tokenizer: Option<&Tokenizer>, row: ResponseRow, tokens: &[i64]) -> ResponseRow {
    let Written { tokens, strings, text } = written(tokenizer, tokens);
    ResponseRow { tokens, token_strings: strings, text, ..row }
}

/// A response without its tokens: the only one to its prompt, ended by itself.
pub fn blank_response(prompt_id: String, condition: &Condition, decoding: DecodingLabel) -> ResponseRow {
    ResponseRow {
        prompt_id,
        condition: condition.id(),
        decoding,
        sample: 0,
        end: End::Stopped,
        tokens: Vec::new(),
        token_strings: Vec::new(),
        text: String::new(),
    }
}

/// Why a generation ended, as tables have it.
pub fn end_of(outcome: Outcome) -> End {
    match outcome {
        Outcome::Stopped => End::Stopped,
        Outcome::OutOfWindow => End::OutOfWindow,
        Outcome::Limit => End::Limit,
    }
}
