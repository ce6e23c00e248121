//! What is corrupted in a prompt of random tokens that repeats itself.

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::named::named;
use crate::pair::Pair;

named! {
    /// What the corrupted prompt of a copying task has other tokens for. It decides which heads can be seen.
    #[derive(Default)]
    pub enum Corruption("corruption", "snake_case") {
        /// The token to be copied, wherever it stands: shows the heads that copy it, and no previous-token head
        #[default]
        Value,
        /// The earlier tokens that the last one matches: shows previous-token heads too
        Match,
        /// All earlier copies: shows everything that repetition makes possible
        Copies,
    }
}

impl Corruption {
    /// `pair`, whose clean prompt ends in a token that stands earlier, too, with its corrupted prompt made anew.
    /// Replacements are drawn from the `candidates` that neither prompt holds; one token is replaced by the same
    /// one everywhere. Tokens before `from` (BOS) stay, and so does the last copy, of which `last` tokens are
    /// there.
    ///
    /// # Errors
    /// [`Error::Input`] if there are fewer candidates than tokens to replace.
    pub fn apply(
        self,
        pair: Pair,
        candidates: &[i64],
        (from, last): (usize, usize),
        rng: &mut ChaCha8Rng,
    ) -> Result<Pair> {
        let earlier = from..pair.clean.len() - last.max(1);
        let query = pair.clean[pair.clean.len() - 1];
        let mut replaced: Vec<i64> = match self {
            Corruption::Value => return Ok(pair),
            Corruption::Match => vec![query],
            // What is not repeated is not a copy: the fillers of the copy task stay.
            Corruption::Copies => pair.clean[pair.clean.len() - last.max(1)..].to_vec(),
        };
        if self == Corruption::Copies {
            replaced.push(pair.answer);
            if last > 1 {
                replaced.extend(&pair.clean[earlier.clone()]);
            }
        }
        replaced.sort_unstable();
        replaced.dedup();
        let fresh: Vec<i64> = candidates
            .iter()
            .copied()
            .filter(|token| !pair.clean.contains(token) && pair.foil != Some(*token))
            .collect();
        if fresh.len() < replaced.len() {
            return Err(Error::Input(format!(
                "the corruption `{self}` needs {} tokens that are not in the prompt, but only {} are available\n\
                 hint: choose a smaller length",
                replaced.len(),
                fresh.len()
            )));
        }
        let with: Vec<i64> = fresh.sample(rng, replaced.len()).copied().collect();
        let of = |(position, token): (usize, &i64)| match replaced.binary_search(token) {
            Ok(index) if earlier.contains(&position) => with[index],
            _ => *token,
        };
        let corrupted = pair.clean.iter().enumerate().map(of).collect();
        Ok(Pair { corrupted, ..pair })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn differing(pair: &Pair) -> Vec<usize> {
        (0..pair.clean.len()).filter(|i| pair.clean[*i] != pair.corrupted[*i]).collect()
    }

    #[test]
    fn each_corruption_changes_what_it_says() {
        let candidates: Vec<i64> = (10..60).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // BOS, then the phrase 20 21 22 23 twice, then its first half: 22 is to be copied.
        let clean = vec![1, 20, 21, 22, 23, 20, 21, 22, 23, 20, 21];
        let value: Vec<i64> = clean.iter().map(|token| if *token == 22 { 40 } else { *token }).collect();
        let pair = Pair { clean, corrupted: value, answer: 22, foil: Some(40) };
        let mut of =
            |corruption: Corruption| corruption.apply(pair.clone(), &candidates, (1, 2), &mut rng).unwrap();
        assert_eq!(differing(&of(Corruption::Value)), [3, 7]);
        // Where the last token stood before, and nowhere else.
        let matched = of(Corruption::Match);
        assert_eq!(differing(&matched), [2, 6]);
        assert_eq!(matched.corrupted[2], matched.corrupted[6]);
        let copies = of(Corruption::Copies);
        assert_eq!(differing(&copies), (1..9).collect::<Vec<_>>());
        // Still a repetition, of other tokens, which the last copy does not match.
        assert_eq!(copies.corrupted[1..5], copies.corrupted[5..9]);
        assert!(copies.corrupted[1..9].iter().all(|token| ![20, 21, 22, 23, 40].contains(token)));
    }

    #[test]
    fn of_the_copy_task_the_fillers_stay() {
        let candidates: Vec<i64> = (10..60).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let pair = Pair {
            clean: vec![30, 31, 20, 21, 32, 20],
            corrupted: vec![30, 31, 20, 40, 32, 20],
            answer: 21,
            foil: Some(40),
        };
        let mut of =
            |corruption: Corruption| corruption.apply(pair.clone(), &candidates, (0, 1), &mut rng).unwrap();
        assert_eq!(differing(&of(Corruption::Match)), [2]);
        assert_eq!(differing(&of(Corruption::Copies)), [2, 3]);
        assert!(Corruption::Copies.apply(pair, &[20, 21], (0, 1), &mut rng).is_err());
    }
}
