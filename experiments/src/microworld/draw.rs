//! Random draws: where a document's generator comes from, and Zipf ranks.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Which documents: the splits draw from generators that cannot coincide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// What the model is trained on.
    Train,
    /// What it is measured on.
    HeldOut,
    /// What the mean length of a kind is estimated from.
    Calibration,
}

/// The generator of one unit of work. The four numbers are the key itself, not a hash of it, so two units share
/// a stream only if all four agree.
pub fn generator(split: Split, seed: u64, purpose: u64, index: u64) -> ChaCha8Rng {
    let split = match split {
        Split::Train => 1_u64,
        Split::HeldOut => 2,
        Split::Calibration => 3,
    };
    let mut key = [0_u8; 32];
    for (slot, part) in key.chunks_exact_mut(8).zip([split, seed, purpose, index]) {
        slot.copy_from_slice(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A rank below `len` with probability proportional to 1 / (rank + 1).
///
/// Inverts the continuous law, whose rank frequencies differ from exact Zipf by a few per cent only.
pub fn zipf(rng: &mut ChaCha8Rng, len: usize) -> usize {
    let top = (len as f64 + 1.0).ln();
    let rank = (rng.random::<f64>() * top).exp() as usize;
    rank.clamp(1, len) - 1
}

/// An integer in `low..=high`, uniform in its logarithm.
pub fn log_uniform(rng: &mut ChaCha8Rng, low: usize, high: usize) -> usize {
    let (bottom, top) = ((low as f64).ln(), (high as f64 + 1.0).ln());
    let value = (bottom + rng.random::<f64>() * (top - bottom)).exp() as usize;
    value.clamp(low, high)
}

/// A uniformly drawn element; `items` must not be empty.
pub fn pick<T: Copy>(rng: &mut ChaCha8Rng, items: &[T]) -> T {
    items[rng.random_range(0..items.len())]
}

/// An element drawn by Zipf rank; `items` must not be empty.
pub fn pick_zipf<T: Copy>(rng: &mut ChaCha8Rng, items: &[T]) -> T {
    items[zipf(rng, items.len())]
}

/// True with probability `p`.
pub fn chance(rng: &mut ChaCha8Rng, p: f64) -> bool {
    rng.random::<f64>() < p
}
