//! Pairs from a file with one JSON object a line.

use std::path::Path;

use refrain_runner::{Tokenizer, without_bom};
use serde_json::{Map, Value};

use super::text::Text;
use crate::error::{Error, Result};
use crate::pair::Pair;

/// Keys of a line of text.
const TEXT: [&str; 4] = ["clean", "corrupted", "answer", "foil"];
/// Keys of a line of token ids, in the same order.
const IDS: [&str; 4] = ["clean_ids", "corrupted_ids", "answer_id", "foil_id"];
/// Faults that are reported at once.
const SHOWN: usize = 5;

/// What a file is read against.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// For lines of text.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Tokens of the model.
    pub n_vocab: usize,
    /// Tokens that the model can read.
    pub window: usize,
}

/// What is wrong with a line.
type Fault = String;

impl Reader<'_> {
    /// The pairs in the file at `path`. A line is an object with `clean`, `corrupted`, `answer` and, if wanted,
    /// `foil` as text, or with `clean_ids`, `corrupted_ids`, `answer_id` and `foil_id` as token ids. Empty lines
    /// are passed over.
    ///
    /// Prompts of text are tokenised as everywhere else: what the tokenizer puts before a text (BOS, mostly) stands
    /// first, and nothing after. An answer or an incorrect answer is one token, so mostly a word with the space
    /// before it. Ids are taken as they are.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first lines that cannot be used, each with the reason.
    pub fn read(&self, path: &Path) -> Result<Vec<Pair>> {
        let cannot = |why: String| Error::Input(format!("{}: {why}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| cannot(format!("cannot be read: {error}")))?;
        let bytes = without_bom(&bytes);
        let text = self.tokenizer.map(Text::new).transpose()?;
        let (mut pairs, mut faults, mut left_out) = (Vec::new(), Vec::new(), 0);
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.line(line, text.as_ref()) {
                Ok(pair) => pairs.push(pair),
                Err(fault) if faults.len() < SHOWN => faults.push(format!("  line {number}: {fault}")),
                Err(_) => left_out += 1,
            }
        }
        if !faults.is_empty() {
            let (count, lines) = match faults.len() + left_out {
                1 => ("a", "line"),
                2 => ("two", "lines"),
                _ => ("several", "lines"),
            };
            if left_out > 0 {
                faults.push(format!("  and {left_out} more"));
            }
            return Err(cannot(format!("{count} {lines} cannot be used:\n{}", faults.join("\n"))));
        }
        if pairs.is_empty() {
            return Err(cannot(
                "has no pair\nhint: a line is {\"clean\": ..., \"corrupted\": ..., \"answer\": ..., \"foil\": ...}"
                    .to_owned(),
            ));
        }
        Ok(pairs)
    }

    fn line(&self, line: &[u8], text: Option<&Text<'_>>) -> Result<Pair, Fault> {
        let line = std::str::from_utf8(line)
            .map_err(|error| format!("is not UTF-8 from its byte {} on", error.valid_up_to() + 1))?;
        let value: Value = serde_json::from_str(line).map_err(|error| {
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or(&why).to_owned();
            format!("is not JSON: {why} at column {}", error.column())
        })?;
        let Value::Object(object) = value else {
            return Err("is not a JSON object".to_owned());
        };
        if let Some(key) = object.keys().find(|key| !TEXT.contains(&&key[..]) && !IDS.contains(&&key[..])) {
            return Err(format!(
                "has the unknown key `{key}`; the keys are {} or {}",
                TEXT.join(", "),
                IDS.join(", ")
            ));
        }
        let has = |keys: [&'static str; 4]| keys.into_iter().find(|key| object.contains_key(*key));
        let (keys, of_text) = match (has(TEXT), has(IDS)) {
            (Some(a), Some(b)) => {
                return Err(format!("mixes text and token ids: it has `{a}` and `{b}`"));
            }
            (None, Some(_)) => (IDS, false),
            _ => (TEXT, true),
        };
        if let Some(missing) = keys[..3].iter().find(|key| !object.contains_key(**key)) {
            return Err(format!("lacks the key `{missing}`"));
        }
        let pair = if of_text {
            let text = text.ok_or(
                "is text, and the model has no tokenizer.json; give token ids, or have transformers \
                write one",
            )?;
            of_strings(&object, text)?
        } else {
            self.of_ids(&object)?
        };
        self.check(&pair, of_text.then_some(self.tokenizer).flatten())?;
        Ok(pair)
    }

    fn of_ids(&self, object: &Map<String, Value>) -> Result<Pair, Fault> {
        let id = |key: &str, value: &Value| {
            let id =
                value.as_i64().ok_or_else(|| format!("`{key}` holds {value}, which is not a token id"))?;
            let inside = (0..self.n_vocab as i64).contains(&id);
            inside.then_some(id).ok_or_else(|| {
                format!("`{key}` holds {id}, which is outside the vocabulary of {} tokens", self.n_vocab)
            })
        };
        let ids = |key: &str| -> Result<Vec<i64>, Fault> {
            let list = object[key].as_array().ok_or_else(|| format!("`{key}` is not a list of token ids"))?;
            list.iter().map(|value| id(key, value)).collect()
        };
        Ok(Pair {
            clean: ids(IDS[0])?,
            corrupted: ids(IDS[1])?,
            answer: id(IDS[2], &object[IDS[2]])?,
            foil: present(object, IDS[3]).map(|value| id(IDS[3], value)).transpose()?,
        })
    }

    /// What holds for every pair. `tokenizer` shows the tokens of a pair that was text.
    fn check(&self, pair: &Pair, tokenizer: Option<&Tokenizer>) -> Result<(), Fault> {
        let (clean, corrupted) = (pair.clean.len(), pair.corrupted.len());
        for (what, length) in [("clean", clean), ("corrupted", corrupted)] {
            if length == 0 {
                return Err(format!("the {what} prompt is empty"));
            }
        }
        if clean != corrupted {
            let differ = format!("the clean prompt has {clean} tokens, the corrupted one {corrupted}");
            return Err(match tokenizer {
                Some(tokenizer) => format!(
                    "{differ}:\n    {}\n    {}",
                    shown(tokenizer, &pair.clean),
                    shown(tokenizer, &pair.corrupted)
                ),
                None => differ,
            });
        }
        if clean > self.window {
            return Err(format!("the prompts have {clean} tokens, the model's window {}", self.window));
        }
        if pair.first_difference().is_none() {
            return Err("the clean and the corrupted prompt are equal".to_owned());
        }
        if pair.foil == Some(pair.answer) {
            return Err("the answer and the incorrect answer are the same token".to_owned());
        }
        Ok(())
    }
}

/// What is wrong with the text under `key`, on one line: a hint would stand among the other lines' faults.
fn fault(key: &str, error: &dyn std::fmt::Display) -> Fault {
    let error = error.to_string();
    format!("`{key}`: {}", error.split("\nhint: ").next().unwrap_or(&error))
}

fn of_strings(object: &Map<String, Value>, text: &Text<'_>) -> Result<Pair, Fault> {
    let string = |key: &str, value: &'_ Value| -> Result<String, Fault> {
        Ok(value.as_str().ok_or_else(|| format!("`{key}` is not text"))?.to_owned())
    };
    let prompt = |key: &str| -> Result<Vec<i64>, Fault> {
        let written = string(key, &object[key])?;
        if written.is_empty() {
            return Ok(Vec::new());
        }
        text.prompt(&written).map_err(|error| fault(key, &error))
    };
    let token = |key: &str, value: &Value| -> Result<i64, Fault> {
        let what = if key == TEXT[3] { "incorrect answer" } else { key };
        let written = string(key, value)?;
        if !text.tokenizer.unknown(&written).map_err(|error| fault(key, &error))?.is_empty() {
            return Err(format!("the {what} {written:?} is not in the vocabulary"));
        }
        let ids = text.tokenizer.encode(&written).map_err(|error| fault(key, &error))?;
        match ids[..] {
            [id] => Ok(id),
            [] => Err(format!("the {what} {written:?} encodes to no token")),
            _ => Err(format!(
                "the {what} {written:?} is {} tokens, not one: {}",
                ids.len(),
                shown(text.tokenizer, &ids)
            )),
        }
    };
    Ok(Pair {
        clean: prompt(TEXT[0])?,
        corrupted: prompt(TEXT[1])?,
        answer: token(TEXT[2], &object[TEXT[2]])?,
        foil: present(object, TEXT[3]).map(|value| token(TEXT[3], value)).transpose()?,
    })
}

/// The value of `key`, if it is there and not null.
fn present<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// Tokens as the vocabulary writes them; of many, the last.
fn shown(tokenizer: &Tokenizer, ids: &[i64]) -> String {
    const MOST: usize = 24;
    let token = |id: &i64| tokenizer.token(*id).unwrap_or_else(|| id.to_string());
    let from = ids.len().saturating_sub(MOST);
    let tokens: Vec<String> = ids[from..].iter().map(token).collect();
    format!("{}{}", if from > 0 { "... | " } else { "" }, tokens.join(" | "))
}
