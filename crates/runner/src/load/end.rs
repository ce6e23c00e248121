//! The tokens that end a text.

use crate::error::{Error, Result};
use crate::family::Config;
use crate::load::files::ModelFiles;

pub(crate) const GENERATION: &str = "generation_config.json";

/// Those that `generation_config.json` states: in `transformers` they hold for generation instead of `config.json`'s,
/// and the token that ends a turn often stands nowhere else. None if there is no such file, or it states none.
pub(super) fn tokens(files: &ModelFiles) -> Result<Option<Vec<i64>>> {
    let Some(text) = files.text(GENERATION)? else { return Ok(None) };
    // Of this file's errors the message would say config.json.
    let wrong = |error| match error {
        Error::Config(what) => Error::Format { file: files.shown(GENERATION), what },
        other => other,
    };
    let tokens = Config::parse(text.as_bytes(), &[]).and_then(|config| config.tokens("eos_token_id"));
    Ok(Some(tokens.map_err(wrong)?).filter(|tokens| !tokens.is_empty()))
}

/// Whether `generation_config.json` states other tokens than `config.json`.
pub(super) fn differs(files: &ModelFiles) -> Result<bool> {
    let Some(tokens) = tokens(files)? else { return Ok(false) };
    let text = files.require("config.json", "a model folder holds config.json")?;
    // Whoever loads the model says what is wrong with config.json.
    let stated = Config::parse(&text, &[]).and_then(|config| config.tokens("eos_token_id"));
    Ok(!stated.is_ok_and(|stated| stated == tokens))
}
