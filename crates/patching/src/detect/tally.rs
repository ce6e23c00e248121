//! What was summed so far.

use std::collections::BTreeMap;

use super::detector::Detector;

/// By detector and head: the sum on each sequence, and of each draw of the null over all sequences. Sums are added
/// in the order of sequences, observed and drawn alike.
#[derive(Debug)]
pub(super) struct Accumulator {
    heads: usize,
    sequences: usize,
    draws: usize,
    sums: BTreeMap<Detector, Sums>,
}

#[derive(Debug)]
struct Sums {
    /// Head by head.
    observed: Vec<f64>,
    /// Head by head.
    null: Vec<f64>,
}

impl Accumulator {
    pub(super) fn new(heads: usize, sequences: usize, draws: usize) -> Self {
        Accumulator { heads, sequences, draws, sums: BTreeMap::new() }
    }

    /// Adds `values`, sequence by sequence from number `first`: for each detector the observed sums of heads `from`
    /// to `from + heads`, then, where it has a null, those of each draw.
    pub(super) fn add(
        &mut self,
        detectors: &[Detector],
        (from, heads, first): (usize, usize, usize),
        has_null: bool,
        values: &[f64],
    ) {
        let draws = if has_null { self.draws } else { 0 };
        let mut lines = values.chunks_exact(heads);
        for sequence in first..first + values.len() / (heads * detectors.len() * (1 + draws)) {
            for detector in detectors {
                let sums = self.sums.entry(*detector).or_insert_with(|| Sums {
                    observed: vec![0.0; self.heads * self.sequences],
                    null: vec![0.0; self.heads * draws],
                });
                for (head, value) in (from..).zip(lines.next().unwrap_or_default()) {
                    sums.observed[head * self.sequences + sequence] = *value;
                }
                for draw in 0..draws {
                    for (head, value) in (from..).zip(lines.next().unwrap_or_default()) {
                        sums.null[head * draws + draw] += value;
                    }
                }
            }
        }
    }

    /// The head's sum on each sequence; empty if the detector was not run.
    pub(super) fn observed(&self, detector: Detector, head: usize) -> &[f64] {
        self.sums.get(&detector).map_or(&[], |sums| &sums.observed[head * self.sequences..][..self.sequences])
    }

    /// The head's total over the sequences, draw by draw; empty if there is no null.
    pub(super) fn null(&self, detector: Detector, head: usize) -> &[f64] {
        let draws = |sums: &Sums| sums.null.len() / self.heads.max(1);
        self.sums.get(&detector).map_or(&[], |sums| &sums.null[head * draws(sums)..][..draws(sums)])
    }
}
