//! The runs of a batch that all of its sites start from: the one that is changed, kept whole, and where the changes come from.

use refrain_runner::{
    ActivationCache, BoundInterventions, Hook, HookPoint, KvCache, LogitPositions, Model, NameFilter, Run,
};
use tch::Tensor;

use super::plan::Batch;
use super::reference::Means;
use super::settings::{Change, Settings};
use super::under::Background;
use crate::component::Component;
use crate::error::Result;
use crate::metric::{Targets, measure};
use crate::pair::Pair;
use crate::scores::ByMetric;

/// A run's input and its residual streams.
#[derive(Debug)]
pub(crate) struct Streams {
    /// `[pair, pos]`.
    pub(crate) ids: Tensor,
    /// `[pair, pos, d_model]`: what enters each block, and what leaves the last.
    pub(crate) at: Vec<Tensor>,
    /// `[pair, pos, head, d_head]` by layer, if heads are patched: `attn.hook_z`.
    z: Vec<Tensor>,
}

/// Where a site's new value comes from.
#[derive(Debug)]
pub(crate) enum PatchSource {
    /// Another run.
    Run(Streams),
    /// Means, `[1, pos, ...]`.
    Means(ActivationCache),
    /// Nowhere: zeros.
    Zero,
}

/// The runs of one batch.
#[derive(Debug)]
pub(crate) struct Runs {
    pub(crate) base: Streams,
    pub(crate) kv: KvCache,
    pub(crate) source: PatchSource,
    pub(crate) targets: Targets,
    pub(crate) clean: ByMetric,
    pub(crate) corrupted: ByMetric,
    /// The metrics of the run that is changed.
    pub(crate) unchanged: ByMetric,
    /// What holds in all of them.
    pub(crate) under: Background,
}

impl Streams {
    fn shallow_clone(&self) -> Self {
        Streams {
            ids: self.ids.shallow_clone(),
            at: self.at.iter().map(Tensor::shallow_clone).collect(),
            z: self.z.iter().map(Tensor::shallow_clone).collect(),
        }
    }

    /// Runs `ids`; also the logits of the last position, `[pair, vocab]`. Keys and values go into `kv`.
    fn run(
        model: &Model,
        ids: Tensor,
        kv: Option<&mut KvCache>,
        heads: bool,
        under: &Background,
    ) -> Result<(Self, Tensor)> {
        let n_layers = model.architecture().n_layers;
        let last = Hook::block(n_layers - 1, HookPoint::ResidPost);
        let streams: Vec<Hook> =
            (0..n_layers).map(|layer| Hook::block(layer, HookPoint::ResidPre)).chain([last]).collect();
        let z: Vec<Hook> = match heads {
            true => (0..n_layers).map(|layer| Hook::block(layer, HookPoint::Z)).collect(),
            false => Vec::new(),
        };
        let names = NameFilter::hooks(&[&streams[..], &z[..]].concat());
        let plan = BoundInterventions::new(model.architecture(), &under.what, &[])?;
        let (interventions, steps, logits) = (Some(&plan), under.steps, LogitPositions::Last);
        let output = model.run(&ids, Run { names, interventions, steps, kv, logits, ..Run::default() })?;
        let kept = |hooks: &[Hook]| -> Result<Vec<Tensor>> {
            hooks.iter().map(|hook| Ok(output.cache.get(*hook)?.shallow_clone())).collect()
        };
        let (at, z) = (kept(&streams)?, kept(&z)?);
        Ok((Streams { ids, at, z }, output.logits()?.f_squeeze_dim(1)?))
    }

    /// `attn.hook_z` of `layer`.
    pub(crate) fn z(&self, model: &Model, under: &Background, layer: usize) -> Result<Tensor> {
        match self.z.get(layer) {
            Some(z) => Ok(z.shallow_clone()),
            None => super::local::at(model, self, under, layer, Component::Z.hook(layer)),
        }
    }
}

