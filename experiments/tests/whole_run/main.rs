//! Whole runs of `repetition-curse` on a tiny model: what it prints, what makes runs equal, what stands in the
//! tables, and whether the numbers are right.

mod asking;
mod counts;
mod documented;
mod dtypes;
mod heads;
mod likelihoods;
mod provenance;
mod seeds;
mod settings;
mod slow;
mod streams;
mod traces;
mod wordings;

use refrain_tests::Result;
use refrain_tests::program::Place;

/// A place for the program. It stands here and not in refrain-tests because cargo tells only a test of the same
/// package where the binary is, and builds it first.
fn place() -> Result<Place> {
    Place::new(env!("CARGO_BIN_EXE_repetition-curse"))
}
