//! Bad input, full disks and kills: a clear error or a clean resume, never a panic, never half a table.

mod configuration;
mod disks;
mod folders;
mod hub;
mod model_files;
mod overflow;
mod weight_files;

use refrain_tests::Result;
use refrain_tests::program::Place;

/// A place for the program. It stands here and not in refrain-tests because cargo tells only a test of the same
/// package where the binary is, and builds it first.
fn place() -> Result<Place> {
    Place::new(env!("CARGO_BIN_EXE_repetition-curse"))
}
