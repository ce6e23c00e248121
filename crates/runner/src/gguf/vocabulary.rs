//! The tokenizer's part of the metadata, and the chat templates beside it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::tokenizer::Vocabulary;
use super::value::Value;

type Metadata = BTreeMap<String, Value>;

/// A `tokenizer.json` that some converters keep whole.
pub(super) const WHOLE: &str = "tokenizer.huggingface.json";
const TEMPLATE: &str = "tokenizer.chat_template";

/// What was found under a key of the tokenizer's, as `read` sees it.
fn read<'a, T>(
    metadata: &'a Metadata,
    name: &str,
    wanted: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, String> {
    let key = format!("tokenizer.ggml.{name}");
    let Some(value) = metadata.get(&key) else { return Ok(None) };
    read(value).map(Some).ok_or_else(|| format!("key `{key}` must be {wanted}, but is {}", value.shown()))
}

fn text<'a>(metadata: &'a Metadata, name: &str) -> Result<Option<&'a str>, String> {
    read(metadata, name, "a text", |value| match value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

fn texts(metadata: &Metadata, name: &str) -> Result<Option<Vec<String>>, String> {
    read(metadata, name, "a list of texts", |value| match value {
        Value::Texts(list) => Some(list.clone()),
        _ => None,
    })
}

fn flag(metadata: &Metadata, name: &str) -> Result<Option<bool>, String> {
    read(metadata, name, "true or false", |value| match value {
        Value::Flag(flag) => Some(*flag),
        _ => None,
    })
}

/// The token under `{name}_token_id`; none also where it is beyond the vocabulary, which says that there is none.
fn token(metadata: &Metadata, name: &str, tokens: usize) -> Result<Option<u32>, String> {
    let id = read(metadata, &format!("{name}_token_id"), "the id of a token", |value| match value {
        Value::Integer(id) => Some(*id),
        _ => None,
    })?;
    Ok(id.and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < tokens))
}

/// Whether the file has a tokenizer at all.
pub(super) fn has_tokenizer(metadata: &Metadata) -> bool {
    let model = text(metadata, "model").ok().flatten();
    metadata.contains_key(WHOLE) || model.is_some_and(|model| !matches!(model, "none" | "no_vocab"))
}

/// The vocabulary of a file that has one.
pub(super) fn vocabulary(metadata: &Metadata) -> Result<Vocabulary, String> {
    let tokens = texts(metadata, "tokens")?.ok_or("has no key `tokenizer.ggml.tokens`")?;
    let count = tokens.len();
    let scores = read(metadata, "scores", "a list of numbers", |value| match value {
        Value::Numbers(list) => Some(list.iter().map(|score| *score as f32).collect::<Vec<f32>>()),
        _ => None,
    })?;
    let kinds = read(metadata, "token_type", "a list of whole numbers", |value| match value {
        Value::Integers(list) => {
            list.iter().map(|kind| i32::try_from(*kind).ok()).collect::<Option<Vec<i32>>>()
        }
        _ => None,
    })?;
    for (name, length) in
        [("scores", scores.as_ref().map(Vec::len)), ("token_type", kinds.as_ref().map(Vec::len))]
    {
        if let Some(length) = length.filter(|length| *length != count) {
            return Err(format!("key `tokenizer.ggml.{name}` has {length} entries for {count} tokens"));
        }
    }
    let token = |name: &str| token(metadata, name, count);
    Ok(Vocabulary {
        model: text(metadata, "model")?.unwrap_or_default().to_owned(),
        pre: text(metadata, "pre")?.map(str::to_owned),
        scores,
        kinds,
        merges: texts(metadata, "merges")?,
        bos: token("bos")?,
        eos: token("eos")?,
        unknown: token("unknown")?,
        pad: token("padding")?,
        add_bos: flag(metadata, "add_bos_token")?,
        add_eos: flag(metadata, "add_eos_token")?,
        add_space_prefix: flag(metadata, "add_space_prefix")?,
        tokens,
    })
}

/// Tokens that end a turn, in the chat templates of today.
const TURN_ENDS: [&str; 5] = ["<end_of_turn>", "<|end|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>"];

/// The tokens that begin and end a text, of a model of `n_vocab` tokens: eos, and the ends of a turn and of a message
/// where they are others. Many files name eos alone: then what ends a turn is known by its text, as llama.cpp knows
/// it, where the file's chat template writes it.
pub(super) fn ends(metadata: &Metadata, n_vocab: usize) -> Result<(Option<u32>, Vec<u32>), String> {
    let mut ends = Vec::new();
    for name in ["eos", "eot", "eom"] {
        ends.extend(token(metadata, name, n_vocab)?.filter(|id| !ends.contains(id)));
    }
    if let (Some(Value::Text(template)), Some(Value::Texts(tokens))) =
        (metadata.get(TEMPLATE), metadata.get("tokenizer.ggml.tokens"))
    {
        for (text, id) in tokens.iter().take(n_vocab).zip(0..) {
            if TURN_ENDS.contains(&text.as_str()) && template.contains(text) && !ends.contains(&id) {
                ends.push(id);
            }
        }
    }
    Ok((token(metadata, "bos", n_vocab)?, ends))
}

/// The `tokenizer_config.json`: special tokens as they are written, and chat templates; none if it would be empty.
pub(super) fn tokenizer_config(metadata: &Metadata) -> Option<Vec<u8>> {
    let mut config = Map::new();
    if let Some(Value::Texts(tokens)) = metadata.get("tokenizer.ggml.tokens") {
        for (name, key) in [
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("sep_token", "seperator"),
            ("pad_token", "padding"),
        ] {
            let id = token(metadata, key, tokens.len()).ok().flatten();
            if let Some(text) = id.and_then(|id| tokens.get(id as usize)) {
                config.insert(name.to_owned(), text.as_str().into());
            }
        }
    }
    let template = |(key, value): (&String, &Value)| {
        let name = match key.strip_prefix(TEMPLATE)? {
            "" => "default",
            rest => rest.strip_prefix('.')?,
        };
        let Value::Text(text) = value else { return None };
        Some((name.to_owned(), text.clone()))
    };
    let templates: Vec<(String, String)> = metadata.iter().filter_map(template).collect();
    match &templates[..] {
        [] => {}
        [(name, text)] if name == "default" => {
            config.insert("chat_template".into(), text.as_str().into());
        }
        several => {
            let list: Vec<Json> =
                several.iter().map(|(name, text)| json!({"name": name, "template": text})).collect();
            config.insert("chat_template".into(), list.into());
        }
    }
    (!config.is_empty()).then(|| Json::Object(config).to_string().into_bytes())
}
