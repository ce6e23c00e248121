//! The repeated random sequences that detectors run on.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// The form of a sequence: `block` random tokens, `copies` times, after BOS where the model has one.
#[derive(Debug, Clone, Copy)]
pub struct RepeatedSequence<'a> {
    /// Tokens of the block, P.
    pub block: usize,
    /// How often it is repeated.
    pub copies: usize,
    /// Tokens to draw from, uniformly and with replacement.
    pub candidates: &'a [i64],
    /// Put first.
    pub bos: Option<i64>,
}

impl RepeatedSequence<'_> {
    /// Draws the tokens of a sequence.
    ///
    /// # Errors
    /// [`Error::Input`] if there is nothing to draw from or to repeat.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Result<Vec<i64>> {
        if self.candidates.is_empty() || self.block == 0 || self.copies < 2 {
            return Err(Error::Input(
                "a repeated sequence needs tokens to draw from, a block of at least one token, and 2 copies"
                    .into(),
            ));
        }
        let block: Vec<i64> =
            (0..self.block).map(|_| self.candidates[rng.random_range(0..self.candidates.len())]).collect();
        Ok(self.bos.into_iter().chain(block.repeat(self.copies)).collect())
    }

    /// Tokens of a sequence, T.
    pub fn length(&self) -> usize {
        self.first_drawn() + self.block * self.copies
    }

    /// Where the first copy begins.
    pub(super) fn first_drawn(&self) -> usize {
        usize::from(self.bos.is_some())
    }

    /// The first query that counts: the first of the second copy.
    pub(super) fn first_query(&self) -> usize {
        self.first_drawn() + self.block
    }
}
