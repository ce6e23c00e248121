//! What most programs need: `use refrain_runner::prelude::*;`.
//!
//! The usual points are here by name, so that a place reads `Z.layer(9).head(6)`; the others are `HookPoint::...`. So
//! is `tch`, of the version that the runner is built with.

pub use crate::cache::{ActivationCache, NameFilter};
pub use crate::forward::{LogitPositions, Run};
pub use crate::generate::{Decoding, Generate};
pub use crate::hook::HookPoint::{
    AttnOut, AttnScores, Embed, K, MlpOut, MlpPost, MlpPre, Pattern, PosEmbed, Q, ResidMid, ResidPost,
    ResidPre, V, Z,
};
pub use crate::hook::{Head, Hook, HookPoint};
pub use crate::intervention::{Action, BoundInterventions, Intervention, Phase, Positions};
pub use crate::intervention_file::LoadedInterventions;
pub use crate::language_model::{LanguageModel, Prompt};
pub use crate::load::{LoadOptions, ModelFiles};
pub use crate::model::Model;
pub use crate::place::Place;
pub use crate::prompt_run::PromptRun;
pub use crate::prompted::Prompted;
pub use crate::tap::{Edit, Edited};
pub use crate::tokenizer::Tokenizer;
pub use tch::{self, Kind, Tensor};
