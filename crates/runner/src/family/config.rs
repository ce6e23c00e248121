//! `config.json`, read strictly: a key that nobody asked for and that is not known to be harmless is an error.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::inert::{FIXED, INERT, names_tokens};
use crate::error::{DEQUANTISE, Error, Result};
use crate::text::without_bom;

/// The object in `config.json`, which remembers the keys that were read.
#[derive(Debug)]
pub struct Config {
    object: Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
    allowed: Vec<String>,
}

impl Config {
    /// Parses the text of a `config.json`. Keys in `allowed` may be present without being understood.
    ///
    /// # Errors
    /// [`Error::Config`] if the text is not a JSON object.
    pub fn parse(text: &[u8], allowed: &[String]) -> Result<Self> {
        match serde_json::from_slice(without_bom(text)) {
            Ok(Value::Object(object)) => {
                Ok(Config { object, read: RefCell::default(), allowed: allowed.to_vec() })
            }
            Ok(_) => Err(Error::Config("must be a JSON object".into())),
            Err(error) => Err(Error::Config(format!("not valid JSON: {error}"))),
        }
    }

    /// The value of `key`; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn typed<T>(&self, key: &str, kind: &str, cast: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        cast(value)
            .map(Some)
            .ok_or_else(|| Error::Config(format!("`{key}` must be {kind}, but is {}", shown(value))))
    }

    /// A string that must be there.
    pub(super) fn string(&self, key: &str) -> Result<String> {
        required(key, self.typed(key, "a string", |value| value.as_str().map(str::to_owned))?)
    }

    /// A string, or `default`.
    pub(super) fn string_or(&self, key: &str, default: &str) -> Result<String> {
        Ok(self
            .typed(key, "a string", |value| value.as_str().map(str::to_owned))?
            .unwrap_or_else(|| default.to_owned()))
    }

    /// A non-negative whole number that must be there.
    pub(super) fn size(&self, key: &str) -> Result<usize> {
        required(key, self.size_if(key)?)
    }

    /// A non-negative whole number, if it is there.
    pub(super) fn size_if(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number", |value| value.as_u64().and_then(|n| usize::try_from(n).ok()))
    }

    /// A number, or `default`.
    pub(super) fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self.number_if(key)?.unwrap_or(default))
    }

    /// A truth value, or `default`.
    pub(super) fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.typed(key, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// A list of strings, if it is there.
    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<String>>> {
        let list =
            |value: &Value| value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        self.typed(key, "a list of strings", list)
    }

    /// A list of non-negative whole numbers, empty if it is not there.
    pub(super) fn sizes(&self, key: &str) -> Result<Vec<usize>> {
        let list = |value: &Value| {
            let whole = |item: &Value| item.as_u64().and_then(|n| usize::try_from(n).ok());
            value.as_array()?.iter().map(whole).collect()
        };
        Ok(self.typed(key, "a list of whole numbers", list)?.unwrap_or_default())
    }

    /// An object, if it is there.
    pub(super) fn object(&self, key: &str) -> Result<Option<Config>> {
        let inner = self.typed(key, "an object", |value| value.as_object().cloned())?;
        Ok(inner.map(|object| Config { object, read: RefCell::default(), allowed: self.allowed.clone() }))
    }

    /// The same object, with what `defaults` has for the keys that are absent. A key that is null stays so.
    pub(super) fn with_defaults(&self, defaults: &Value) -> Config {
        let mut object = self.object.clone();
        for (key, value) in defaults.as_object().into_iter().flatten() {
            object.entry(key).or_insert_with(|| value.clone());
        }
        Config { object, read: RefCell::default(), allowed: self.allowed.clone() }
    }

    /// A number, if it is there.
    pub(super) fn number_if(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// A list of numbers that must be there.
    pub(super) fn numbers(&self, key: &str) -> Result<Vec<f64>> {
        let list = |value: &Value| value.as_array()?.iter().map(Value::as_f64).collect();
        required(key, self.typed(key, "a list of numbers", list)?)
    }

    /// Refuses a flag that is set.
    pub(super) fn refuse_flag(&self, key: &str, why: &str) -> Result<()> {
        match self.get(key) {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(value) => Err(Error::Config(format!("`{key}` is {}: {why}", shown(value)))),
        }
    }

    /// Refuses weights that are not numbers to compute with. To leave the key out would not help.
    pub(super) fn refuse_quantised(&self) -> Result<()> {
        for key in ["quantization_config", "compression_config"] {
            // Allowed by name it is known not to matter: the weights were written out since.
            if let Some(value) = self.object.get(key).filter(|value| !value.is_null())
                && !self.allowed.iter().any(|allowed| allowed == key)
            {
                let how = value.get("quant_method").and_then(Value::as_str).unwrap_or("some method");
                return Err(Error::Config(format!(
                    "`{key}`: weights that are quantised ({how}) are not supported\nhint: {DEQUANTISE}"
                )));
            }
        }
        Ok(())
    }

    /// One token id or a list of them.
    pub(crate) fn tokens(&self, key: &str) -> Result<Vec<i64>> {
        let list = |value: &Value| match value {
            Value::Array(values) => values.iter().map(Value::as_i64).collect(),
            other => other.as_i64().map(|id| vec![id]),
        };
        Ok(self.typed(key, "a token id or a list of them", list)?.unwrap_or_default())
    }

    /// Refuses the keys that were neither read nor known to be inert.
    pub(super) fn refuse_unread(&self) -> Result<()> {
        let read = self.read.borrow();
        let known =
            |key: &String| read.contains(key) || INERT.contains(&key.as_str()) || self.allowed.contains(key);
        // A key that is null, false or empty switches nothing on.
        let off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        let fixed = |key: &String, value: &Value| {
            let text = value.to_string();
            // Gemma 2 has one window under two names.
            let twice = key == "sliding_window_size" && self.object.get("sliding_window") == Some(value);
            twice || names_tokens(key, value) || FIXED.contains(&(key.as_str(), text.as_str()))
        };
        let unread = |(key, value): &(&String, &Value)| !known(key) && !off(value) && !fixed(key, value);
        let unread: Vec<(&String, &Value)> = self.object.iter().filter(unread).collect();
        let Some((key, value)) = unread.first() else { return Ok(()) };
        let others: String = unread[1..].iter().map(|(key, _)| format!(", `{key}`")).collect();
        let others = if others.is_empty() { others } else { format!(" (nor are {})", &others[2..]) };
        Err(Error::Config(format!(
            "key `{key}` = {} is not understood and may change the computation{others}\n\
             hint: if it does not, allow it by name (--allow-config-key {key})",
            shown(value)
        )))
    }

    /// The object's keys.
    pub(super) fn keys(&self) -> Vec<String> {
        self.object.keys().cloned().collect()
    }

    /// Whether `key` is there, if only as null.
    pub(super) fn states(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }
}

fn required<T>(key: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::Config(format!("`{key}` is missing")))
}

/// A JSON value, cut to what fits on a line.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
