//! Random tokens that come again: the induction task, and repetition at a chosen depth.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::kind::{Task, TaskInfo};
use crate::error::{Error, Result};
use crate::pair::Pair;

/// What there is to know about the induction task.
pub(super) const INDUCTION: TaskInfo = TaskInfo {
    doc: "a block of random tokens, then its first half again: which token comes next?",
    length: Some(20),
    with: |length, _| Task::Induction { length },
};

/// What there is to know about repetition.
pub(super) const REPETITION: TaskInfo = TaskInfo {
    doc: "a phrase of random tokens several times (--depth), then its first half: which token comes next?",
    length: Some(6),
    with: |length, depth| Task::Repetition { length, depth },
};

/// A phrase of distinct random tokens, written `copies` times and then begun once more: `A B C D  A B C D  A B` -> C.
/// In the corrupted prompt the answer is another token, which the phrase does not hold, at each of its occurrences;
/// that token is the incorrect answer. With one copy this is the induction task, `A B ... A` -> B.
///
/// **Choice**: the last copy is cut at half of the phrase, so that all pairs have one length and the places that
/// matter are the same in all of them.
#[derive(Debug, Clone, Copy)]
pub struct Repeated<'a> {
    /// Tokens of the phrase.
    pub phrase: usize,
    /// Whole copies before the one that is cut: how often the answer has been seen.
    pub copies: usize,
    /// Tokens to draw from; no special ones.
    pub candidates: &'a [i64],
    /// Put first, if the model has it.
    pub bos: Option<i64>,
}

impl Repeated<'_> {
    /// Draws a pair.
    ///
    /// # Errors
    /// [`Error::Input`] for no phrase or no copy, or fewer candidates than the phrase has tokens and one.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Result<Pair> {
        if self.phrase == 0 || self.copies == 0 {
            return Err(Error::Input("what is repeated takes at least one token and one copy".into()));
        }
        let needed = self.phrase + 1;
        if self.candidates.len() < needed {
            return Err(Error::Input(format!(
                "a phrase of {} tokens and an incorrect answer take {needed} distinct tokens, the vocabulary has \
                 {}: choose a shorter phrase",
                self.phrase,
                self.candidates.len()
            )));
        }
        let mut tokens = self.candidates.to_vec();
        let (drawn, _) = tokens.partial_shuffle(rng, needed);
        let (other, phrase) = (drawn[0], &drawn[1..]);
        let cut = self.phrase / 2;
        let answer = phrase[cut];
        let clean: Vec<i64> = self
            .bos
            .into_iter()
            .chain(phrase.repeat(self.copies))
            .chain(phrase[..cut].iter().copied())
            .collect();
        let replace = |token: &i64| if *token == answer { other } else { *token };
        let first = usize::from(self.bos.is_some());
        let corrupted = clean[..first].iter().copied().chain(clean[first..].iter().map(replace)).collect();
        Ok(Pair { clean, corrupted, answer, foil: Some(other) })
    }
}

/// What the induction rule copies at the end of `context`: the token after the most recent earlier occurrence of the
/// last token. None if that is new.
pub fn induction_answer(context: &[i64]) -> Option<i64> {
    let (last, earlier) = context.split_last()?;
    let before = earlier.iter().rposition(|token| token == last)?;
    Some(context[before + 1])
}

/// The pair that asks for `answer`, which the induction rule copies somewhere in `context`. **Choice** (the paper
/// does not say how effects are built while generating): in the corrupted context that token is replaced, at each of
/// its occurrences, by one random token of `candidates` that the context does not hold. So a beginning of the two is
/// the pair of that beginning. None if no candidate is left.
pub fn induction_pair(
    context: &[i64],
    answer: i64,
    candidates: &[i64],
    rng: &mut ChaCha8Rng,
) -> Option<Pair> {
    let mut held = context.to_vec();
    held.sort_unstable();
    let fresh: Vec<i64> =
        candidates.iter().copied().filter(|token| held.binary_search(token).is_err()).collect();
    if fresh.is_empty() {
        return None;
    }
    let other = fresh[rng.random_range(0..fresh.len())];
    let corrupted = context.iter().map(|token| if *token == answer { other } else { *token }).collect();
    Some(Pair { clean: context.to_vec(), corrupted, answer, foil: Some(other) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_phrase_is_written_and_begun_again() {
        let candidates: Vec<i64> = (10..40).collect();
        for (phrase, copies, bos) in [(8, 1, Some(1)), (5, 3, None), (2, 7, Some(1)), (1, 4, Some(1))] {
            for seed in 0..50 {
                let task = Repeated { phrase, copies, candidates: &candidates, bos };
                let pair = task.draw(&mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
                let body = &pair.clean[usize::from(bos.is_some())..];
                assert_eq!(body.len(), phrase * copies + phrase / 2);
                assert!((phrase..body.len()).all(|i| body[i] == body[i - phrase]), "{body:?}");
                let mut distinct = body[..phrase].to_vec();
                distinct.sort_unstable();
                distinct.dedup();
                assert_eq!(distinct.len(), phrase);
                // What would continue the copy, seen once in each whole one.
                assert_eq!(pair.answer, body[body.len() - phrase]);
                let foil = pair.foil.unwrap();
                assert!(!body.contains(&foil));
                let differing: Vec<usize> =
                    (0..pair.clean.len()).filter(|i| pair.clean[*i] != pair.corrupted[*i]).collect();
                assert_eq!(differing.len(), copies);
                for i in differing {
                    assert_eq!((pair.clean[i], pair.corrupted[i]), (pair.answer, foil));
                }
            }
        }
    }

    #[test]
    fn every_position_of_the_vocabulary_is_drawn() {
        let candidates: Vec<i64> = (0..6).collect();
        let task = Repeated { phrase: 3, copies: 1, candidates: &candidates, bos: None };
        let mut answers = std::collections::BTreeSet::new();
        for seed in 0..100 {
            answers.insert(task.draw(&mut ChaCha8Rng::seed_from_u64(seed)).unwrap().answer);
        }
        assert_eq!(answers.len(), 6);
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let draw = |phrase, copies| {
            let task = Repeated { phrase, copies, candidates: &[1, 2, 3], bos: None };
            task.draw(&mut ChaCha8Rng::seed_from_u64(0))
        };
        assert!(draw(2, 1).is_ok());
        let error = draw(3, 1).unwrap_err().to_string();
        assert!(error.contains("take 4 distinct tokens, the vocabulary has 3"), "{error}");
        assert!(draw(0, 1).is_err() && draw(2, 0).is_err());
    }

    #[test]
    fn the_induction_rule_looks_at_the_most_recent_copy() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert_eq!(induction_answer(&[5, 6, 5, 7, 6, 5]), Some(7));
        let pair = induction_pair(&[5, 6, 5, 7, 6, 5], 7, &[6, 7, 9], &mut rng).unwrap();
        assert_eq!((pair.answer, pair.corrupted), (7, vec![5, 6, 5, 9, 6, 5]));
        // A single repeated token is its own successor.
        assert_eq!(induction_answer(&[1, 4, 4]), Some(4));
        let pair = induction_pair(&[1, 4, 4], 4, &[4, 8], &mut rng).unwrap();
        assert_eq!(pair.corrupted, [1, 8, 8]);
        assert_eq!((induction_answer(&[1, 2, 3]), induction_answer(&[])), (None, None));
        assert_eq!(induction_pair(&[1, 4, 4], 4, &[1, 4], &mut rng), None);
    }
}
