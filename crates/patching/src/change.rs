//! What is put in a site's place, and into which run.

use serde::{Deserialize, Serialize};

use crate::named::named;

named! {
    /// The two directions of patching.
    pub enum Direction("direction", "snake_case") {
        /// The clean run's value goes into the corrupted run: what suffices to restore the behaviour.
        Denoise,
        /// The corrupted run's value goes into the clean run: what is needed for it.
        Noise,
    }
}

/// What is put in a site's place, and into which run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The clean run's value into the corrupted run.
    Denoise,
    /// The corrupted run's value into the clean run.
    Noise,
    /// Zeros into the clean run.
    Zero,
    /// The mean over the clean prompts of the task into the clean run.
    Mean {
        /// Over positions too; else position by position, which takes prompts of one length.
        pooled: bool,
    },
    /// The value of another clean prompt of the same length, drawn at random, into the clean run.
    Resample {
        /// Of the draw.
        seed: u64,
    },
}

impl Change {
    /// Whether the run that is changed is the clean one.
    pub fn into_clean(self) -> bool {
        self != Change::Denoise
    }

    /// Its direction, for patching; ablations have none.
    pub fn direction(self) -> Option<Direction> {
        match self {
            Change::Denoise => Some(Direction::Denoise),
            Change::Noise => Some(Direction::Noise),
            Change::Zero | Change::Mean { .. } | Change::Resample { .. } => None,
        }
    }
}

impl From<Direction> for Change {
    fn from(direction: Direction) -> Change {
        match direction {
            Direction::Denoise => Change::Denoise,
            Direction::Noise => Change::Noise,
        }
    }
}
