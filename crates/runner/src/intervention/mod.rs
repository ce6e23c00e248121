//! Interventions are data: where (hook, heads, neurons, positions, steps, rows) and what (zero, scale, add,
//! replace, schedule). Patching, ablation, descaling and steering are all values of [`Intervention`].

mod addressing;
mod bound;

use serde::{Deserialize, Serialize};

use crate::hook::{Head, Hook, HookPoint};

pub use bound::{BoundInterventions, Sources};

/// One change of the forward pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervention {
    /// The hook's name, e.g. `blocks.3.attn.hook_z`.
    pub hook: String,
    /// Heads within the layer (at hooks that have a head axis); none: all. At `k` and `v` these are key/value heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<Vec<usize>>,
    /// Entries of the last axis (neurons at `mlp.hook_post`); none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neurons: Option<Vec<usize>>,
    /// Which positions (query positions at `pattern`); none: all. See [`Positions`] for how they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<Positions>,
    /// In which phase of a generation; none: all. A position must be meant by both this and `positions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Phase>,
    /// Rows of the batch, first and one past the last; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<(usize, usize)>,
    /// What is done there.
    pub action: Action,
}

/// Positions, counted in one of three ways. Written as `{"tokens": [0, 4]}`, `{"from_end": [1]}` or
/// `{"columns": [0, 4]}`; a bare list means columns.
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
#[serde(rename_all = "snake_case", from = "WrittenPositions")]
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

/// How [`Positions`] may be written.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenPositions {
    Bare(Vec<usize>),
    Counted(CountedPositions),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum CountedPositions {
    Tokens(Vec<usize>),
    FromEnd(Vec<usize>),
    Columns(Vec<usize>),
}

impl From<WrittenPositions> for Positions {
    fn from(written: WrittenPositions) -> Self {
        match written {
            WrittenPositions::Bare(list) | WrittenPositions::Counted(CountedPositions::Columns(list)) => {
                Positions::Columns(list)
            }
            WrittenPositions::Counted(CountedPositions::Tokens(list)) => Positions::Tokens(list),
            WrittenPositions::Counted(CountedPositions::FromEnd(list)) => Positions::FromEnd(list),
        }
    }
}

/// A phase of generation. Written as `"prefill"`, `"decode"` or the steps, `[3, 7]`. A run that is no generation
/// ([`StepIndex::default`]) is all prefill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenSteps", into = "WrittenSteps")]
pub enum Phase {
    /// The prompt: step 0.
    Prefill,
    /// Every generated token: steps 1, 2, ...
    Decode,
    /// These steps, first and last inclusive. What is changed at step t bears on the choice of token t + 1, counted
    /// from 1.
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

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenSteps {
    Phase(WrittenPhase),
    Steps((usize, usize)),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenPhase {
    Prefill,
    Decode,
}

impl From<WrittenSteps> for Phase {
    fn from(written: WrittenSteps) -> Self {
        match written {
            WrittenSteps::Phase(WrittenPhase::Prefill) => Phase::Prefill,
            WrittenSteps::Phase(WrittenPhase::Decode) => Phase::Decode,
            WrittenSteps::Steps((first, last)) => Phase::Steps(first, last),
        }
    }
}

impl From<Phase> for WrittenSteps {
    fn from(when: Phase) -> Self {
        match when {
            Phase::Prefill => WrittenSteps::Phase(WrittenPhase::Prefill),
            Phase::Decode => WrittenSteps::Phase(WrittenPhase::Decode),
            Phase::Steps(first, last) => WrittenSteps::Steps((first, last)),
        }
    }
}

/// What is done to an activation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Set to zero.
    Zero,
    /// Multiply by a constant.
    Scale(f64),
    /// Multiply by a factor that depends on the generation step.
    Schedule(Schedule),
    /// Add the vector along the last axis.
    Add(Vec<f64>),
    /// Take the value that the run named here had at this hook (see [`crate::BoundInterventions::new`]).
    Replace(String),
}

/// Factors over the generation step t (Wang et al. 2025, arXiv 2505.13514, with factors above 1 cut to 1: as
/// published, the logarithm amplifies at t = 0).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// min(1, 1 / ln(t + c)), 1 where the logarithm is not positive.
    Log {
        /// Shift of the step.
        c: f64,
    },
    /// min(1, 1 / t), 1 at t = 0.
    Linear,
    /// The same factor at every step, prefill included.
    Constant {
        /// The factor.
        factor: f64,
    },
}

