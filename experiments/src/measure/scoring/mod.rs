//! Scores of sites on pairs of prompts, by any method: work cut into parts, and the rows of tables that it comes
//! down to.

mod circuits;
mod detectors;
mod direct;
mod edges;
mod job;
mod jobs;
mod positions;
mod rows;
mod settings;

use refrain_patching::{Method, MethodKind};

pub use edges::Receiver;
pub use job::Job;
pub use jobs::Jobs;
pub use positions::site;
pub use rows::Labels;
pub use settings::{RepeatedSequences, Scoring};

/// Whether `--verify` and the table `approximation` lay a method beside activation patching: it estimates sites.
pub fn is_verifiable(method: Method) -> bool {
    method.info().kind == MethodKind::Estimate && method != Method::PathAttribution
}
