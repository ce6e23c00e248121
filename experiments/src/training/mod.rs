//! Training of the built-in model on the microworld, through the project's own decoder.
//!
//! Everything that a step needs is a function of the settings and the step's number, so a run that is killed
//! and continued ends with the same weights and the same table as one that is not.

mod adamw;
mod cli;
mod evaluate;
mod export;
mod measure;
mod run;
mod settings;
mod state;
mod table;

pub use adamw::AdamW;
pub use cli::{TrainArgs, run};
pub use evaluate::evaluate;
pub use export::{write_checkpoint, write_model};
pub use measure::{HeldOut, prefix_matching};
pub use run::{Progress, default_path, train};
pub use settings::{Optimiser, Phase, Precision, Settings, Shape};
pub use table::{LossRow, TrainingLoss};

/// The models of this repository are trained and measured in f32, and stored in f16 only to be small.
#[cfg(test)]
fn in_f32() -> refrain_runner::LoadOptions {
    refrain_runner::LoadOptions { kind: Some(tch::Kind::Float), ..Default::default() }
}

#[cfg(test)]
mod shipped;
#[cfg(test)]
mod tests;
