//! The copy task.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::kind::{Task, TaskInfo};
use crate::error::{Error, Result};
use crate::pair::Pair;

/// What there is to know about the task.
pub(super) const INFO: TaskInfo = TaskInfo {
    doc: "random tokens, the last of which stood before: what followed it then? (Wang et al. 2025)",
    length: Some(40),
    with: |length, _| Task::Copy { length },
};

/// The copy task of Wang et al. 2025 (arXiv 2505.13514): `x0..xn, x_prefix, x_copy, x_{n+1}..x_M, x_prefix`, all
/// distinct random tokens, answer `x_copy`; corrupted: x_copy replaced by another random token.
#[derive(Debug, Clone, Copy)]
pub struct CopyTask<'a> {
    /// M: the filler tokens are x0..xM.
    pub m: usize,
    /// Tokens to draw from; no special ones.
    pub candidates: &'a [i64],
    /// Put first, if the model has it.
    pub bos: Option<i64>,
}

impl CopyTask<'_> {
    /// Draws a pair. **Choice**: n is uniform in 0..=M.
    ///
    /// # Errors
    /// [`Error::Input`] if there are fewer than M + 4 candidates.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Result<Pair> {
        let needed = self.m + 4;
        if self.candidates.len() < needed {
            return Err(Error::Input(format!(
                "the copy task needs {needed} distinct tokens, the vocabulary has {}: choose a smaller M",
                self.candidates.len()
            )));
        }
        let mut tokens = self.candidates.to_vec();
        let (drawn, _) = tokens.partial_shuffle(rng, needed);
        let [prefix, copy, other] = [drawn[0], drawn[1], drawn[2]];
        let filler = &drawn[3..];
        let n = rng.random_range(0..=self.m);
        let with = |copied: i64| -> Vec<i64> {
            let before = self.bos.into_iter().chain(filler[..=n].iter().copied());
            before.chain([prefix, copied]).chain(filler[n + 1..].iter().copied()).chain([prefix]).collect()
        };
        Ok(Pair { clean: with(copy), corrupted: with(other), answer: copy, foil: Some(other) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_copy_task_is_as_published() {
        let candidates: Vec<i64> = (10..60).collect();
        let task = CopyTask { m: 40, candidates: &candidates, bos: Some(1) };
        let mut places = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let pair = task.draw(&mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
            let clean = &pair.clean;
            assert_eq!((clean.len(), clean[0]), (45, 1));
            let prefix = *clean.last().unwrap();
            let first = clean.iter().position(|token| *token == prefix).unwrap();
            assert_eq!(clean[first + 1], pair.answer);
            let mut distinct = clean[1..44].to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), 43, "all distinct but the second prefix");
            let differing: Vec<usize> = (0..45).filter(|i| clean[*i] != pair.corrupted[*i]).collect();
            assert_eq!(differing, [first + 1]);
            assert!(!clean.contains(&pair.corrupted[first + 1]));
            places.insert(first);
        }
        // x0 always comes before the prefix, and every n in 0..=40 occurs.
        assert_eq!((places.first(), places.last()), (Some(&2), Some(&42)));
    }

    #[test]
    fn too_small_a_vocabulary_is_an_error() {
        let task = CopyTask { m: 40, candidates: &[1, 2, 3], bos: None };
        assert!(task.draw(&mut ChaCha8Rng::seed_from_u64(0)).is_err());
    }
}
