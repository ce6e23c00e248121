//! The restarted runs of a job: rows of a batch that differ from the base run at their sites, taken through the rest of
//! the model.

use refrain_runner::{
    Action, BoundInterventions, Intervention, KnownActivations, KvPrefix, LogitPositions, Model, Positions,
    Run,
};
use tch::{Kind, Tensor};

use super::job::{Job, Unit, heads_of};
use super::local::{Before, BlockPatch};
use super::runs::Runs;
use crate::component::{Component, Site};
use crate::error::Result;
use crate::metric::{Metric, measure, measure_stream};
use crate::scores::ByMetric;

/// Runs the sites of `job` from `column` on: `[metric, site * pair]`.
pub(crate) fn run(
    model: &Model,
    runs: &Runs,
    local: &BlockPatch,
    job: &Job,
    column: usize,
    metrics: &[Metric],
) -> Result<ByMetric> {
    let rows = Rows { model, runs, sites: &job.sites, unit: job.unit, column, metrics };
    let layer = job.unit.layer;
    let stream = |layer: usize| rows.copies(&runs.base.at[layer]);
    let values = match local {
        BlockPatch::Heads { base, changed } => {
            let z = rows.copies(base)?;
            for (copy, site) in job.sites.iter().enumerate() {
                rows.put(&z, copy, site, &rows.columns_of(changed)?)?;
            }
            rows.finish(layer, &stream(layer)?, |given| given.z = Some(&z))?
        }
        BlockPatch::Columns { base, source } => {
            let z = rows.copies(base)?;
            let mut positions: Vec<usize> = job.sites.iter().filter_map(|site| site.position).collect();
            positions.sort_unstable();
            positions.dedup();
            let changed = BlockPatch::columns(model, runs, job.unit, source, &positions)?;
            for (copy, site) in job.sites.iter().enumerate() {
                let at = positions.iter().position(|position| Some(*position) == site.position);
                let changed = changed.f_get(at.unwrap_or(0) as i64)?;
                // What is changed at one position is felt at all later ones.
                let everywhere = Site { position: None, ..*site };
                rows.put(&z, copy, &everywhere, &rows.columns_of(&changed)?)?;
            }
            rows.finish(layer, &stream(layer)?, |given| given.z = Some(&z))?
        }
        BlockPatch::Entries { base, change, values } => {
            let z = rows.copies(base)?;
            let times = base.size()[2] / values.size()[2];
            for (copy, site) in job.sites.iter().enumerate() {
                let (Some(query), Some(key)) = (site.position, site.key_position) else { continue };
                let head = site.index as i64;
                let weight = change.f_select(1, head)?.f_select(1, query as i64)?.f_select(1, key as i64)?;
                let value = values.f_select(1, key as i64)?.f_select(1, head / times)?;
                let own = z.f_narrow(0, copy as i64 * rows.pairs(), rows.pairs())?;
                let mut own = own.f_select(1, (query - column) as i64)?.f_select(1, head)?;
                let _ = own.f_add_(&value.f_mul(&weight.f_unsqueeze(1)?)?)?;
            }
            rows.finish(layer, &stream(layer)?, |given| given.z = Some(&z))?
        }
        BlockPatch::Stream { layer, base, changed } => {
            rows.finish(*layer, &rows.replaced(base, changed)?, |_| {})?
        }
        BlockPatch::AttnOut { base, changed } => {
            let out = rows.replaced(base, changed)?;
            rows.finish(layer, &stream(layer)?, |given| given.attn_out = Some(&out))?
        }
        BlockPatch::ResidMid { base, changed } => {
            let mid = rows.replaced(base, changed)?;
            rows.finish(layer, &stream(layer)?, |given| given.resid_mid = Some(&mid))?
        }
        BlockPatch::MlpOut { before, base, changed } => {
            rows.after_mlp(layer, before, &rows.replaced(base, changed)?)?
        }
        BlockPatch::Neurons { before, base, change, weight } => {
            rows.after_mlp(layer, before, &rows.neurons(base, change, weight)?)?
        }
        BlockPatch::Hooked { source } => rows.hooked(source)?,
    };
    Ok(values)
}

