//! What may come next in a text that repeats itself: the continuation that followed its last few tokens before.

use std::collections::HashMap;

/// Tokens that must have occurred before.
const GRAM: usize = 3;

/// Where every n-gram of a growing text was last.
#[derive(Debug, Default)]
pub(super) struct Ngrams {
    /// The end of the last occurrence that has a token after it.
    ends: HashMap<[i64; GRAM], usize>,
    /// N-grams that end before it are known.
    known: usize,
}

impl Ngrams {
    /// What followed the last tokens of `text` when they occurred last, `most` tokens; none if they did not. A text
    /// must go on from the one of the call before.
    pub(super) fn propose(&mut self, text: &[i64], most: usize) -> Option<Vec<i64>> {
        for end in self.known.max(GRAM)..text.len() {
            if let Some(gram) = text[end - GRAM..end].first_chunk::<GRAM>() {
                self.ends.insert(*gram, end);
            }
        }
        self.known = self.known.max(text.len());
        let end = *self.ends.get(text.last_chunk::<GRAM>()?)?;
        // Where the earlier occurrence has not enough after it, the text has this period.
        Some(text[end..].iter().copied().cycle().take(most).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_followed_the_last_occurrence() {
        let mut ngrams = Ngrams::default();
        assert_eq!(ngrams.propose(&[1, 2, 3], 4), None);
        assert_eq!(ngrams.propose(&[1, 2, 3, 4, 5, 1, 2, 3], 2), Some(vec![4, 5]));
        assert_eq!(ngrams.propose(&[1, 2, 3, 4, 5, 1, 2, 3, 9, 1, 2, 3], 1), Some(vec![9]));
        // Of a period, more than there is.
        let mut ngrams = Ngrams::default();
        assert_eq!(ngrams.propose(&[7, 8, 5, 6, 5, 6, 5], 5), Some(vec![6, 5, 6, 5, 6]));
        assert_eq!(Ngrams::default().propose(&[5, 5, 5, 5], 3), Some(vec![5, 5, 5]));
        assert_eq!(Ngrams::default().propose(&[1, 1], 3), None);
    }
}