impl Runs {
    pub(crate) fn new(
        model: &Model,
        pairs: &[Pair],
        batch: &Batch,
        settings: &Settings,
        means: &Means,
        under: &Background,
    ) -> Result<Self> {
        let own: Vec<Pair> = batch.pairs.iter().map(|index| pairs[*index].clone()).collect();
        let clean_ids = model.ids(&own.iter().map(|pair| pair.clean.clone()).collect::<Vec<_>>())?;
        let corrupted_ids = model.ids(&own.iter().map(|pair| pair.corrupted.clone()).collect::<Vec<_>>())?;
        let mut kv = KvCache::new(model.architecture(), own.len(), batch.length, model.device())?;
        let into_clean = settings.change.into_clean();
        let heads = settings.components.iter().any(|component| component.is_of_heads());
        let (clean, clean_logits) =
            Streams::run(model, clean_ids, into_clean.then_some(&mut kv), heads, under)?;
        let (corrupted, corrupted_logits) =
            Streams::run(model, corrupted_ids, (!into_clean).then_some(&mut kv), heads, under)?;
        let targets = Targets::new(model, &own)?.with_clean(&clean_logits)?;
        let clean_values = measure(&settings.metrics, &clean_logits, &targets)?;
        let corrupted_values = measure(&settings.metrics, &corrupted_logits, &targets)?;
        let unchanged = if into_clean { clean_values.clone() } else { corrupted_values.clone() };
        let (base, source) = match settings.change {
            Change::Denoise => (corrupted, PatchSource::Run(clean)),
            Change::Noise => (clean, PatchSource::Run(corrupted)),
            Change::Zero => (clean, PatchSource::Zero),
            Change::Mean { .. } => (clean, PatchSource::Means(means.of_length(batch.length)?)),
            Change::Resample { .. } => {
                let others: Vec<Vec<i64>> =
                    batch.others.iter().map(|index| pairs[*index].clean.clone()).collect();
                (clean, PatchSource::Run(Streams::run(model, model.ids(&others)?, None, heads, under)?.0))
            }
        };
        let under = under.clone();
        Ok(Runs {
            base,
            kv,
            source,
            targets,
            clean: clean_values,
            corrupted: corrupted_values,
            unchanged,
            under,
        })
    }

    /// The same for another thread.
    pub(crate) fn shallow_clone(&self) -> Self {
        let source = match &self.source {
            PatchSource::Run(streams) => PatchSource::Run(streams.shallow_clone()),
            PatchSource::Means(means) => PatchSource::Means(means.shallow_clone()),
            PatchSource::Zero => PatchSource::Zero,
        };
        Runs {
            base: self.base.shallow_clone(),
            kv: self.kv.shallow_clone(),
            source,
            targets: self.targets.shallow_clone(),
            clean: self.clean.clone(),
            corrupted: self.corrupted.clone(),
            unchanged: self.unchanged.clone(),
            under: self.under.clone(),
        }
    }

    /// What is put in place of `component` of `layer`, as at its hook, for all pairs (or one for all), all heads and
    /// all positions. `like` is what stands there in the base run.
    pub(crate) fn source(
        &self,
        model: &Model,
        component: Component,
        layer: usize,
        like: &dyn Fn() -> Result<Tensor>,
    ) -> Result<Tensor> {
        match (&self.source, component) {
            (PatchSource::Zero, _) => Ok(like()?.f_zeros_like()?),
            (PatchSource::Means(means), _) => Ok(means.get(component.hook(layer))?.f_expand_as(&like()?)?),
            (PatchSource::Run(streams), Component::ResidPre) => Ok(streams.at[layer].shallow_clone()),
            (PatchSource::Run(streams), Component::ResidPost) => Ok(streams.at[layer + 1].shallow_clone()),
            (PatchSource::Run(streams), Component::Z) => streams.z(model, &self.under, layer),
            (PatchSource::Run(streams), _) => {
                super::local::at(model, streams, &self.under, layer, component.hook(layer))
            }
        }
    }
}
