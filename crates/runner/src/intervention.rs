//! Interventions are data: where (hook, heads, neurons, positions, steps, rows) and what (zero, scale, add,
//! replace, schedule). Patching, ablation, descaling and steering are all values of [`Intervention`].

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::architecture::Architecture;
use crate::cache::ActivationCache;
use crate::error::{Error, Result};
use crate::hook::{Axes, Head, Hook, Point};

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
    /// Take the value that the run named here had at this hook (see [`Sources`]).
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

/// Runs that `Replace` can take values from, by name. A source's batch must equal the rows it replaces, or be 1.
pub type Sources<'a> = [(&'a str, &'a ActivationCache)];

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

/// Interventions checked against a model and its sources, ready to be applied.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    bound: Vec<Bound<'a>>,
}

#[derive(Debug)]
struct Bound<'a> {
    hook: Hook,
    what: &'a Intervention,
    replacement: Option<&'a Tensor>,
}

impl<'a> Plan<'a> {
    /// Checks `interventions` against `architecture`; they are applied in the order given.
    ///
    /// # Errors
    /// [`Error::UnknownHook`], or [`Error::Intervention`] naming the index that does not exist, the axis that
    /// the hook does not have, or the source that is not given.
    pub fn new(
        architecture: &Architecture,
        interventions: &'a [Intervention],
        sources: &Sources<'a>,
    ) -> Result<Self> {
        let bound = interventions.iter().map(|what| Bound::new(architecture, what, sources));
        Ok(Plan { bound: bound.collect::<Result<_>>()? })
    }

    /// Whether an intervention is meant for some rows of the batch only.
    pub(crate) fn names_rows(&self) -> bool {
        self.bound.iter().any(|bound| bound.what.rows.is_some())
    }

    /// Whether something is done at `hook`.
    pub(crate) fn touches(&self, hook: Hook) -> bool {
        self.bound.iter().any(|bound| bound.hook == hook)
    }

    /// The activation after every intervention at `hook`. `first_column` is the batch column of position 0.
    pub(crate) fn apply(
        &self,
        hook: Hook,
        value: Tensor,
        first_column: usize,
        steps: Steps,
    ) -> Result<Tensor> {
        let mut value = value;
        for bound in self.bound.iter().filter(|bound| bound.hook == hook) {
            value = bound.apply(&value, first_column, steps)?;
        }
        Ok(value)
    }
}

impl<'a> Bound<'a> {
    fn new(arch: &Architecture, what: &'a Intervention, sources: &Sources<'a>) -> Result<Self> {
        let hook: Hook = what.hook.parse()?;
        let wrong = |text: String| Err(Error::intervention(&what.hook, text));
        if hook.layer().is_some_and(|layer| layer >= arch.n_layers) {
            return wrong(format!("the model has layers 0 to {}", arch.n_layers - 1));
        }
        if !arch.has(hook.point()) {
            return wrong(format!("a {} model has no such activation", arch.family));
        }
        let axes = hook.point().axes();
        let n_heads = match axes {
            Axes::Stream => 0,
            Axes::KvHeads => arch.n_kv_heads,
            Axes::Heads | Axes::Pairs => arch.n_heads,
        };
        match &what.heads {
            Some(_) if axes == Axes::Stream => return wrong("this hook has no head axis".into()),
            Some(heads) => {
                if let Some(head) = heads.iter().find(|head| **head >= n_heads) {
                    return wrong(format!("head {head} does not exist: it has heads 0 to {}", n_heads - 1));
                }
                if (1..heads.len()).any(|i| heads[..i].contains(&heads[i])) {
                    return wrong("a head is named twice".into());
                }
            }
            None => {}
        }
        if what.rows.is_some_and(|(first, end)| first >= end) {
            return wrong("the range of rows is empty".into());
        }
        let replacement = match &what.action {
            Action::Replace(name) => {
                let Some((_, cache)) = sources.iter().find(|(known, _)| known == name) else {
                    return wrong(format!("no run named `{name}` is given to replace from"));
                };
                Some(cache.get(hook)?)
            }
            _ => None,
        };
        Ok(Bound { hook, what, replacement })
    }

