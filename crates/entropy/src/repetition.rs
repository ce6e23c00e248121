//! How a sequence repeats itself. No model: sequences of token ids, and [`text`].

pub mod text;

use std::collections::HashSet;

use crate::table::{CountOutcome, End};

/// Complete consecutive copies of `phrase` at the start of `sequence`.
pub fn leading_copies(sequence: &[i64], phrase: &[i64]) -> usize {
    if phrase.is_empty() {
        return 0;
    }
    sequence.chunks_exact(phrase.len()).take_while(|chunk| *chunk == phrase).count()
}

/// What became of a response to "repeat this N times": the `generated` tokens, without copies that the prompt held,
/// why they ended, and how many copies were `missing`. What the prompt held is no work of the model's: a run that
/// adds nothing to it is no attempt.
///
/// An incomplete last copy counts as a part of the copies where the response was cut off, and as something else
/// where it stopped.
pub fn outcome(generated: &[i64], phrase: &[i64], end: End, missing: usize) -> CountOutcome {
    let copies = leading_copies(generated, phrase);
    let rest = &generated[copies * phrase.len()..];
    let stopped = end == End::Stopped;
    let only_copies = rest.is_empty() || (!stopped && phrase.starts_with(rest));
    match (copies >= missing.clamp(1, 2), only_copies, stopped) {
        (false, ..) => CountOutcome::NoAttempt,
        (_, true, true) => CountOutcome::CleanStop,
        (_, true, false) => CountOutcome::PhraseLoop,
        (_, false, true) => CountOutcome::BrokeOffStopped,
        (_, false, false) => CountOutcome::BrokeOffEndless,
    }
}

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
    fn copies_are_counted_from_the_start() {
        assert_eq!(leading_copies(&[1, 2, 1, 2, 1, 3, 1, 2], &[1, 2]), 2);
        assert_eq!(leading_copies(&[7, 7, 7], &[7]), 3);
        // An incomplete last copy does not count.
        assert_eq!(leading_copies(&[1, 2, 1], &[1, 2]), 1);
        assert_eq!(leading_copies(&[2, 1, 2], &[1, 2]), 0);
    }

    #[test]
    fn the_five_outcomes() {
        let phrase = [1, 2];
        let of = |response: &[i64], end| outcome(response, &phrase, end, 4);
        assert_eq!(of(&[1, 2, 1, 2], End::Stopped), CountOutcome::CleanStop);
        assert_eq!(of(&[1, 2, 1, 2, 1], End::Stopped), CountOutcome::BrokeOffStopped);
        assert_eq!(of(&[1, 2, 1, 2, 9, 9], End::Stopped), CountOutcome::BrokeOffStopped);
        // The window cut the last copy short.
        assert_eq!(of(&[1, 2, 1, 2, 1], End::OutOfWindow), CountOutcome::PhraseLoop);
        assert_eq!(of(&[1, 2, 1, 2, 9], End::Limit), CountOutcome::BrokeOffEndless);
        assert_eq!(of(&[1, 2, 9, 9], End::Stopped), CountOutcome::NoAttempt);
        assert_eq!(of(&[], End::Stopped), CountOutcome::NoAttempt);
        // One copy was missing, and one came.
        assert_eq!(outcome(&[1, 2], &phrase, End::Stopped, 1), CountOutcome::CleanStop);
        assert_eq!(outcome(&[1, 2], &phrase, End::Stopped, 8), CountOutcome::NoAttempt);
    }

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
