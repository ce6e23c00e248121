//! What a vocabulary has no token for. Kinds of tokenizers differ in what they make of it: an unknown token, or
//! nothing.

use tokenizers::{Encoding, ModelWrapper, Tokenizer};

/// Pieces that a message names.
const SHOWN: usize = 8;

/// Whether `model` leaves out what it does not know: BPE without an unknown token.
pub(super) fn left_out(model: &ModelWrapper) -> bool {
    matches!(model, ModelWrapper::BPE(bpe) if bpe.get_unk_token().is_none())
}

fn unknown_token(model: &ModelWrapper) -> Option<&str> {
    match model {
        ModelWrapper::BPE(bpe) => bpe.get_unk_token().as_deref(),
        ModelWrapper::WordLevel(words) => Some(&words.unk_token),
        ModelWrapper::WordPiece(pieces) => Some(&pieces.unk_token),
        ModelWrapper::Unigram(_) => None,
    }
}

/// The pieces of `text` that became the unknown token, what stands side by side as one.
pub(super) fn replaced<'a>(text: &'a str, encoding: &Encoding, tokenizer: &Tokenizer) -> Vec<&'a str> {
    let unknown = unknown_token(tokenizer.get_model());
    let unigram = matches!(tokenizer.get_model(), ModelWrapper::Unigram(_));
    let mut found: Vec<(usize, usize)> = Vec::new();
    let tokens = encoding.get_ids().iter().zip(encoding.get_tokens()).zip(encoding.get_offsets());
    for ((id, token), (from, to)) in tokens {
        // Unigram gives the unknown token's id to a token that it writes as the text.
        let is_unknown = match unigram {
            true => tokenizer.id_to_token(*id).as_ref() != Some(token),
            false => Some(token.as_str()) == unknown,
        };
        if !is_unknown || unknown == Some(part(text, *from, *to).trim()) {
            continue;
        }
        match found.last_mut() {
            Some((_, end)) if *end >= *from => *end = *to,
            _ => found.push((*from, *to)),
        }
    }
    found
        .into_iter()
        .map(|(from, to)| part(text, from, to).trim())
        .filter(|piece| !piece.is_empty())
        .collect()
}

/// The words of `text`, between blanks, with letters or digits that no token stands for. The words and not the letters:
/// where something was left out the library's offsets tell how much, not what. Other characters may be dropped on
/// purpose, by a normalizer.
pub(super) fn uncovered<'a>(text: &'a str, offsets: &[(usize, usize)]) -> Vec<&'a str> {
    let mut covered = vec![false; text.len()];
    for (from, to) in offsets {
        let part = covered.get_mut(*from..(*to).min(text.len())).unwrap_or_default();
        part.fill(true);
    }
    let start = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    let lacking = |word: &&str| {
        let at = start(word);
        word.char_indices().any(|(index, letter)| letter.is_alphanumeric() && !covered[at + index])
    };
    text.split_whitespace().filter(lacking).collect()
}

/// `text` between two offsets, as far as characters go.
fn part(text: &str, from: usize, to: usize) -> &str {
    let from = (0..=from.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let to = (to..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(from..to).unwrap_or_default()
}

pub(super) fn message(unknown: &[String]) -> String {
    let shown: Vec<String> = unknown.iter().take(SHOWN).map(|piece| format!("{piece:?}")).collect();
    let more = match unknown.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "the vocabulary has no token for {}{more}\nhint: use words of the model's own language",
        shown.join(", ")
    )
}