    fn apply(&self, value: &Tensor, first_column: usize, steps: Steps) -> Result<Tensor> {
        let wrong = |text: String| Error::intervention(&self.what.hook, text);
        let (position_axis, head_axis) = match self.hook.point().axes() {
            Axes::Stream => (1, None),
            Axes::Heads | Axes::KvHeads => (1, Some(2)),
            Axes::Pairs => (2, Some(1)),
        };
        let size = value.size();
        let columns = size[position_axis as usize] as usize;
        // The positions of this call that are meant: by column and by step.
        let meant = |position: &usize| {
            let column = first_column + position;
            self.what.positions.as_ref().is_none_or(|list| list.contains(&column))
                && self.what.steps.is_none_or(|(first, last)| (first..=last).contains(&steps.of(column)))
        };
        let positions: Vec<usize> = (0..columns).filter(meant).collect();
        if positions.is_empty() {
            return Ok(value.shallow_clone());
        }
        let (row, end) = self.what.rows.unwrap_or((0, size[0] as usize));
        if end > size[0] as usize {
            return Err(wrong(format!("rows {row}..{end} do not exist in a batch of {}", size[0])));
        }
        let cut = |tensor: &Tensor| tensor.f_narrow(0, row as i64, (end - row) as i64);

        // Work on a copy: the caller's tensor may be cached or part of a graph.
        let mut changed = value.f_empty_like()?;
        changed.f_copy_(value)?;
        let target = cut(&changed)?;
        let source = match self.replacement {
            None => None,
            Some(source) => {
                let found = source.size();
                let rows_fit = found[0] == (end - row) as i64 || found[0] == 1;
                if !rows_fit || found[1..] != size[1..] {
                    return Err(wrong(format!(
                        "the replacing run has shape {found:?}, which does not fit {:?}",
                        target.size()
                    )));
                }
                Some(source.f_to_kind(value.kind())?.f_expand_as(&target)?)
            }
        };
        let heads: Vec<Option<usize>> = match &self.what.heads {
            Some(heads) => heads.iter().map(|head| Some(*head)).collect(),
            None => vec![None],
        };
        for head in heads {
            let on_head = |tensor: &Tensor| -> Result<Tensor> {
                Ok(match (head, head_axis) {
                    (Some(head), Some(axis)) => tensor.f_narrow(axis, head as i64, 1)?,
                    _ => tensor.shallow_clone(),
                })
            };
            let view = on_head(&target)?;
            let source = source.as_ref().map(on_head).transpose()?;
            for (start, length) in runs(&positions) {
                let on_positions = |t: &Tensor| t.f_narrow(position_axis, start as i64, length as i64);
                let part = on_positions(&view)?;
                let source = source.as_ref().map(on_positions).transpose()?;
                let first = first_column + start;
                self.act(&part, source.as_ref(), position_axis, &|i| steps.of(first + i))?;
            }
        }
        Ok(changed)
    }

    /// Changes `part`, a view, in place; `step` tells the generation step of its i-th position.
    fn act(
        &self,
        part: &Tensor,
        source: Option<&Tensor>,
        position_axis: i64,
        step: &dyn Fn(usize) -> usize,
    ) -> Result<()> {
        let new = match (&self.what.action, source) {
            (Action::Zero, _) => part.f_zeros_like()?,
            (Action::Scale(factor), _) => part.f_mul_scalar(*factor)?,
            (Action::Schedule(schedule), _) => {
                let count = part.size()[position_axis as usize];
                let factors: Vec<f64> = (0..count as usize).map(|i| schedule.factor(step(i))).collect();
                let mut shape = vec![1; part.dim()];
                shape[position_axis as usize] = count;
                let factors = Tensor::f_from_slice(&factors)?.f_to_device(part.device())?;
                part.f_mul(&factors.f_to_kind(part.kind())?.f_reshape(&shape)?)?
            }
            (Action::Add(vector), _) => {
                let wanted = part.size().last().copied().unwrap_or(0);
                if vector.len() as i64 != wanted {
                    let text = format!("the vector to add has {} entries, not {wanted}", vector.len());
                    return Err(Error::intervention(&self.what.hook, text));
                }
                let vector = Tensor::f_from_slice(vector)?.f_to_device(part.device())?;
                part.f_add(&vector.f_to_kind(part.kind())?)?
            }
            (Action::Replace(_), Some(source)) => source.shallow_clone(),
            (Action::Replace(name), None) => {
                return Err(Error::intervention(&self.what.hook, format!("no run named `{name}`")));
            }
        };
        match &self.what.neurons {
            None => part.shallow_clone().f_copy_(&new)?,
            Some(neurons) => {
                let last = part.size().last().copied().unwrap_or(0);
                for &neuron in neurons {
                    if neuron as i64 >= last {
                        let text = format!("neuron {neuron} does not exist: there are {last}");
                        return Err(Error::intervention(&self.what.hook, text));
                    }
                    let axis = part.dim() as i64 - 1;
                    part.f_narrow(axis, neuron as i64, 1)?.f_copy_(&new.f_narrow(
                        axis,
                        neuron as i64,
                        1,
                    )?)?;
                }
            }
        }
        Ok(())
    }
}

/// The maximal runs of consecutive numbers in an ascending list, as (start, length).
fn runs(positions: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &position in positions {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == position => *length += 1,
            _ => runs.push((position, 1)),
        }
    }
    runs
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
    fn positions_are_joined_into_runs() {
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8]), [(0, 3), (5, 1), (7, 2)]);
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