/// The rows of one job: for each site a copy of the batch of pairs.
struct Rows<'a> {
    model: &'a Model,
    runs: &'a Runs,
    sites: &'a [Site],
    unit: Unit,
    column: usize,
    metrics: &'a [Metric],
}

impl Rows<'_> {
    fn pairs(&self) -> i64 {
        self.runs.base.ids.size()[0]
    }

    /// The columns that are computed of `t`, `[pair, pos, ...]`.
    fn columns_of(&self, t: &Tensor) -> Result<Tensor> {
        Ok(t.f_narrow(1, self.column as i64, t.size()[1] - self.column as i64)?)
    }

    /// Those columns, once for each site: `[site * pair, column, ...]`, memory of its own.
    fn copies(&self, t: &Tensor) -> Result<Tensor> {
        let from = self.columns_of(t)?;
        let mut times = vec![1; from.dim()];
        times[0] = self.sites.len() as i64;
        Ok(from.f_repeat(&times)?)
    }

    /// Puts `changed`, `[pair, column, ...]`, into copy `copy` of `rows` where `site` says.
    fn put(&self, rows: &Tensor, copy: usize, site: &Site, changed: &Tensor) -> Result<()> {
        let own = rows.f_narrow(0, copy as i64 * self.pairs(), self.pairs())?;
        let part = |t: &Tensor| -> Result<Tensor> {
            let t = match site.component.is_of_heads() {
                true => {
                    let heads = heads_of(self.model.architecture(), *site);
                    t.f_narrow(2, heads.start as i64, heads.len() as i64)?
                }
                false => t.shallow_clone(),
            };
            Ok(match site.position {
                Some(position) => t.f_narrow(1, (position - self.column) as i64, 1)?,
                None => t,
            })
        };
        part(&own)?.f_copy_(&part(changed)?)?;
        Ok(())
    }

    /// Copies of `base` with `changed` at every site: for streams.
    fn replaced(&self, base: &Tensor, changed: &Tensor) -> Result<Tensor> {
        let rows = self.copies(base)?;
        let changed = self.columns_of(changed)?;
        for (copy, site) in self.sites.iter().enumerate() {
            self.put(&rows, copy, site, &changed)?;
        }
        Ok(rows)
    }

    /// The MLP's output with one neuron changed in each copy.
    fn neurons(&self, base: &Tensor, change: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let device = change.device();
        let of = |number: &dyn Fn(&Site) -> usize| -> Result<Tensor> {
            let numbers: Vec<i64> = self.sites.iter().map(|site| number(site) as i64).collect();
            Ok(Tensor::f_from_slice(&numbers)?.f_to_device(device)?)
        };
        let neurons = of(&|site| site.index)?;
        // [site, pair, column]
        let mut change = self.columns_of(change)?.f_index_select(2, &neurons)?.f_permute([2, 0, 1])?;
        if self.sites.iter().any(|site| site.position.is_some()) {
            let own = of(&|site| site.position.unwrap_or(0) - self.column)?.f_reshape([-1, 1, 1])?;
            let columns = Tensor::f_arange(change.size()[2], (Kind::Int64, device))?;
            change = change.f_mul(&columns.f_eq_tensor(&own)?.f_to_kind(change.kind())?)?;
        }
        let out = weight.f_index_select(1, &neurons)?.f_transpose(0, 1)?.f_unsqueeze(1)?.f_unsqueeze(1)?;
        let added = change.f_unsqueeze(3)?.f_mul(&out)?;
        Ok(self.columns_of(base)?.f_unsqueeze(0)?.f_add(&added)?.f_flatten(0, 1)?)
    }

    fn after_mlp(&self, layer: usize, before: &Before, mlp_out: &Tensor) -> Result<ByMetric> {
        let stream = self.copies(&self.runs.base.at[layer])?;
        match before {
            Before::ResidMid(mid) => {
                let mid = self.copies(mid)?;
                self.finish(layer, &stream, |given| {
                    (given.resid_mid, given.mlp_out) = (Some(&mid), Some(mlp_out));
                })
            }
            Before::AttnOut(out) => {
                let out = self.copies(out)?;
                self.finish(layer, &stream, |given| {
                    (given.attn_out, given.mlp_out) = (Some(&out), Some(mlp_out));
                })
            }
        }
    }

    /// Goes on from block `layer` with what is given there, to the metrics.
    fn finish<'t>(
        &self,
        layer: usize,
        stream: &'t Tensor,
        give: impl FnOnce(&mut KnownActivations<'t>),
    ) -> Result<ByMetric> {
        if layer == self.model.architecture().n_layers {
            return self.read(&stream.f_narrow(1, stream.size()[1] - 1, 1)?);
        }
        let mut given = KnownActivations::default();
        give(&mut given);
        let plan = BoundInterventions::new(self.model.architecture(), &self.runs.background.what, &[])?;
        let run = Run { start: Some((layer, stream)), given, interventions: Some(&plan), ..Run::default() };
        self.go(stream.size()[0], run)
    }

    fn go(&self, rows: i64, run: Run<'_>) -> Result<ByMetric> {
        let ids = self.columns_of(&self.runs.base.ids)?;
        let ids = ids.f_repeat([rows / self.pairs(), 1])?;
        let past = KvPrefix::new(&self.runs.kv, self.column)?;
        let (logits, steps) = (LogitPositions::LastResidual, self.runs.background.steps);
        let run = Run { past: Some(&past), logits, steps, ..run.shorter() };
        self.read(&self.model.run(&ids, run)?.resid)
    }

    /// The metrics of runs that end with `stream`, `[site * pair, 1, d_model]`.
    fn read(&self, stream: &Tensor) -> Result<ByMetric> {
        let (model, targets) = (self.model, &self.runs.targets);
        if self.metrics.iter().all(|metric| metric.is_of_logits()) {
            return measure_stream(self.metrics, model, &stream.f_squeeze_dim(1)?, targets);
        }
        measure(self.metrics, &model.unembed(stream)?.f_squeeze_dim(1)?, targets)
    }

    /// Runs the block itself anew, with the changes as interventions.
    fn hooked(&self, source: &refrain_runner::ActivationCache) -> Result<ByMetric> {
        let (component, layer) = (self.unit.component.made_by(), self.unit.layer);
        let hook = component.hook(layer);
        let axis = if component == Component::Pattern { 2 } else { 1 };
        let from = source.get(hook)?;
        let mut kept = refrain_runner::ActivationCache::default();
        kept.insert(
            hook,
            from.f_narrow(axis, self.column as i64, from.size()[axis as usize] - self.column as i64)?,
        );
        let pairs = self.pairs() as usize;
        let what = self.runs.background.and(self.sites.iter().enumerate().map(|(copy, site)| Intervention {
            heads: component.is_of_heads().then(|| vec![site.index]),
            neurons: (component == Component::Neuron).then(|| vec![site.index]),
            positions: site.position.map(|position| Positions::Columns(vec![position])),
            rows: Some((copy * pairs, (copy + 1) * pairs)),
            ..Intervention::new(hook, Action::Replace("source".into()))
        }));
        let arch = self.model.architecture();
        let plan = BoundInterventions::new(arch, &what, &[("source", &kept)])?;
        let first = arch.restart_layer(layer);
        let stream = self.copies(&self.runs.base.at[first])?;
        let run = Run { start: Some((first, &stream)), interventions: Some(&plan), ..Run::default() };
        self.go(stream.size()[0], run)
    }
}
