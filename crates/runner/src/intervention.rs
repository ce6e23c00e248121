//! Interventions are data: where (hook, heads, neurons, positions, steps, rows) and what (zero, scale, add,
//! replace, schedule). Patching, ablation, descaling and steering are all values of [`Intervention`].

use serde::{Deserialize, Serialize};

use crate::hook::{Head, Hook, Point};

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
    /// Columns of the batch, padding counted, from 0 (query positions at `pattern`); none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<Vec<usize>>,
    /// Generation steps, first and last inclusive; none: all. Prefill is step 0, see [`Steps`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<(usize, usize)>,
    /// Rows of the batch, first and one past the last; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<(usize, usize)>,
    /// What is done there.
    pub action: Action,
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
    /// Take the value that the run named here had at this hook (see [`crate::Plan::new`]).
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
pub struct Steps {
    /// Columns of the prompt; none: every column is step 0.
    pub prompt_columns: Option<usize>,
}

impl Steps {
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
                let hook = Hook::block(layer, Point::Z);
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
        let steps = Steps { prompt_columns: Some(5) };
        assert_eq!([0, 4, 5, 9].map(|column| steps.of(column)), [0, 0, 1, 5]);
        assert_eq!(Steps::default().of(9), 0);
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
