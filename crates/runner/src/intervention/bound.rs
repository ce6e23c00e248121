//! Interventions bound to a model and applied: the only place where an activation is changed.

use tch::Tensor;

use crate::architecture::Architecture;
use crate::cache::ActivationCache;
use crate::error::{Error, Result};
use crate::hook::{Axes, Hook};
use crate::intervention::addressing::{self, Columns};
use crate::intervention::{Action, Intervention, Phase, Schedule, StepIndex};

/// Runs that `Replace` can take values from, by name. A source's batch must equal the rows it replaces, or be 1.
pub type Sources<'a> = [(&'a str, &'a ActivationCache)];

/// Interventions checked against a model and its sources, ready to be applied.
#[derive(Debug, Default)]
pub struct BoundInterventions<'a> {
    bound: Vec<Bound<'a>>,
}

#[derive(Debug)]
struct Bound<'a> {
    hook: Hook,
    what: &'a Intervention,
    replacement: Option<&'a Tensor>,
}

impl<'a> BoundInterventions<'a> {
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
        Ok(BoundInterventions { bound: bound.collect::<Result<_>>()? })
    }

    /// Whether an intervention is meant for some rows of the batch only.
    pub(crate) fn names_rows(&self) -> bool {
        self.bound.iter().any(|bound| bound.what.rows.is_some())
    }

    /// Whether something is done at `hook`.
    pub(crate) fn touches(&self, hook: Hook) -> bool {
        self.bound.iter().any(|bound| bound.hook == hook)
    }

    /// The activation after every intervention at `hook`. `first_column` is the batch column of position 0; `real`,
    /// `[batch, columns so far]`, says which columns are no padding, none: all.
    pub(crate) fn apply(
        &self,
        hook: Hook,
        value: Tensor,
        first_column: usize,
        steps: StepIndex,
        real: Option<&Tensor>,
    ) -> Result<Tensor> {
        let columns = Columns { first: first_column, steps, real };
        let mut value = value;
        for bound in self.bound.iter().filter(|bound| bound.hook == hook) {
            value = bound.apply(&value, columns)?;
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
        if !arch.has(hook) {
            return wrong(format!("a {} model has no such activation", arch.family));
        }
        let n_heads = arch.heads(hook);
        match (&what.heads, n_heads) {
            (Some(_), None) => return wrong("this hook has no head axis".into()),
            (Some(heads), Some(n_heads)) => {
                if let Some(head) = heads.iter().find(|head| **head >= n_heads) {
                    return wrong(format!("head {head} does not exist: it has heads 0 to {}", n_heads - 1));
                }
                if (1..heads.len()).any(|i| heads[..i].contains(&heads[i])) {
                    return wrong("a head is named twice".into());
                }
            }
            (None, _) => {}
        }
        let empty = |list: &Option<Vec<usize>>| list.as_ref().is_some_and(Vec::is_empty);
        let no_position = what.positions.as_ref().is_some_and(|positions| positions.list().is_empty());
        if empty(&what.heads) || empty(&what.neurons) || no_position {
            return wrong("a list is empty: leave it out to mean all".into());
        }
        addressing::check(what, arch.n_ctx)?;
        if what.rows.is_some_and(|(first, end)| first >= end)
            || matches!(what.steps, Some(Phase::Steps(first, last)) if first > last)
        {
            return wrong("a range is empty".into());
        }
        if let Some(width) = arch.width(hook) {
            if let Some(neuron) = what.neurons.iter().flatten().find(|neuron| **neuron >= width) {
                return wrong(format!("entry {neuron} does not exist: there are {width}"));
            }
            if let Action::Add(vector) = &what.action
                && vector.len() != width
            {
                return wrong(format!("the vector to add has {} entries, not {width}", vector.len()));
            }
        }
        if let Action::Scale(factor) | Action::Schedule(Schedule::Constant { factor }) = what.action
            && !factor.is_finite()
        {
            return wrong(format!("the factor {factor} is no number"));
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

    fn apply(&self, value: &Tensor, columns: Columns<'_>) -> Result<Tensor> {
        let wrong = |text: String| Error::intervention(&self.what.hook, text);
        let (position_axis, head_axis) = match self.hook.point().axes() {
            Axes::Stream => (1, None),
            Axes::Heads | Axes::KvHeads => (1, Some(2)),
            Axes::Pairs => (2, Some(1)),
        };
        let size = value.size();
        let (row, end) = self.what.rows.unwrap_or((0, size[0] as usize));
        if end > size[0] as usize {
            return Err(wrong(format!("rows {row}..{end} do not exist in a batch of {}", size[0])));
        }
        let groups = addressing::groups(self.what, columns, row..end, size[position_axis as usize] as usize)?;
        if groups.is_empty() {
            return Ok(value.shallow_clone());
        }

        // Work on a copy: the caller's tensor may be cached or part of a graph.
        let mut changed = value.f_empty_like()?;
        changed.f_copy_(value)?;
        let target = changed.f_narrow(0, row as i64, (end - row) as i64)?;
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
                Some(source.f_to_device(value.device())?.f_to_kind(value.kind())?.f_expand_as(&target)?)
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
            for (rows, positions) in &groups {
                for (start, length) in runs(positions) {
                    let on_positions = |t: &Tensor| {
                        let of_rows = t.f_narrow(0, (rows.start - row) as i64, rows.len() as i64)?;
                        of_rows.f_narrow(position_axis, start as i64, length as i64)
                    };
                    let part = on_positions(&view)?;
                    let source = source.as_ref().map(on_positions).transpose()?;
                    let first = columns.first + start;
                    self.act(&part, source.as_ref(), position_axis, &|i| columns.steps.of(first + i))?;
                }
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
                for &neuron in neurons {
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
    fn positions_are_joined_into_runs() {
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8]), [(0, 3), (5, 1), (7, 2)]);
    }
}
