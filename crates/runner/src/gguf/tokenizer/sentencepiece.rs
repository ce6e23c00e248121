//! BPE of SentencePiece, of Llama 1 and 2, Mistral and Gemma. A space is written `▁`, there are no words, and what the
//! vocabulary has no token for is written in bytes. The file has no merges, but scores: of two neighbours that make a
//! token, those are merged first whose token has the highest.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{Value, json};

use super::json::{Document, Ends, Merge, ends, listed};
use super::vocabulary::{Kind, Tokens, Vocabulary, is_byte, quoted};
use super::wrong;
use crate::error::Result;

/// Bytes of the longest token. The tokenizers that there are stay far below it, and the time that [`merges`] takes
/// grows with the square of the length.
const LONGEST: usize = 1024;

/// The tokenizer of a file whose `tokenizer.ggml.model` is `llama`.
pub(super) fn tokenizer(vocabulary: &Vocabulary, tokens: &Tokens<'_>) -> Result<Vec<u8>> {
    let by_score = match &vocabulary.scores {
        Some(scores) => merges(tokens, scores)?,
        None => None,
    };
    let merges = match (by_score, &vocabulary.merges) {
        (Some(merges), _) => merges,
        (None, Some(merges)) => listed(merges, tokens)?,
        (None, None) => {
            return Err(wrong(
                "SentencePiece's BPE merges by score, and `tokenizer.ggml.scores` is absent or the same for all tokens \
                 (some converters lose the scores)",
            ));
        }
    };
    let prefix = vocabulary.add_space_prefix.unwrap_or(true);
    // The file has user-defined tokens with spaces, of which Gemma has runs; they match where `▁` is in the text, too.
    // With a prefix the normaliser would put a space before each of them.
    let mut document = Document::new(tokens, merges, !prefix);
    for (id, text, kind) in tokens.iter() {
        if kind == Kind::Byte {
            document.model.byte_fallback = true;
            if !is_byte(text) {
                return Err(wrong(format_args!(
                    "token {id} is a byte by its type, but {} is none",
                    quoted(text)
                )));
            }
        }
    }
    // Token 0, BOS 1 and EOS 2 are SentencePiece's defaults, and llama.cpp's.
    let unknown = tokens.or_usual(vocabulary.unknown, Some(0), Kind::Unknown).and_then(|id| tokens.get(id));
    document.model.unk_token = unknown.map(|(text, _)| text);
    document.model.fuse_unk = true;
    document.normalizer = normalizer(prefix);
    document.decoder = decoder(prefix);
    document.post_processor = ends(vocabulary, tokens, Ends { add_bos: true, bos: Some(1), eos: Some(2) })?;
    document.bytes()
}

/// A space before the text, and before what follows a special token, as in llama.cpp and transformers. (SentencePiece
/// itself never meets special tokens in a text.)
fn normalizer(prefix: bool) -> Value {
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    match prefix {
        true => json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}),
        false => replace,
    }
}

/// The way back, less the space that was put before the text.
fn decoder(prefix: bool) -> Value {
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": decoders})
}

/// All pairs of tokens that make a token, in the order in which they are merged; `None` if the scores give no order.
///
/// Only normal tokens take part: the others are never within what is merged. (llama.cpp merges to unused tokens as
/// well; SentencePiece takes them apart again.)
fn merges<'a>(tokens: &'a Tokens<'_>, scores: &[f32]) -> Result<Option<Vec<Merge<'a>>>> {
    let normal = || tokens.iter().zip(scores).filter(|((_, _, kind), _)| *kind == Kind::Normal);
    let mut ids = HashMap::new();
    for ((id, text, _), score) in normal() {
        if !score.is_finite() {
            return Err(wrong(format_args!("`tokenizer.ggml.scores` of token {id} is {score}")));
        }
        if text.len() > LONGEST {
            return Err(wrong(format_args!(
                "token {id}, {}, has {} bytes; at most {LONGEST} are read",
                quoted(text),
                text.len()
            )));
        }
        ids.insert(text, id);
    }
    let mut found = Vec::new();
    for ((id, text, _), score) in normal() {
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if ids.contains_key(left) && ids.contains_key(right) {
                found.push((*score, id, at, (left, right)));
            }
        }
    }
    let is_same = |one: f32, other: f32| one.total_cmp(&other).is_eq();
    let has_order = found.iter().any(|merge| !is_same(merge.0, found[0].0))
        || found.iter().all(|merge| merge.1 == found[0].1);
    if !has_order {
        return Ok(None);
    }
    // Of several ways to one token the one with the longer left part, as the tokenizers library converts it: merges
    // run from the left, so that it is on the left that long parts arise.
    found.sort_by(|one, other| {
        other.0.total_cmp(&one.0).then_with(|| (one.1, Reverse(one.2)).cmp(&(other.1, Reverse(other.2))))
    });
    Ok(Some(found.into_iter().map(|(.., merge)| merge).collect()))
}
