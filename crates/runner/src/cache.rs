//! Activations kept from a run, and the filter that says which.

use std::collections::{BTreeMap, BTreeSet};

use tch::Tensor;

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::hook::{Hook, HookPoint};

/// Which hooks a run keeps.
#[derive(Debug, Clone, Default)]
pub struct NameFilter {
    all: bool,
    points: BTreeSet<HookPoint>,
    hooks: BTreeSet<Hook>,
}

impl NameFilter {
    /// Nothing.
    pub fn none() -> Self {
        NameFilter::default()
    }

    /// Everything.
    pub fn all() -> Self {
        NameFilter { all: true, ..NameFilter::default() }
    }

    /// These points, in every layer.
    pub fn points(points: &[HookPoint]) -> Self {
        NameFilter { points: points.iter().copied().collect(), ..NameFilter::default() }
    }

    /// These hooks only.
    pub fn hooks(hooks: &[Hook]) -> Self {
        NameFilter { hooks: hooks.iter().copied().collect(), ..NameFilter::default() }
    }

    /// What either keeps.
    pub fn and(mut self, other: NameFilter) -> Self {
        self.all |= other.all;
        self.points.extend(other.points);
        self.hooks.extend(other.hooks);
        self
    }

    /// Reads names; `blocks.*.attn.hook_z` means every layer.
    ///
    /// # Errors
    /// [`Error::UnknownHook`] for a name that does not exist.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self> {
        let mut filter = NameFilter::default();
        for name in names {
            match name.as_ref().strip_prefix("blocks.*.") {
                Some(_) => {
                    let first: Hook = name.as_ref().replacen('*', "0", 1).parse()?;
                    filter.points.insert(first.point());
                }
                None => {
                    filter.hooks.insert(name.as_ref().parse()?);
                }
            }
        }
        Ok(filter)
    }

    /// Refuses hooks that the model does not have. Points meant for every layer may be absent.
    pub(crate) fn check(&self, arch: &Architecture) -> Result<()> {
        let missing = |hook: &&Hook| !arch.has(**hook);
        match self.hooks.iter().find(missing) {
            None => Ok(()),
            Some(hook) => Err(Error::Input(format!(
                "`{hook}` cannot be kept: this {} model of {} layers has none",
                arch.family, arch.n_layers
            ))),
        }
    }

    /// Whether `hook` is kept.
    pub fn wants(&self, hook: Hook) -> bool {
        self.all || self.points.contains(&hook.point()) || self.hooks.contains(&hook)
    }
}

impl From<HookPoint> for NameFilter {
    fn from(point: HookPoint) -> Self {
        NameFilter::points(&[point])
    }
}

impl<const N: usize> From<[HookPoint; N]> for NameFilter {
    fn from(points: [HookPoint; N]) -> Self {
        NameFilter::points(&points)
    }
}

impl From<&[HookPoint]> for NameFilter {
    fn from(points: &[HookPoint]) -> Self {
        NameFilter::points(points)
    }
}

impl From<Hook> for NameFilter {
    fn from(hook: Hook) -> Self {
        NameFilter::hooks(&[hook])
    }
}

impl From<&[Hook]> for NameFilter {
    fn from(hooks: &[Hook]) -> Self {
        NameFilter::hooks(hooks)
    }
}

/// The activations of one run, by hook. Tensors keep their graph unless the run was under `no_grad`.
#[derive(Debug, Default)]
pub struct ActivationCache {
    tensors: BTreeMap<Hook, Tensor>,
    /// The columns of the run, where it was one; none for activations from elsewhere.
    columns: Option<RunColumns>,
}

/// Which columns of the batch a run computed.
#[derive(Debug)]
struct RunColumns {
    first: usize,
    count: usize,
    /// Which of them are real, `[batch, count]` bool; none: all.
    real: Option<Tensor>,
}

impl AsRef<ActivationCache> for ActivationCache {
    fn as_ref(&self) -> &ActivationCache {
        self
    }
}

impl ActivationCache {
    /// Keeps `tensor` as the activation at `hook`: what a run is to take from elsewhere than another run.
    pub fn insert(&mut self, hook: Hook, tensor: Tensor) {
        self.tensors.insert(hook, tensor);
    }

    /// Adds the activations of another part of the same run.
    pub(crate) fn extend(&mut self, other: ActivationCache) {
        self.tensors.extend(other.tensors);
    }

    /// Drops the activations that are not to be kept.
    pub(crate) fn keep(&mut self, wanted: impl Fn(Hook) -> bool) {
        self.tensors.retain(|hook, _| wanted(*hook));
    }

    /// The same for another thread (tensors can be sent but not shared). Nothing is copied.
    pub fn shallow_clone(&self) -> Self {
        let tensors = self.tensors.iter().map(|(hook, tensor)| (*hook, tensor.shallow_clone()));
        let columns = self
            .columns
            .as_ref()
            .map(|columns| RunColumns { real: columns.real.as_ref().map(Tensor::shallow_clone), ..*columns });
        ActivationCache { tensors: tensors.collect(), columns }
    }

    /// Says that the activations are those of `count` columns from `first` on, of which `real`, `[batch, count]`,
    /// says which are no padding.
    pub(crate) fn set_columns(&mut self, first: usize, count: usize, real: Option<Tensor>) {
        self.columns = Some(RunColumns { first, count, real });
    }

    /// The column of the batch that the run began with.
    pub(crate) fn first_column(&self) -> usize {
        self.columns.as_ref().map_or(0, |columns| columns.first)
    }

    /// Columns that the run computed, if this is known.
    pub(crate) fn n_columns(&self) -> Option<usize> {
        self.columns.as_ref().map(|columns| columns.count)
    }

    /// Which columns are real tokens, `[batch, pos]` bool; none: all, as far as is known.
    pub fn real(&self) -> Option<&Tensor> {
        self.columns.as_ref()?.real.as_ref()
    }

    /// The activation at `hook`.
    ///
    /// # Errors
    /// [`Error::Input`] if the run did not keep it.
    pub fn get(&self, hook: Hook) -> Result<&Tensor> {
        self.tensors.get(&hook).ok_or_else(|| {
            Error::Input(format!(
                "`{hook}` is not in the cache: the run's name filter left it out, or this model has none"
            ))
        })
    }

    /// The activation at `point` in `layer`.
    ///
    /// # Errors
    /// As [`ActivationCache::get`].
    pub fn block(&self, layer: usize, point: HookPoint) -> Result<&Tensor> {
        self.get(Hook::block(layer, point))
    }

    /// The kept hooks, in the order of layers, those outside the blocks first.
    pub fn hooks(&self) -> impl Iterator<Item = Hook> + '_ {
        self.tensors.keys().copied()
    }

    /// How many activations are kept.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_means_every_layer() {
        let filter = NameFilter::parse(&["blocks.*.attn.hook_z", "hook_embed"]).unwrap();
        assert!(filter.wants(Hook::block(5, HookPoint::Z)));
        assert!(filter.wants(Hook::top(HookPoint::Embed)));
        assert!(!filter.wants(Hook::block(5, HookPoint::Q)));
        assert!(NameFilter::parse(&["blocks.*.attn.hook_y"]).is_err());
    }
}
