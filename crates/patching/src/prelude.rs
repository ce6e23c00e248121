//! What most programs need: `use refrain_patching::prelude::*;`. The runner's prelude is in it.

pub use refrain_runner::prelude::*;

pub use crate::change::{Change, Direction};
pub use crate::component::{Component, Site};
pub use crate::decompose::{At, Before, HeadResults, ResidualDecomposition, ResidualStack};
pub use crate::heads_sweep::patch_heads;
pub use crate::metric::Metric;
pub use crate::pair::Pair;
pub use crate::select::strongest;
pub use crate::sweep::Sweep;
pub use crate::task::Task;
pub use ndarray;
