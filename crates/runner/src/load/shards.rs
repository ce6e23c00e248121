//! Which files hold a model's weights.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::load::files::ModelFiles;
use crate::text::without_bom;

pub(crate) const SINGLE: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The names of the weight files, the index first if it counts: a file that holds all the weights comes before it, as
/// in `transformers`. Both stand in a folder where a model was saved anew in one file, over shards of an older one.
pub(crate) fn file_names(files: &ModelFiles) -> Result<Vec<String>> {
    if files.holds(SINGLE) {
        return Ok(vec![SINGLE.to_owned()]);
    }
    if let Some(index) = files.read(INDEX)? {
        let shards = named_by(&index).map_err(|what| Error::Format { file: files.shown(INDEX), what })?;
        return Ok(std::iter::once(INDEX.to_owned()).chain(shards).collect());
    }
    if let Some(pickle) = files.list().iter().find(|name| is_pickle(name)) {
        return Err(Error::Format { file: files.shown(pickle), what: refusal("DIR") });
    }
    Ok(vec![SINGLE.to_owned()])
}

/// The files that an index names. What it says is wrong with it otherwise.
pub(crate) fn named_by(index: &[u8]) -> Result<BTreeSet<String>, String> {
    let index = serde_json::from_slice::<Value>(without_bom(index));
    let index = index.map_err(|error| format!("not valid JSON: {error}"))?;
    let Some(map) = index.get("weight_map").and_then(Value::as_object) else {
        return Err("has no object `weight_map`".into());
    };
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        match file.as_str() {
            Some(file) if is_file_name(file) => names.insert(file.to_owned()),
            _ => {
                return Err(format!(
                    "places `{}` in {}, which is not a file name",
                    cut(tensor),
                    cut(&file.to_string())
                ));
            }
        };
    }
    if names.is_empty() {
        return Err("names no file".into());
    }
    Ok(names)
}

/// As much of a text as a message takes.
fn cut(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A name and nothing else: an index must not reach outside its folder. Nor must it name what is no weight file.
fn is_file_name(name: &str) -> bool {
    let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "._-+@ ()=".contains(letter);
    name.ends_with(".safetensors") && !name.starts_with('.') && name.len() <= 255 && name.chars().all(is_safe)
}

/// Weights in Python's pickle format, by their names.
pub(crate) fn is_pickle(name: &str) -> bool {
    let torch =
        name.starts_with("pytorch_model") && (name.ends_with(".bin") || name.ends_with(".bin.index.json"));
    torch || (name.starts_with("consolidated") && name.ends_with(".pth"))
}

/// Why a pickle is not read, and the way to have its weights read. `model` is what transformers loads it by.
pub(crate) fn refusal(model: &str) -> String {
    format!(
        "is a pickle, which can run code, and is not read\n\
         hint: convert it with transformers, where you trust it:\n    \
         from transformers import AutoModelForCausalLM, AutoTokenizer\n    \
         AutoModelForCausalLM.from_pretrained(\"{model}\", dtype=\"auto\").save_pretrained(\"NEW-DIR\")\n    \
         AutoTokenizer.from_pretrained(\"{model}\").save_pretrained(\"NEW-DIR\")"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stay_in_the_folder() {
        for name in ["model-00001-of-00002.safetensors", "model.fp16-00001.safetensors"] {
            assert!(is_file_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../a.safetensors",
            "/a.safetensors",
            "a/b.safetensors",
            "a\\b.safetensors",
            "C:a.safetensors",
            ".hidden.safetensors",
            "a.safetensors\0",
            "a\n.safetensors",
            "a.bin",
            "~root.safetensors",
            "%2e%2e.safetensors",
            "..\u{2215}a.safetensors",
        ] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }
}
