//! How a model's authors would have its tokens drawn, as `generation_config.json` says it.

use serde::Deserialize;

use super::sample::Decoding;
use crate::error::{Error, Result};
use crate::load::ModelFiles;
use crate::load::end::GENERATION;
use crate::text::without_bom;

/// The keys about drawing. What is null or absent does nothing; the others of the file are about other things.
#[derive(Deserialize)]
struct Stated {
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
}

impl Decoding {
    /// The sampling that the model's `generation_config.json` recommends: temperature, top-k, top-p, min-p and
    /// repetition penalty, as far as they stand there. None if there is no such file or it states none of them.
    /// Nothing in this crate uses it by itself.
    ///
    /// # Errors
    /// [`Error::Format`] if the file cannot be read as JSON, or a value is out of its range.
    pub fn recommended(files: &ModelFiles) -> Result<Option<Decoding>> {
        let Some(text) = files.text(GENERATION)? else { return Ok(None) };
        let wrong = |what: String| Error::Format { file: files.shown(GENERATION), what };
        let stated: Stated = serde_json::from_slice(without_bom(text.as_bytes()))
            .map_err(|error| wrong(format!("not a generation configuration: {error}")))?;
        let doing_nothing = Decoding::SAMPLE;
        let decoding = Decoding {
            temperature: stated.temperature.unwrap_or(doing_nothing.temperature),
            top_k: stated.top_k.unwrap_or(doing_nothing.top_k),
            top_p: stated.top_p.unwrap_or(doing_nothing.top_p),
            min_p: stated.min_p.unwrap_or(doing_nothing.min_p),
            repetition_penalty: stated.repetition_penalty.unwrap_or(doing_nothing.repetition_penalty),
            ..doing_nothing
        };
        match decoding.validated() {
            Ok(decoding) => Ok(Some(decoding).filter(|decoding| *decoding != doing_nothing)),
            Err(Error::Input(what)) => Err(wrong(what)),
            Err(other) => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: Option<&str>) -> Result<Option<Decoding>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        if let Some(text) = text {
            std::fs::write(folder.path().join(GENERATION), text).unwrap();
        }
        Decoding::recommended(&ModelFiles::folder(folder.path()).unwrap())
    }

    #[test]
    fn what_the_authors_recommend_is_read() {
        let wanted = Decoding { temperature: 0.6, top_k: 20, top_p: 0.95, ..Decoding::SAMPLE };
        let text =
            r#"{"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [1, 2]}"#;
        assert_eq!(of(Some(text)).unwrap(), Some(wanted));
        let wanted = Decoding { repetition_penalty: 1.1, min_p: 0.05, ..Decoding::SAMPLE };
        let text = r#"{"repetition_penalty": 1.1, "min_p": 0.05, "top_p": null}"#;
        assert_eq!(of(Some(text)).unwrap(), Some(wanted));
        for nothing in [None, Some("{}"), Some(r#"{"temperature": 1.0, "top_p": 1.0, "bos_token_id": 1}"#)] {
            assert_eq!(of(nothing).unwrap(), None, "{nothing:?}");
        }
    }

    #[test]
    fn what_cannot_be_followed_names_the_file() {
        for (text, words) in [
            (r#"{"temperature": 0.0}"#, "temperature"),
            (r#"{"top_k": -1}"#, "not a generation configuration"),
            ("[", "not a generation configuration"),
        ] {
            let error = of(Some(text)).unwrap_err().to_string();
            assert!(error.contains(GENERATION) && error.contains(words), "{error}");
        }
    }
}
