//! What an intervention does to an activation.

use serde::{Deserialize, Serialize};

use super::source::Source;

/// What is done to an activation. Written as data: `"zero"`, `{"scale": 0.5}`, `{"set": 0.0}`, `{"add": [0.1, ...]}`,
/// `{"clamp": {"min": -1.0}}`, `{"project_out": [1.0, ...]}`, `{"replace": "run"}`, `{"mean": {"source": "run"}}`,
/// `{"schedule": "linear"}`.
///
/// Vectors have as many entries as the last axis of the hook. They are rounded to the activation's dtype.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Set to zero.
    Zero,
    /// Multiply by a constant.
    Scale(f64),
    /// Multiply by a factor that depends on the generation step.
    Schedule(Schedule),
    /// Set to a number, or to a vector along the last axis.
    Set(Value),
    /// Add the vector along the last axis.
    Add(Vec<f64>),
    /// Cut values below `min` to `min` and those above `max` to `max`; one of the two may be left out.
    Clamp {
        /// The smallest value that stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
        /// The largest value that stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
    /// Remove the component along this direction of the last axis: x becomes x - d (d . x) / (d . d), at each position
    /// and in each head (directional ablation, Arditi et al. 2024, arXiv 2406.11717). The length of d does not matter.
    ProjectOut(Vec<f64>),
    /// Take the value that the run named here had at this hook (see [`crate::BoundInterventions::new`]).
    Replace(Source),
    /// Take the mean of a reference run at this hook.
    Mean(Mean),
}

/// What [`Action::Set`] sets to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list of as many as the hook's last axis has entries")]
pub enum Value {
    /// The same everywhere.
    Number(f64),
    /// One for each entry of the last axis.
    Vector(Vec<f64>),
}

/// The mean of a reference run at the hook, over its rows and their real positions; padding does not count. It is
/// taken in f64. Heads keep means of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// The reference run's name (see [`crate::BoundInterventions::new`]).
    pub source: Source,
    /// A mean for each position instead of one for all: the t-th token of a row gets the mean of the t-th tokens of
    /// those reference rows that have so many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_position: bool,
}

/// Factors over the generation step t (Wang et al. 2025, arXiv 2505.13514, with factors above 1 cut to 1: as
/// published, the logarithm amplifies at t = 0).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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

impl Action {
    /// The run that values are taken from, if any are.
    pub fn source(&self) -> Option<&Source> {
        match self {
            Action::Replace(source) | Action::Mean(Mean { source, .. }) => Some(source),
            _ => None,
        }
    }

    /// The same, to be given the run itself.
    pub fn source_mut(&mut self) -> Option<&mut Source> {
        match self {
            Action::Replace(source) | Action::Mean(Mean { source, .. }) => Some(source),
            _ => None,
        }
    }

    /// The vector along the last axis, if there is one.
    pub(crate) fn vector(&self) -> Option<&[f64]> {
        match self {
            Action::Set(Value::Vector(vector)) | Action::Add(vector) | Action::ProjectOut(vector) => {
                Some(vector)
            }
            _ => None,
        }
    }

    /// What is wrong with its numbers, whatever the hook.
    pub(crate) fn fault(&self) -> Option<String> {
        let not_finite = |what: &str, numbers: &[f64]| {
            let wrong = numbers.iter().find(|number| !number.is_finite())?;
            Some(format!("{what} {wrong} is not a finite number"))
        };
        match self {
            Action::Zero | Action::Schedule(Schedule::Linear) | Action::Replace(_) | Action::Mean(_) => None,
            Action::Scale(factor) | Action::Schedule(Schedule::Constant { factor }) => {
                not_finite("the factor", &[*factor])
            }
            Action::Schedule(Schedule::Log { c }) => not_finite("the shift c", &[*c]),
            Action::Set(Value::Number(value)) => not_finite("the value", &[*value]),
            Action::Set(Value::Vector(vector)) => not_finite("an entry of the vector to set,", vector),
            Action::Add(vector) => not_finite("an entry of the vector to add,", vector),
            Action::Clamp { min: None, max: None } => Some("a clamp needs min, max or both".into()),
            Action::Clamp { min, max } => {
                let (low, high) = (min.unwrap_or(0.0), max.unwrap_or(0.0));
                let reversed = min.is_some() && max.is_some() && low > high;
                not_finite("the bound", &[low, high])
                    .or_else(|| reversed.then(|| format!("min {low} is above max {high}")))
            }
            Action::ProjectOut(direction) => {
                let zero = direction.iter().all(|entry| *entry == 0.0);
                not_finite("an entry of the direction,", direction)
                    .or_else(|| zero.then(|| "the direction is the zero vector".into()))
            }
        }
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
    fn actions_are_readable_data() {
        let source = Source::from("run");
        for (action, text) in [
            (Action::Zero, r#""zero""#),
            (Action::Scale(0.5), r#"{"scale":0.5}"#),
            (Action::Schedule(Schedule::Linear), r#"{"schedule":"linear"}"#),
            (Action::Set(Value::Number(1.5)), r#"{"set":1.5}"#),
            (Action::Set(Value::Vector(vec![1.0, 2.0])), r#"{"set":[1.0,2.0]}"#),
            (Action::Add(vec![1.0]), r#"{"add":[1.0]}"#),
            (Action::Clamp { min: Some(-1.0), max: None }, r#"{"clamp":{"min":-1.0}}"#),
            (Action::Clamp { min: Some(-1.0), max: Some(2.0) }, r#"{"clamp":{"min":-1.0,"max":2.0}}"#),
            (Action::ProjectOut(vec![1.0, 0.0]), r#"{"project_out":[1.0,0.0]}"#),
            (Action::Replace(source.clone()), r#"{"replace":"run"}"#),
            (
                Action::Mean(Mean { source: source.clone(), per_position: false }),
                r#"{"mean":{"source":"run"}}"#,
            ),
            (
                Action::Mean(Mean { source, per_position: true }),
                r#"{"mean":{"source":"run","per_position":true}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&action).unwrap(), text);
            assert_eq!(serde_json::from_str::<Action>(text).unwrap(), action);
        }
        for wrong in [
            r#"{"clamp":{"minimum":1.0}}"#,
            r#"{"mean":{"source":"run","positions":true}}"#,
            r#"{"set":"one"}"#,
            r#"{"schedule":{"log":{"d":1.0}}}"#,
        ] {
            assert!(serde_json::from_str::<Action>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let fault = |action: Action| action.fault().unwrap_or_default();
        assert!(fault(Action::Clamp { min: None, max: None }).contains("needs min"));
        assert!(fault(Action::Clamp { min: Some(2.0), max: Some(1.0) }).contains("above max"));
        assert!(fault(Action::Clamp { min: Some(f64::NAN), max: None }).contains("not a finite number"));
        assert!(fault(Action::Set(Value::Number(f64::INFINITY))).contains("not a finite number"));
        assert!(fault(Action::Set(Value::Vector(vec![0.0, f64::NAN]))).contains("not a finite number"));
        assert!(fault(Action::Add(vec![f64::NAN])).contains("not a finite number"));
        assert!(fault(Action::ProjectOut(vec![0.0, 0.0])).contains("zero vector"));
        assert!(fault(Action::Schedule(Schedule::Log { c: f64::NAN })).contains("not a finite number"));
        assert_eq!(Action::Clamp { min: Some(1.0), max: Some(1.0) }.fault(), None);
        assert_eq!(Action::ProjectOut(vec![0.0, 1e-3]).fault(), None);
    }
}
