//! How a sequence repeats itself. No model: sequences of token ids, and of text [`text`] and [`mod@format`].

pub mod format;
pub mod text;

use std::collections::HashSet;

/// The trailing cycle (Mahaut & Franzon 2025): the smallest size s in `sizes` such that the last s tokens are
/// preceded by at least one more identical copy.
pub fn trailing_cycle(sequence: &[i64], sizes: std::ops::RangeInclusive<usize>) -> Option<usize> {
    let n = sequence.len();
    sizes
        .take_while(|size| 2 * size <= n)
        .filter(|size| *size > 0)
        .find(|size| sequence[n - size..] == sequence[n - 2 * size..n - size])
}

/// rep-n = 1 - unique n-grams / n-grams (Welleck et al. 2020); none if there is no n-gram.
pub fn rep_n(sequence: &[i64], n: usize) -> Option<f64> {
    if n == 0 || sequence.len() < n {
        return None;
    }
    let grams = sequence.windows(n);
    let total = grams.len() as f64;
    let unique = grams.collect::<HashSet<_>>().len() as f64;
    Some(1.0 - unique / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_trailing_cycle() {
        assert_eq!(trailing_cycle(&[9, 1, 2, 3, 1, 2, 3], 2..=500), Some(3));
        assert_eq!(trailing_cycle(&[5, 5, 5, 5], 1..=500), Some(1));
        assert_eq!(trailing_cycle(&[5, 5, 5, 5], 2..=500), Some(2));
        assert_eq!(trailing_cycle(&[1, 2, 3, 1, 2], 2..=500), None);
    }

    #[test]
    fn repeated_n_grams() {
        // 4 bigrams, 2 of them different: 12 21 12 21.
        assert_eq!(rep_n(&[1, 2, 1, 2, 1], 2), Some(0.5));
        assert_eq!(rep_n(&[1, 2, 3], 2), Some(0.0));
        assert_eq!(rep_n(&[1], 2), None);
    }
}
