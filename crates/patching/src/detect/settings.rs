//! What the detectors are to measure, and on what.

use super::detector::Detector;
use super::repeated_sequence::RepeatedSequence;

/// What [`super::run`] is to measure, and on what.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// The sequences' form; sequence i is drawn from the stream `probe/i` of the seed.
    pub probe: RepeatedSequence<'a>,
    /// How many sequences.
    pub sequences: usize,
    /// What is measured.
    pub detectors: Vec<Detector>,
    /// For [`Detector::Copying`]: the logits of how many tokens a token's is compared with, itself included. They
    /// are the sequence's own drawn ones, all of them, and then random candidates, anew for each sequence; at most
    /// all candidates. The score falls as this grows: the scale that makes a share of a half 1 was made for about as
    /// many tokens as a short sequence has.
    pub compared: usize,
    /// Bootstrap resamples of the sequences, for the intervals.
    pub resamples: usize,
    /// Draws of the null, K. With 0 there is no p-value.
    pub null_draws: usize,
    /// Of every random number.
    pub seed: u64,
    /// About how much memory the activations of one batch of sequences may take. Nothing else depends on it, but for
    /// rounding.
    pub memory_bytes: usize,
}

impl<'a> Settings<'a> {
    /// Every detector on 5 sequences, 50 tokens compared, 1000 resamples, 200 draws, seed 0, a gibibyte.
    pub fn new(probe: RepeatedSequence<'a>) -> Self {
        Settings {
            probe,
            sequences: 5,
            detectors: Detector::ALL.to_vec(),
            compared: 50,
            resamples: 1000,
            null_draws: 200,
            seed: 0,
            memory_bytes: 1 << 30,
        }
    }
}
