//! A decoder-only language model on libtorch: load it, run it, keep its activations, intervene, generate.
//!
//! One forward pass serves every family; a family is a small file that turns `config.json` and tensor names
//! into an [`Architecture`] and [`Weights`]. Hook names are those of TransformerLens, and interventions are
//! serialisable values.

#![deny(missing_docs)]

mod addressing;
pub mod architecture;
mod attention;
mod cache;
pub mod chat;
mod checkpoint;
mod decoder;
mod embedded;
mod error;
pub mod family;
mod files;
mod generate;
mod hook;
pub mod intervention;
mod kv_cache;
mod load;
mod mlp;
mod model;
mod norm;
mod plan;
mod process;
mod rotary;
mod sample;
mod tokenizer;
pub mod weights;
mod written;

pub use architecture::Architecture;
pub use cache::{ActivationCache, NameFilter};
pub use chat::{ChatOptions, ChatTemplate, Message};
pub use decoder::{LogitPositions, Output, Run};
pub use error::{Error, Result};
pub use files::ModelFiles;
pub use generate::{Generate, Generated, Outcome, StepView};
pub use hook::{Axes, Head, Hook, Point};
pub use intervention::{Action, Intervention, Positions, Schedule, Steps, When};
pub use kv_cache::KvCache;
pub use load::LoadOptions;
pub use model::Model;
pub use plan::{Plan, Sources};
pub use sample::{Choice, Decoding};
pub use tokenizer::{TextStream, Tokenizer};
pub use weights::Weights;
