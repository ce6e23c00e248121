//! What most programs need: `use refrain_runner::prelude::*;`.

pub use crate::cache::{ActivationCache, NameFilter};
pub use crate::forward::{LogitPositions, Run};
pub use crate::generate::{Decoding, Generate};
pub use crate::hook::{Head, Hook, HookPoint};
pub use crate::intervention::{Action, BoundInterventions, Intervention, Positions};
pub use crate::intervention_file::LoadedInterventions;
pub use crate::language_model::{LanguageModel, Prompt};
pub use crate::load::{LoadOptions, ModelFiles};
pub use crate::model::Model;
pub use crate::tap::Edit;
pub use crate::tokenizer::Tokenizer;
