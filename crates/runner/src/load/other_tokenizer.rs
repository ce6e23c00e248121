//! A tokenizer that is not beside the model.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::bytes::absent;

#[derive(Debug, Clone)]
pub(super) enum OtherTokenizer {
    /// A `tokenizer.json` under any name; all else is the model's own.
    File(PathBuf),
    /// A folder from which all that belongs to a tokenizer is taken.
    Folder(PathBuf),
}

const TOKENIZER: &str = "tokenizer.json";

/// The files that belong to a tokenizer.
const OF_TOKENIZERS: [&str; 3] = [TOKENIZER, "tokenizer_config.json", "chat_template.jinja"];

impl OtherTokenizer {
    /// Where `file` is, if it is no longer the model's own.
    pub(super) fn path(&self, file: &str) -> Option<PathBuf> {
        match self {
            OtherTokenizer::File(path) => (file == TOKENIZER).then(|| path.clone()),
            OtherTokenizer::Folder(folder) => OF_TOKENIZERS.contains(&file).then(|| folder.join(file)),
        }
    }

    /// The tokenizer at `path`: a `tokenizer.json`, or a folder with one.
    ///
    /// # Errors
    /// [`Error::Read`] if there is none.
    pub(super) fn at(path: &Path) -> Result<Self> {
        let other = match path.is_dir() {
            true => OtherTokenizer::Folder(path.to_owned()),
            false => OtherTokenizer::File(path.to_owned()),
        };
        let file = other.path(TOKENIZER).unwrap_or_default();
        if !file.is_file() {
            let hint = "--tokenizer takes a tokenizer.json, or a folder with one";
            return Err(Error::Read { path: file, cause: absent(), hint });
        }
        Ok(other)
    }
}
