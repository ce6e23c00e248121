//! A decoder-only language model on libtorch: load it, run it, keep its activations, intervene, generate.
//!
//! One forward pass serves every family; a family is a small file that turns `config.json` and tensor names
//! into an [`Architecture`] and [`Weights`]. Hook names are those of TransformerLens, and interventions are
//! serialisable values.

#![deny(missing_docs)]

mod addressing;
pub mod architecture;
mod attention;
mod block;
mod cache;
pub mod chat;
mod checkpoint;
mod context;
mod decoder;
pub mod device;
mod dtype;
mod embedded;
mod embedding;
mod error;
pub mod family;
mod files;
mod finite;
mod gemv;
mod generate;
mod hook;
mod hub;
mod hub_cache;
mod hub_error;
mod identity;
pub mod intervention;
mod kv_cache;
mod load;
mod mlp;
mod model;
mod norm;
mod panics;
mod plan;
mod process;
pub mod rotary;
mod sample;
mod shards;
mod tokenizer;
mod watch;
pub mod weights;
mod written;

pub use architecture::Architecture;
pub use cache::{ActivationCache, NameFilter};
pub use chat::{ChatOptions, ChatTemplate, Message};
pub use decoder::{LogitPositions, Output, Run};
pub use device::{DeviceChoice, Placement};
pub use dtype::{DTYPES, dtype, dtype_name};
pub use error::{Error, Result};
pub use files::ModelFiles;
pub use generate::{Generate, Generated, Outcome, StepView};
pub use hook::{Axes, Head, Hook, Point};
pub use hub::Hub;
pub use identity::{Identities, Identity, identities, identities_of};
pub use intervention::{Action, Intervention, Positions, Schedule, Steps, When};
pub use kv_cache::KvCache;
pub use load::LoadOptions;
pub use model::Model;
pub use plan::{Plan, Sources};
pub use sample::{Choice, Decoding};
pub use tokenizer::{TextStream, Tokenizer};
pub use watch::Watch;
pub use weights::Weights;
