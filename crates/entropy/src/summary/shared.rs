//! What the summaries share: items, the order of conditions, and how intervals are made.

use crate::stats::Draws;
use crate::table::Pool;

/// A phrase: its pool, and its number in it.
pub(super) type Item = (Pool, u32);

/// How intervals are made.
#[derive(Debug, Clone, Copy)]
pub struct Bootstrap {
    /// Resamples.
    pub resamples: usize,
    /// The run's seed.
    pub seed: u64,
}

impl Bootstrap {
    pub(super) fn of<'a>(&self, id: &'a str) -> Draws<'a> {
        Draws { resamples: self.resamples, seed: self.seed, id }
    }
}

/// The labels, each once, in the order in which they come.
pub(super) fn in_order<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut order = Vec::new();
    for label in labels {
        if !order.contains(&label) {
            order.push(label);
        }
    }
    order
}
