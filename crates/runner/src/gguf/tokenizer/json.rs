//! The parts of `tokenizer.json` that both kinds of tokenizers share.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::vocabulary::{Kind, Tokens, Vocabulary, quoted};
use super::wrong;
use crate::error::{Error, Result};

/// Two tokens that become one.
pub(super) type Merge<'a> = (&'a str, &'a str);

/// `tokenizer.json`, as the tokenizers library reads it.
#[derive(serde::Serialize)]
pub(super) struct Document<'a> {
    version: &'static str,
    added_tokens: Vec<Added<'a>>,
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub post_processor: Value,
    pub decoder: Value,
    pub model: Bpe<'a>,
}

#[derive(serde::Serialize)]
struct Added<'a> {
    id: u32,
    content: &'a str,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

/// The model. The keys that it leaves out are null in `tokenizer.json`.
#[derive(serde::Serialize)]
pub(super) struct Bpe<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    pub unk_token: Option<&'a str>,
    pub fuse_unk: bool,
    pub byte_fallback: bool,
    pub ignore_merges: bool,
    vocab: Ids<'a>,
    merges: Vec<Merge<'a>>,
}

/// Tokens as an object of their ids.
struct Ids<'a>(&'a [Cow<'a, str>]);

impl Serialize for Ids<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().zip(0_u32..))
    }
}

impl<'a> Document<'a> {
    /// One that merges and does nothing else yet. The normaliser is applied to the text before user-defined tokens are
    /// found in it, and to them, if `normalized`.
    pub(super) fn new(tokens: &'a Tokens<'a>, merges: Vec<Merge<'a>>, normalized: bool) -> Self {
        let model = Bpe {
            kind: "BPE",
            unk_token: None,
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: false,
            vocab: Ids(tokens.texts()),
            merges,
        };
        Document {
            version: "1.0",
            added_tokens: added(tokens, normalized),
            normalizer: Value::Null,
            pre_tokenizer: Value::Null,
            post_processor: Value::Null,
            decoder: Value::Null,
            model,
        }
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::Tokenizer(error.to_string()))
    }
}

/// The tokens that are found in a text before it is split and merged.
fn added<'a>(tokens: &'a Tokens<'_>, normalized: bool) -> Vec<Added<'a>> {
    // Phi-3's own tokenizer takes the blanks after most of its special tokens with them. GGUF has no key for that.
    let is_there = |name: &&str| tokens.iter().any(|(_, text, kind)| text == *name && kind != Kind::Normal);
    let phi3 = ["<|placeholder1|>", "<|assistant|>", "<|end|>"].iter().all(is_there);
    let takes_blanks = |text| phi3 && !matches!(text, "<unk>" | "<s>" | "<|endoftext|>");
    let as_added = |(id, content, kind)| {
        let special = match kind {
            Kind::Control | Kind::Unknown => true,
            Kind::UserDefined => false,
            Kind::Normal | Kind::Unused | Kind::Byte => return None,
        };
        let (rstrip, normalized) = (takes_blanks(content), normalized && !special);
        Some(Added { id, content, single_word: false, lstrip: false, rstrip, normalized, special })
    };
    tokens.iter().filter_map(as_added).collect()
}

/// What holds of BOS and EOS in a file that does not say.
#[derive(Clone, Copy, Default)]
pub(super) struct Ends {
    pub add_bos: bool,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
}

/// The post-processor that adds BOS and EOS, or null.
pub(super) fn ends(vocabulary: &Vocabulary, tokens: &Tokens<'_>, usual: Ends) -> Result<Value> {
    let bos = tokens.or_usual(vocabulary.bos, usual.bos, Kind::Control);
    let eos = tokens.or_usual(vocabulary.eos, usual.eos, Kind::Control);
    // llama.cpp adds no EOS to a text of a decoder unless the file says so.
    let add_bos = vocabulary.add_bos.unwrap_or(usual.add_bos);
    let asked = [("bos", add_bos, bos), ("eos", vocabulary.add_eos == Some(true), eos)];
    let mut found = Vec::new();
    for (name, _, id) in asked.into_iter().filter(|(_, is_added, _)| *is_added) {
        let Some((id, (text, _))) = id.and_then(|id| Some((id, tokens.get(id)?))) else {
            return Err(wrong(format_args!(
                "a text of this model gets {}, but there is no `tokenizer.ggml.{name}_token_id`",
                name.to_uppercase()
            )));
        };
        found.push((name, id, text));
    }
    if found.is_empty() {
        return Ok(Value::Null);
    }
    let special = |end: &str| {
        let here = found.iter().filter(move |(name, ..)| *name == end);
        here.map(|(_, _, text)| json!({"SpecialToken": {"id": text, "type_id": 0}})).collect::<Vec<_>>()
    };
    let around = |sequences: &[&str]| {
        let sequences = sequences.iter().map(|id| json!({"Sequence": {"id": id, "type_id": 0}}));
        special("bos").into_iter().chain(sequences).chain(special("eos")).collect::<Vec<_>>()
    };
    let entry = |text: &str, id: u32| (text.to_owned(), json!({"id": text, "ids": [id], "tokens": [text]}));
    Ok(json!({
        "type": "TemplateProcessing",
        "single": around(&["A"]),
        "pair": around(&["A", "B"]),
        "special_tokens": found.iter().map(|(_, id, text)| entry(text, *id)).collect::<Map<_, _>>(),
    }))
}

/// Merges as the file lists them, each of two tokens that make a third.
pub(super) fn listed<'a>(merges: &'a [String], tokens: &Tokens<'_>) -> Result<Vec<Merge<'a>>> {
    let known: HashSet<&str> = tokens.iter().map(|(_, text, _)| text).collect();
    let mut seen = HashSet::with_capacity(merges.len());
    let mut pairs = Vec::with_capacity(merges.len());
    let mut whole = String::new();
    for (index, merge) in merges.iter().enumerate() {
        let bad = |what: &str| {
            wrong(format_args!("merge {index} of `tokenizer.ggml.merges`, {}, {what}", quoted(merge)))
        };
        // The left token may start with the space that otherwise ends it.
        let space = merge.char_indices().skip(1).find(|(_, letter)| *letter == ' ');
        let Some((left, right)) = space.map(|(at, _)| (&merge[..at], &merge[at + 1..])) else {
            return Err(bad("is not two tokens with a space between them"));
        };
        whole.clear();
        whole.push_str(left);
        whole.push_str(right);
        for token in [left, right, whole.as_str()] {
            if !known.contains(token) {
                return Err(bad("needs a token that the vocabulary lacks"));
            }
        }
        if !seen.insert((left, right)) {
            return Err(bad("is listed before"));
        }
        pairs.push((left, right));
    }
    Ok(pairs)
}
