//! A decoder-only language model on libtorch: load it, run it, keep its activations, intervene, generate.
//!
//! One forward pass serves every family; a family is a small file that turns `config.json` and tensor names
//! into an [`Architecture`] and [`Weights`]. Hook names are those of TransformerLens, and interventions are
//! serialisable values.

#![deny(missing_docs)]

pub mod architecture;
mod attention;
mod block;
mod cache;
mod checkpoint;
mod context;
mod decoder;
mod embedded;
mod embedding;
mod error;
pub mod family;
mod files;
mod generate;
mod hook;
mod identity;
pub mod intervention;
mod kv_cache;
mod load;
mod mlp;
mod model;
mod norm;
mod plan;
pub mod rotary;
mod sample;
mod tokenizer;
pub mod weights;

pub use architecture::Architecture;
pub use cache::{ActivationCache, NameFilter};
pub use decoder::{LogitPositions, Output, Run};
pub use error::{Error, Result};
pub use files::ModelFiles;
pub use generate::{Generate, Generated, Outcome, StepView};
pub use hook::{Axes, Head, Hook, Point};
pub use identity::{Identities, Identity, identities, identities_of};
pub use intervention::{Action, Intervention, Schedule, Steps};
pub use kv_cache::KvCache;
pub use load::LoadOptions;
pub use model::Model;
pub use plan::{Plan, Sources};
pub use sample::Decoding;
pub use tokenizer::Tokenizer;
pub use weights::Weights;
