//! The keys of an architecture, read strictly: one that nobody asked for is an error.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::value::Value;

/// The metadata under `{architecture}.`, which remembers the keys that were read. Names are without that prefix.
pub(super) struct Keys<'a> {
    architecture: &'a str,
    metadata: &'a BTreeMap<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(architecture: &'a str, metadata: &'a BTreeMap<String, Value>) -> Self {
        Keys { architecture, metadata, read: RefCell::default() }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let key = self.key(name);
        let value = self.metadata.get(&key);
        self.read.borrow_mut().insert(key);
        value
    }

    fn wrong(&self, name: &str, wanted: &str, value: &Value) -> String {
        format!("key `{}` must be {wanted}, but is {}", self.key(name), value.shown())
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| {
            format!(
                "key `{}` is missing\nhint: the file was written by an incomplete converter",
                self.key(name)
            )
        })
    }

    /// A whole number that is not negative, if it is there. Some writers state it for each layer; it is one number
    /// where it is the same in all.
    pub(super) fn size_if(&self, name: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let one = match value {
            Value::Integer(size) => Some(*size),
            Value::Integers(list) => list.first().filter(|first| list.iter().all(|n| n == *first)).copied(),
            _ => None,
        };
        let size = one.and_then(|size| usize::try_from(size).ok());
        let wanted = match value {
            Value::Integers(_) => "the same whole number for every layer",
            _ => "a whole number",
        };
        size.map(Some).ok_or_else(|| self.wrong(name, wanted, value))
    }

    pub(super) fn size(&self, name: &str) -> Result<usize, String> {
        self.required(name, self.size_if(name)?)
    }

    pub(super) fn number_if(&self, name: &str) -> Result<Option<f64>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(value)) if value.is_finite() => Ok(Some(*value)),
            Some(Value::Integer(value)) => Ok(Some(*value as f64)),
            Some(value) => Err(self.wrong(name, "a finite number", value)),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<f64, String> {
        self.required(name, self.number_if(name)?)
    }

    pub(super) fn flag_if(&self, name: &str) -> Result<Option<bool>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Flag(value)) => Ok(Some(*value)),
            Some(value) => Err(self.wrong(name, "true or false", value)),
        }
    }

    pub(super) fn text_if(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(value) => Err(self.wrong(name, "a text", value)),
        }
    }

    /// Refuses a key of the architecture's that nobody read.
    pub(super) fn refuse_unread(&self) -> Result<(), String> {
        let (prefix, read) = (self.key(""), self.read.borrow());
        let unread = |key: &&String| key.starts_with(&prefix) && !read.contains(*key);
        let unread: Vec<&String> = self.metadata.keys().filter(unread).collect();
        let Some(first) = unread.first() else { return Ok(()) };
        let others: Vec<String> = unread[1..].iter().map(|key| format!("`{key}`")).collect();
        let others =
            if others.is_empty() { String::new() } else { format!(" (nor are {})", others.join(", ")) };
        Err(format!(
            "key `{first}` = {} is not understood and may change the computation{others}\n\
             hint: take the model as a folder in Hugging Face's layout",
            self.metadata[*first].shown()
        ))
    }
}
