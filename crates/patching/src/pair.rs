//! Pairs of prompts, clean and corrupted, of equal length.

use rand::RngExt;
use refrain_entropy::stats::rng;

use crate::error::{Error, Result};

/// A clean prompt, a corrupted one, and the tokens that metrics look at after the last position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The prompt whose activations are patched in (denoising), or that is patched (noising).
    pub clean: Vec<i64>,
    /// The prompt that differs from it in what matters.
    pub corrupted: Vec<i64>,
    /// The token that the clean prompt calls for.
    pub answer: i64,
    /// The token that the corrupted prompt, or a mistake, calls for; logit differences need it.
    pub foil: Option<i64>,
}

impl Pair {
    /// The first position where the prompts differ; none if they are equal.
    pub fn first_difference(&self) -> Option<usize> {
        self.clean.iter().zip(&self.corrupted).position(|(a, b)| a != b)
    }

    /// The beginnings of both prompts, up to the token at `position`.
    ///
    /// # Errors
    /// [`Error::Input`] if one of them does not have it.
    pub fn until(&self, position: usize) -> Result<Pair> {
        match (self.clean.get(..=position), self.corrupted.get(..=position)) {
            (Some(clean), Some(corrupted)) => {
                Ok(Pair { clean: clean.to_vec(), corrupted: corrupted.to_vec(), ..*self })
            }
            _ => {
                Err(Error::Input(format!("a pair of {} tokens has no position {position}", self.clean.len())))
            }
        }
    }
}

/// Indices into `pairs`, grouped so that all prompts of a group have one length, at most `most` pairs each: by
/// length, then by the first position that differs, which is where a restarted run begins.
///
/// # Errors
/// [`Error::Length`] naming the first pair whose prompts differ in length; [`Error::Input`] if there is no pair or one
/// is empty.
pub fn batches(pairs: &[Pair], most: usize) -> Result<Vec<Vec<usize>>> {
    if pairs.is_empty() {
        return Err(Error::Input("there is no pair to patch".into()));
    }
    for (index, pair) in pairs.iter().enumerate() {
        let (clean, corrupted) = (pair.clean.len(), pair.corrupted.len());
        if clean != corrupted {
            return Err(Error::Length { pair: index, clean, corrupted });
        }
        if clean == 0 {
            return Err(Error::Input(format!("pair {index}: the prompts are empty")));
        }
    }
    let key = |index: usize| (pairs[index].clean.len(), pairs[index].first_difference());
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by_key(|index| key(*index));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for index in order {
        match batches.last_mut() {
            Some(batch)
                if batch.len() < most.max(1) && pairs[batch[0]].clean.len() == pairs[index].clean.len() =>
            {
                batch.push(index);
            }
            _ => batches.push(vec![index]),
        }
    }
    Ok(batches)
}

/// Another pair than `index` with a clean prompt of its length, at random: for resampling.
pub(crate) fn other(pairs: &[Pair], index: usize, seed: u64) -> Result<usize> {
    let length = pairs[index].clean.len();
    let fits = |other: &usize| *other != index && pairs[*other].clean.len() == length;
    let others: Vec<usize> = (0..pairs.len()).filter(fits).collect();
    if others.is_empty() {
        return Err(Error::Input(format!(
            "pair {index}: no other prompt has its {length} tokens, so there is nothing to resample from\n\
             hint: give more pairs of that length, or ablate by zero or a pooled mean"
        )));
    }
    Ok(others[rng(seed, &format!("resample/{index}")).random_range(0..others.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(clean: &[i64], corrupted: &[i64]) -> Pair {
        Pair { clean: clean.to_vec(), corrupted: corrupted.to_vec(), answer: 0, foil: None }
    }

    #[test]
    fn a_batch_has_one_length() {
        let pairs = [
            pair(&[1, 2, 3], &[1, 2, 4]),
            pair(&[1, 2], &[1, 4]),
            pair(&[1, 2, 3], &[9, 2, 3]),
            pair(&[1, 2, 3], &[1, 2, 3]),
        ];
        assert_eq!(batches(&pairs, 2).unwrap(), [vec![1], vec![3, 2], vec![0]]);
        assert_eq!(batches(&pairs, 9).unwrap(), [vec![1], vec![3, 2, 0]]);
    }

    #[test]
    fn unequal_lengths_are_refused_by_name() {
        let pairs = [pair(&[1, 2], &[1, 3]), pair(&[1, 2, 3], &[1, 2])];
        let message = batches(&pairs, 4).unwrap_err().to_string();
        assert!(
            message.contains("pair 1") && message.contains("3 tokens") && message.contains('2'),
            "{message}"
        );
        assert!(batches(&[], 4).is_err());
    }
}
