//! Which positions, and which phase of a generation, an intervention means.

use serde::{Deserialize, Serialize};

/// Positions, counted in one of three ways. Written as `{"tokens": [0, 4]}`, `{"from_end": [1]}` or
/// `{"columns": [0, 4]}`.
///
/// In a batch of the prompts `a b c` and `d e`, padded on the left, that is continued by one token:
///
/// |                        | `a`, padding | `b`, `d` | `c`, `e` | new token |
/// |------------------------|--------------|----------|----------|-----------|
/// | `columns`              | 0            | 1        | 2        | 3         |
/// | `tokens` of `a b c`    | 0            | 1        | 2        | 3         |
/// | `tokens` of `d e`      |              | 0        | 1        | 2         |
/// | `from_end` of `a b c`  | 3            | 2        | 1        |           |
/// | `from_end` of `d e`    |              | 2        | 1        |           |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Positions in each row's own text, from 0, its first real token; padding has none. What an intervention means
    /// does not depend on what else is in the batch.
    Tokens(Vec<usize>),
    /// Positions in each row's prompt from its end: 1 is its last token, 2 the one before. Generated tokens have none.
    /// Where no prompt is told from what follows ([`StepIndex`]), the end is that of all columns run so far.
    FromEnd(Vec<usize>),
    /// Columns of the batch, from 0, padding counted.
    Columns(Vec<usize>),
}

impl Positions {
    /// The numbers, however they count.
    pub fn list(&self) -> &[usize] {
        match self {
            Positions::Tokens(list) | Positions::FromEnd(list) | Positions::Columns(list) => list,
        }
    }
}

/// A phase of generation. Written as `"prefill"`, `"decode"` or `{"between": [3, 7]}`. A run that is no generation
/// ([`StepIndex::default`]) is all prefill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The prompt: step 0.
    Prefill,
    /// Every generated token: steps 1, 2, ...
    Decode,
    /// These steps, first and last inclusive. What is changed at step t bears on the choice of token t + 1, counted
    /// from 1.
    #[serde(rename = "between")]
    Steps(usize, usize),
}

impl Phase {
    /// Whether `step` is meant.
    pub fn holds(self, step: usize) -> bool {
        match self {
            Phase::Prefill => step == 0,
            Phase::Decode => step > 0,
            Phase::Steps(first, last) => (first..=last).contains(&step),
        }
    }
}

/// Which generation step a column of the batch belongs to. The columns of the prompt are step 0; the column of
/// the t-th generated token is step t, and what it predicts is token t + 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepIndex {
    /// Columns of the prompt; none: every column is step 0.
    pub prompt_columns: Option<usize>,
}

impl StepIndex {
    /// The step of `column`.
    pub fn of(self, column: usize) -> usize {
        self.prompt_columns.map_or(0, |prompt| (column + 1).saturating_sub(prompt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_step_zero() {
        let steps = StepIndex { prompt_columns: Some(5) };
        assert_eq!([0, 4, 5, 9].map(|column| steps.of(column)), [0, 0, 1, 5]);
        assert_eq!(StepIndex::default().of(9), 0);
    }

    #[test]
    fn places_are_readable_data() {
        for (positions, text) in [
            (Positions::Columns(vec![1]), r#"{"columns":[1]}"#),
            (Positions::Tokens(vec![0, 2]), r#"{"tokens":[0,2]}"#),
            (Positions::FromEnd(vec![1]), r#"{"from_end":[1]}"#),
        ] {
            assert_eq!(serde_json::to_string(&positions).unwrap(), text);
            assert_eq!(serde_json::from_str::<Positions>(text).unwrap(), positions);
        }
        for (phase, text) in [
            (Phase::Prefill, r#""prefill""#),
            (Phase::Decode, r#""decode""#),
            (Phase::Steps(1, 2), r#"{"between":[1,2]}"#),
        ] {
            assert_eq!(serde_json::to_string(&phase).unwrap(), text);
            assert_eq!(serde_json::from_str::<Phase>(text).unwrap(), phase);
        }
        assert!(serde_json::from_str::<Positions>("[1,2]").is_err());
    }
}
