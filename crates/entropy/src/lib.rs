//! What a next-token distribution tells: entropy, toxicity, perplexity; how a text repeats itself; and the
//! statistics that say how far a number can be trusted.
//!
//! The statistics ([`stats`]) and the repetition metrics ([`repetition`]) know no model. Logarithms are natural
//! and entropy is in nats everywhere.

#![deny(missing_docs)]

pub mod distribution;
mod error;
pub mod repetition;
pub mod schema;
pub mod stats;
pub mod summary;
pub mod table;
pub mod toxicity;

pub use error::{Error, Result};
