//! Chat templates: a conversation as the text that a model was trained to read it as.
//!
//! A template is a Jinja program that comes with the tokenizer. What it may call is what `transformers` offers it.
//! The text that comes out already holds BOS and the other special tokens that the model expects: encode it with
//! [`crate::Tokenizer::encode`], not with `encode_with_specials`, which would put BOS there a second time.

mod budget;
mod functions;
mod json;
mod operators;
mod sandbox;
#[cfg(test)]
mod tests;

use std::error::Error as _;

pub use chrono::NaiveDateTime;
use minijinja::value::{Serde, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::error::{Error, Result};
use crate::load::ModelFiles;

const CONFIG: &str = "tokenizer_config.json";
const FILE: &str = "chat_template.jinja";

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    #[serde(default)]
    pub content: serde_json::Value,
    /// Further fields that the template may read, such as `tool_calls`.
    #[serde(flatten)]
    pub fields: Map<String, serde_json::Value>,
}

impl Message {
    /// A message of text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: serde_json::Value::String(content.into()), fields: Map::new() }
    }
}

/// How a conversation is to be written.
#[derive(Debug, Clone, Default)]
pub struct ChatOptions {
    /// End with the beginning of the assistant's next message.
    pub add_generation_prompt: bool,
    /// Descriptions of tools, as JSON schemas; none: the template sees `none`.
    pub tools: Option<Vec<serde_json::Value>>,
    /// Documents to answer from; none: the template sees `none`.
    pub documents: Option<Vec<serde_json::Value>>,
    /// Which template, where the tokenizer has several; none: `tool_use` if there are tools and it exists, else
    /// `default`.
    pub template: Option<String>,
    /// Further variables, such as `enable_thinking`. They come before the special tokens of the same name.
    pub variables: Map<String, serde_json::Value>,
    /// What `strftime_now` takes for now; none: the machine's local time, so that the text depends on the day.
    pub now: Option<NaiveDateTime>,
}

/// The templates of a tokenizer, and its special tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatTemplate {
    /// By name, in the file's order.
    templates: Vec<(String, String)>,
    /// `bos_token` and the like.
    specials: Map<String, serde_json::Value>,
    /// The file, for messages.
    place: String,
}

impl ChatTemplate {
    /// Reads `chat_template.jinja`, or else `chat_template` in `tokenizer_config.json`; none if the model has neither.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Format`]. Whether the template is in order shows when it is used.
    pub fn load(files: &ModelFiles) -> Result<Option<Self>> {
        let config: serde_json::Value = match files.text(CONFIG)? {
            Some(text) => serde_json::from_str(&text)
                .map_err(|error| Error::Format { file: files.shown(CONFIG), what: error.to_string() })?,
            None => serde_json::Value::Null,
        };
        let specials = specials(&config);
        if let Some(text) = files.text(FILE)? {
            let templates = vec![("default".to_owned(), text)];
            return Ok(Some(ChatTemplate { templates, specials, place: files.shown(FILE) }));
        }
        let wrong = || Error::Format {
            file: files.shown(CONFIG),
            what: "`chat_template` is neither a text nor a list of {\"name\": ..., \"template\": ...}".into(),
        };
        let templates = match config.get("chat_template") {
            None | Some(serde_json::Value::Null) => return Ok(None),
            Some(serde_json::Value::String(text)) => vec![("default".to_owned(), text.clone())],
            Some(serde_json::Value::Array(list)) => list
                .iter()
                .map(|one| {
                    let text =
                        |key: &str| one.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
                    Ok((text("name").ok_or_else(wrong)?, text("template").ok_or_else(wrong)?))
                })
                .collect::<Result<_>>()?,
            Some(_) => return Err(wrong()),
        };
        Ok(Some(ChatTemplate { templates, specials, place: files.shown(CONFIG) }))
    }

    /// A template given as text, with the special tokens that it may name (`bos_token`, ...).
    pub fn from_text(text: impl Into<String>, specials: &[(&str, &str)]) -> Self {
        let specials = specials.iter().map(|(name, token)| ((*name).to_owned(), (*token).into())).collect();
        ChatTemplate {
            templates: vec![("default".into(), text.into())],
            specials,
            place: "given as text".into(),
        }
    }

    /// The names of the templates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.iter().map(|(name, _)| name.as_str())
    }

    /// The conversation as text.
    ///
    /// # Errors
    /// [`Error::Input`] without a message; [`Error::Template`] if the template is broken, refuses the conversation
    /// (`raise_exception`), or goes on for longer or builds more than a conversation can need.
    pub fn apply(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        if messages.is_empty() {
            return Err(Error::Input("there is no message: a conversation has at least one".into()));
        }
        let (name, text) = self.chosen(options)?;
        let place = match name {
            "default" => self.place.clone(),
            name => format!("{} (`{name}`)", self.place),
        };
        let mut context = self.specials.clone();
        context.extend(options.variables.clone());
        context.insert("messages".into(), json!(messages));
        context.insert("tools".into(), json!(options.tools));
        context.insert("documents".into(), json!(options.documents));
        context.insert("add_generation_prompt".into(), json!(options.add_generation_prompt));
        let now = options.now.unwrap_or_else(|| chrono::Local::now().naive_local());
        sandbox::render(text, Value::from(Serde(&context)), now).map_err(|error| told(place, &error))
    }

    fn chosen(&self, options: &ChatOptions) -> Result<(&str, &str)> {
        let named = |name: &str| self.templates.iter().find(|(known, _)| known == name);
        let found = match &options.template {
            Some(name) => named(name),
            None => options.tools.as_ref().and_then(|_| named("tool_use")).or_else(|| named("default")),
        };
        found.map(|(name, text)| (name.as_str(), text.as_str())).ok_or_else(|| Error::Template {
            place: self.place.clone(),
            what: format!(
                "there is no template `{}`; there are: {}",
                options.template.as_deref().unwrap_or("default"),
                self.names().collect::<Vec<_>>().join(", ")
            ),
        })
    }
}

/// The special tokens of `tokenizer_config.json`, each written as a text or as `{"content": ...}`.
fn specials(config: &serde_json::Value) -> Map<String, serde_json::Value> {
    const NAMES: [&str; 7] =
        ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
    let token = |name: &&str| {
        let token = config.get(*name)?;
        let text = token.as_str().or_else(|| token.get("content")?.as_str())?;
        Some(((*name).to_owned(), text.into()))
    };
    NAMES.iter().filter_map(token).collect()
}

/// The innermost cause, which is what the template's author wrote.
fn told(place: String, error: &minijinja::Error) -> Error {
    let mut innermost = error;
    while let Some(cause) = innermost.source().and_then(|cause| cause.downcast_ref::<minijinja::Error>()) {
        innermost = cause;
    }
    let line = innermost.line().or_else(|| error.line());
    let place = line.map_or_else(|| place.clone(), |line| format!("{place}, line {line}"));
    let what = match (innermost.kind(), innermost.detail()) {
        (minijinja::ErrorKind::OutOfFuel, _) => {
            "the template goes on for too long\nhint: it may hold an endless loop, or the conversation is very \
                long".into()
        }
        (minijinja::ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    Error::Template { place, what }
}
