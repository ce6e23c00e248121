//! The runs of a batch that all of its sites start from: the one that is changed, kept whole, and where the changes
//! come from.

use refrain_runner::{ActivationCache, KvCache, Model};
use tch::Tensor;

use super::background::Background;
use super::job::Batch;
use super::settings::Settings;
use super::streams::{Streams, at};
use crate::change::Change;
use crate::component::Component;
use crate::error::{Error, Result};
use crate::means::Means;
use crate::metric::{Targets, measure};
use crate::pair::Pair;
use crate::scores::ByMetric;

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
    pub(crate) background: Background,
}

impl Runs {
    pub(crate) fn new(
        model: &Model,
        pairs: &[Pair],
        batch: &Batch,
        settings: &Settings,
        means: Option<&Means>,
        background: &Background,
    ) -> Result<Self> {
        let own: Vec<Pair> = batch.pairs.iter().map(|index| pairs[*index].clone()).collect();
        let clean_ids = model.ids(&own.iter().map(|pair| pair.clean.clone()).collect::<Vec<_>>())?;
        let corrupted_ids = model.ids(&own.iter().map(|pair| pair.corrupted.clone()).collect::<Vec<_>>())?;
        let mut kv = KvCache::new(model.architecture(), own.len(), batch.length, model.device())?;
        let into_clean = settings.change.into_clean();
        let heads = settings.components.iter().any(|component| component.is_of_heads());
        let (clean, clean_logits) =
            Streams::run(model, clean_ids, into_clean.then_some(&mut kv), heads, background)?;
        let (corrupted, corrupted_logits) =
            Streams::run(model, corrupted_ids, (!into_clean).then_some(&mut kv), heads, background)?;
        let targets = Targets::new(model, &own)?.with_clean(&clean_logits)?;
        let clean_values = measure(&settings.metrics, &clean_logits, &targets)?;
        let corrupted_values = measure(&settings.metrics, &corrupted_logits, &targets)?;
        let unchanged = if into_clean { clean_values.clone() } else { corrupted_values.clone() };
        let (base, source) = match settings.change {
            Change::Denoise => (corrupted, PatchSource::Run(clean)),
            Change::Noise => (clean, PatchSource::Run(corrupted)),
            Change::Zero => (clean, PatchSource::Zero),
            Change::Mean { .. } => {
                let means = means.ok_or_else(|| Error::Input("there are no means to ablate with".into()))?;
                (clean, PatchSource::Means(means.of_length(batch.length)?))
            }
            Change::Resample { .. } => {
                let others: Vec<Vec<i64>> =
                    batch.others.iter().map(|index| pairs[*index].clean.clone()).collect();
                (
                    clean,
                    PatchSource::Run(Streams::run(model, model.ids(&others)?, None, heads, background)?.0),
                )
            }
        };
        let background = background.clone();
        Ok(Runs {
            base,
            kv,
            source,
            targets,
            clean: clean_values,
            corrupted: corrupted_values,
            unchanged,
            background,
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
            background: self.background.clone(),
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
            (PatchSource::Run(streams), Component::Z) => streams.z(model, &self.background, layer),
            (PatchSource::Run(streams), _) => {
                at(model, streams, &self.background, layer, component.hook(layer))
            }
        }
    }
}
