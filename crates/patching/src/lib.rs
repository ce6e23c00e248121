//! Which heads cause what: activation patching on prompt pairs, and detectors that read attention patterns.
//!
//! Every score here is exact: a patched run is a run. What makes it fast is that a patch at layer l leaves
//! everything below l as it was, so a run starts there, for all heads of the layer at once.

#![deny(missing_docs)]

pub mod detect;
mod error;
mod select;
mod sweep;
pub mod table;
mod task;

pub use error::{Error, Result};
pub use select::strongest;
pub use sweep::{Swept, normalised_effect, patch_heads};
pub use task::{CopyTask, Pair, induction_pair};