impl Schedule {
    /// The factor at step `t`.
    pub fn factor(self, t: usize) -> f64 {
        let inverse = |x: f64| if x <= 1.0 { 1.0 } else { 1.0 / x };
        match self {
            // For t + c < 1 the logarithm is negative and for 0 undefined: no descaling yet.
            Schedule::Log { c } => inverse((t as f64 + c).max(1.0).ln()),
            Schedule::Linear => inverse(t as f64),
            Schedule::Constant { factor } => factor,
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

impl Intervention {
    /// `action` at `hook`, everywhere.
    pub fn new(hook: Hook, action: Action) -> Self {
        Intervention {
            hook: hook.to_string(),
            heads: None,
            neurons: None,
            positions: None,
            steps: None,
            rows: None,
            action,
        }
    }

    /// `action` on the output z of each of `heads`: one intervention per layer.
    pub fn on_heads(heads: &[Head], action: &Action) -> Vec<Self> {
        let mut by_layer = std::collections::BTreeMap::<usize, Vec<usize>>::new();
        for head in heads {
            by_layer.entry(head.layer).or_default().push(head.head);
        }
        by_layer
            .into_iter()
            .map(|(layer, heads)| {
                let hook = Hook::block(layer, HookPoint::Z);
                Intervention { heads: Some(heads), ..Intervention::new(hook, action.clone()) }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_never_amplify() {
        let log = Schedule::Log { c: 2.0 };
        // ln 2 < 1: as published this would be a factor of 1.44.
        assert_eq!(log.factor(0), 1.0);
        assert!((log.factor(10) - 1.0 / 12f64.ln()).abs() < 1e-15);
        assert_eq!(Schedule::Log { c: 0.0 }.factor(0), 1.0);
        assert_eq!((Schedule::Linear.factor(0), Schedule::Linear.factor(4)), (1.0, 0.25));
    }

    #[test]
    fn the_prompt_is_step_zero() {
        let steps = StepIndex { prompt_columns: Some(5) };
        assert_eq!([0, 4, 5, 9].map(|column| steps.of(column)), [0, 0, 1, 5]);
        assert_eq!(StepIndex::default().of(9), 0);
    }

    #[test]
    fn places_are_readable_data() {
        let read = |text: &str| {
            let text = format!(r#"{{"hook":"hook_embed",{text},"action":"zero"}}"#);
            let read: Intervention = serde_json::from_str(&text).unwrap();
            let again: Intervention = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
            assert_eq!(read, again);
            (read.positions, read.steps)
        };
        assert_eq!(read(r#""positions":[1,2]"#).0, Some(Positions::Columns(vec![1, 2])));
        assert_eq!(read(r#""positions":{"columns":[1]}"#).0, Some(Positions::Columns(vec![1])));
        assert_eq!(read(r#""positions":{"tokens":[0]}"#).0, Some(Positions::Tokens(vec![0])));
        assert_eq!(read(r#""positions":{"from_end":[1]}"#).0, Some(Positions::FromEnd(vec![1])));
        assert_eq!(read(r#""steps":[1,2]"#).1, Some(Phase::Steps(1, 2)));
        assert_eq!(read(r#""steps":"prefill""#).1, Some(Phase::Prefill));
        assert_eq!(read(r#""steps":"decode""#).1, Some(Phase::Decode));
    }

    #[test]
    fn an_intervention_is_readable_data() {
        let heads = [Head { layer: 2, head: 1 }, Head { layer: 2, head: 3 }];
        let made = Intervention::on_heads(&heads, &Action::Schedule(Schedule::Log { c: 2.0 }));
        let text = serde_json::to_string(&made).unwrap();
        assert_eq!(
            text,
            r#"[{"hook":"blocks.2.attn.hook_z","heads":[1,3],"action":{"schedule":{"log":{"c":2.0}}}}]"#
        );
        assert_eq!(serde_json::from_str::<Vec<Intervention>>(&text).unwrap(), made);
    }
}
