//! Means of activations over the clean prompts of a task, for mean ablation.

use std::collections::{BTreeMap, BTreeSet};

use refrain_runner::{ActivationCache, Axes, Hook, Model, NameFilter, Run};
use tch::{Kind, Tensor, no_grad};

use crate::error::{Error, Result};
use crate::pair::{Pair, batches};

/// Means by hook, `[1, ...]` and otherwise as the activation, or with one position if they are pooled.
#[derive(Debug)]
pub(crate) struct Means {
    by_hook: ActivationCache,
    pooled: bool,
}

impl Means {
    /// Over the clean prompts of `pairs` at `hooks`: position by position, where each prompt counts the same, or, if
    /// `pooled`, over positions too, where each token does. `rows` prompts are run at once.
    ///
    /// # Errors
    /// [`Error::Input`] for prompts of several lengths that are not pooled, and for pooled patterns: a mean over
    /// positions mixes queries that see different keys.
    pub(crate) fn over(
        model: &Model,
        pairs: &[Pair],
        hooks: &[Hook],
        pooled: bool,
        rows: usize,
    ) -> Result<Means> {
        if pooled && let Some(hook) = hooks.iter().find(|hook| hook.point().axes() == Axes::Pairs) {
            return Err(Error::Input(format!(
                "`{hook}`: attention weights have no mean over positions\nhint: take the mean position by position"
            )));
        }
        let length = pairs.first().map_or(0, |pair| pair.clean.len());
        if !pooled && let Some(other) = pairs.iter().position(|pair| pair.clean.len() != length) {
            return Err(Error::Input(format!(
                "pair {other} has {} tokens, pair 0 has {length}: a mean position by position takes prompts of \
                 one length\nhint: pool over positions too",
                pairs[other].clean.len()
            )));
        }
        // A head's z and its result have one hook between them, which counts once.
        let hooks: BTreeSet<Hook> = hooks.iter().copied().collect();
        let names = NameFilter::hooks(&hooks.iter().copied().collect::<Vec<_>>());
        let mut sums: BTreeMap<Hook, Tensor> = BTreeMap::new();
        let mut count = 0.0;
        for batch in batches(pairs, rows)? {
            let ids: Vec<Vec<i64>> = batch.iter().map(|index| pairs[*index].clean.clone()).collect();
            count += (ids.len() * if pooled { ids[0].len() } else { 1 }) as f64;
            let run = Run {
                names: names.clone(),
                stop_at_layer: Some(model.architecture().n_layers),
                ..Run::default()
            };
            let cache = no_grad(|| model.run(&model.ids(&ids)?, run))?.cache;
            for hook in &hooks {
                let over: &[i64] = if pooled { &[0, 1] } else { &[0] };
                let sum = cache.get(*hook)?.f_sum_dim_intlist(over, true, Kind::Double)?;
                let sum = match sums.get(hook) {
                    Some(before) => before.f_add(&sum)?,
                    None => sum,
                };
                sums.insert(*hook, sum);
            }
        }
        let mut by_hook = ActivationCache::default();
        for (hook, sum) in sums {
            by_hook.insert(hook, sum.f_div_scalar(count)?.f_to_kind(model.kind())?);
        }
        Ok(Means { by_hook, pooled })
    }

    /// The mean at `hook`, which broadcasts against the activation.
    pub(crate) fn get(&self, hook: Hook) -> Result<&Tensor> {
        Ok(self.by_hook.get(hook)?)
    }

    /// All of them for prompts of `length` tokens.
    pub(crate) fn of_length(&self, length: usize) -> Result<ActivationCache> {
        let mut cache = ActivationCache::default();
        for hook in self.by_hook.hooks() {
            let mean = self.by_hook.get(hook)?;
            let mut size = mean.size();
            if self.pooled && hook.point().axes() != Axes::Pairs {
                size[1] = length as i64;
            }
            cache.insert(hook, mean.f_expand(&size, false)?);
        }
        Ok(cache)
    }

    /// The same tensors.
    pub(crate) fn shallow_clone(&self) -> Means {
        Means { by_hook: self.by_hook.shallow_clone(), pooled: self.pooled }
    }
}
