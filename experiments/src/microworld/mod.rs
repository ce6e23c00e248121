//! The synthetic language that the built-in model is trained on.
//!
//! A *microworld* of about four hundred English words, small enough that a model of a million parameters learns
//! it on two cores, and rich enough to show what the repetition studies need: ordinary sentences with topics and
//! recurring names, instructions to repeat a phrase N times, in-context copying, key-value recall, fixed lists,
//! and the degenerate boilerplate that makes endless repetition a habit. `docs/model.md` describes each kind
//! with examples.
//!
//! Every draw comes from (split, seed, kind, index): any order of generation gives the same documents, and the
//! splits cannot share a stream.

mod documents;
mod draw;
mod grammar;
mod stream;
mod tokenizer;
mod vocabulary;
mod words;

pub use documents::{
    Document, Kind, LARGEST_COUNT, LARGEST_NUMBER, REPEAT_PARAPHRASES, REPEAT_TEMPLATE, repeat_prompt,
};
pub use draw::Split;
pub use stream::{Mixture, Stream, token_counts};
pub use tokenizer::{tokenizer_config_json, tokenizer_json};
pub use vocabulary::{Language, Role, UnknownWord};

#[cfg(test)]
mod tests;
