//! The tables `prompts` and `responses`: everything that was asked and generated, as token ids, token strings and text.

use refrain_entropy::table::{PromptRow, ResponseRow};
use refrain_runner::Tokenizer;

/// Token ids with how the vocabulary writes them.
pub struct Written {
    /// The ids.
    pub tokens: Vec<i64>,
    /// What the vocabulary says each is; the number where there is no tokenizer.
    pub strings: Vec<String>,
    /// The text.
    pub text: String,
}

/// Writes out `tokens`.
pub fn written(tokenizer: Option<&Tokenizer>, tokens: &[i64]) -> Written {
    let string =
        |id: &i64| tokenizer.and_then(|tokenizer| tokenizer.token(*id)).unwrap_or_else(|| id.to_string());
    let text = tokenizer.and_then(|tokenizer| tokenizer.decode(tokens).ok()).unwrap_or_default();
    Written { tokens: tokens.to_vec(), strings: tokens.iter().map(string).collect(), text }
}

/// A row of the table `prompts`.
pub fn prompt_row(
    tokenizer: Option<&Tokenizer>,
    id: &str,
    kind: refrain_entropy::table::PromptKind,
    tokens: &[i64],
) -> PromptRow {
    let Written { tokens, strings, text } = written(tokenizer, tokens);
    PromptRow { prompt_id: id.to_owned(), kind, tokens, token_strings: strings, text }
}

/// `row` with the response's tokens.
pub fn with_tokens(tokenizer: Option<&Tokenizer>, row: ResponseRow, tokens: &[i64]) -> ResponseRow {
    let Written { tokens, strings, text } = written(tokenizer, tokens);
    ResponseRow { tokens, token_strings: strings, text, ..row }
}
