//! How a sweep is cut: into batches of pairs, jobs of sites, and rows that fit the memory budget.

use std::collections::{BTreeMap, BTreeSet};

use refrain_runner::{Architecture, Model};
use tch::Device;

use super::cost::Memory;
use super::job::{Batch, Job, Unit, is_within, stays_at_its_position};
use super::settings::Settings;
use crate::change::Change;
use crate::component::{Component, Site};
use crate::error::{Error, Result};
use crate::means::Means;
use crate::pair::{Pair, batches, other};

/// Tokens that one job takes through the blocks on a CPU: enough for large products, few enough that what is between
/// them stays in the cache.
pub(crate) const CPU_TOKENS: usize = 1536;
/// The same on a GPU, which wants more.
const GPU_TOKENS: usize = 65_536;
/// Pairs of a unit, at most: whatever memory there is, so that a unit is the same piece of work in every run.
const MOST_PAIRS: usize = 32;

/// Tokens that the sites of a unit take through a block, about, so that a unit is soon done: whatever memory and cores
/// there are.
const UNIT_TOKENS: usize = 1 << 18;

/// How the work is cut.
#[derive(Debug)]
pub(crate) struct SweepPlan {
    /// For each batch the parts whose base runs fit into memory together; mostly one.
    pub(crate) batches: Vec<Vec<Batch>>,
    pub(crate) means: Option<Means>,
    /// Tokens that a job may take through the blocks.
    tokens: usize,
    /// Bytes that the rows of one job may take.
    job_bytes: u64,
    memory: Memory,
    /// Jobs side by side.
    pub(crate) workers: usize,
}

impl SweepPlan {
    pub(crate) fn new(model: &Model, pairs: &[Pair], settings: &Settings) -> Result<Self> {
        let memory = Memory::new(model, settings);
        let longest = pairs.iter().map(|pair| pair.clean.len()).max().unwrap_or(0);
        let smallest = memory.base(1, longest) + memory.row(longest, longest);
        if settings.memory < smallest {
            return Err(Error::Memory { budget: settings.memory, needed: smallest });
        }
        // A third for the base runs, the rest for the rows.
        let base = memory.base(1, longest);
        let most = (settings.memory / 3 / base.max(1)).clamp(1, MOST_PAIRS as u64) as usize;
        let left = settings.memory - memory.base(most, longest).min(settings.memory);
        let gpu = model.device() != Device::Cpu;
        let wanted = if gpu { 1 } else { settings.threads.max(1) };
        // A job has a row for each pair at least.
        let job = most as u64 * memory.row(longest, longest);
        let workers = (left / job.max(1)).clamp(1, wanted as u64) as usize;
        let means = match settings.change {
            Change::Mean { pooled } => {
                let hooks = settings.components.iter().flat_map(|component| component.made_by().hooks(model));
                Some(Means::over(model, pairs, &hooks.collect::<Vec<_>>(), pooled, most)?)
            }
            _ => None,
        };
        let parts = |own: Vec<usize>| -> Result<Vec<Batch>> {
            own.chunks(most).map(|part| batch(pairs, part.to_vec(), settings)).collect()
        };
        let batches = batches(pairs, MOST_PAIRS)?.into_iter().map(parts).collect::<Result<_>>()?;
        Ok(SweepPlan {
            batches,
            means,
            tokens: if gpu { GPU_TOKENS } else { CPU_TOKENS },
            job_bytes: left / workers as u64,
            memory,
            workers,
        })
    }

    /// Heads or neurons of a unit of `batch`, at most.
    pub(crate) fn indices(&self, batch: usize, settings: &Settings) -> usize {
        let parts = &self.batches[batch];
        let pairs: usize = parts.iter().map(|part| part.pairs.len()).sum();
        let length = parts.first().map_or(1, |part| part.length);
        let places = match (settings.by_position, settings.by_key_position) {
            (true, true) => length * (length + 1) / 2,
            (true, false) => length,
            _ => 1,
        };
        (UNIT_TOKENS / (pairs * length * places).max(1)).max(1)
    }

    /// Sites that a job of runs over `columns` columns of prompts of `length` may have.
    fn sites(&self, component: Component, pairs: usize, columns: usize, length: usize) -> usize {
        // Each position of a changed key or value has the whole block run for it first.
        let columns = if matches!(component, Component::K | Component::V) { length } else { columns };
        let by_tokens = self.tokens.div_ceil(pairs * columns);
        let by_memory = self.job_bytes / (pairs as u64 * self.memory.row(columns, length)).max(1);
        by_tokens.min(by_memory as usize).max(1)
    }
}

/// Those of `pairs` whose indices are `own`.
fn batch(pairs: &[Pair], own: Vec<usize>, settings: &Settings) -> Result<Batch> {
    let length = pairs[own[0]].clean.len();
    let first_of = |index: &usize| pairs[*index].first_difference().unwrap_or(length);
    let first = match settings.change {
        Change::Denoise | Change::Noise => own.iter().map(first_of).min().unwrap_or(length),
        _ => 0,
    };
    let others = match settings.change {
        Change::Resample { seed } => {
            own.iter().map(|index| other(pairs, *index, seed)).collect::<Result<_>>()?
        }
        _ => Vec::new(),
    };
    Ok(Batch { pairs: own, others, length, first })
}

/// The jobs of `unit`.
pub(crate) fn jobs(
    arch: &Architecture,
    settings: &Settings,
    plan: &SweepPlan,
    batch: &Batch,
    unit: Unit,
    only: Option<&BTreeSet<Site>>,
) -> Vec<Job> {
    let Unit { component, layer, .. } = unit;
    let length = batch.length;
    let within = is_within(arch, component, layer);
    let last_block = within && layer + 1 == arch.n_layers;
    let mut by_column: BTreeMap<Option<usize>, Vec<Site>> = BTreeMap::new();
    let mut add = |site: Site| {
        if only.is_some_and(|only| !only.contains(&site)) {
            return;
        }
        let start = site.position.unwrap_or(batch.first).max(batch.first);
        let unchanged = site.position.is_some_and(|position| position < batch.first) || batch.first >= length;
        let own = stays_at_its_position(component);
        let column = match site.position {
            _ if unchanged => None,
            // A change at a position that neither the last query nor the metric reads.
            Some(position) if last_block && own && position + 1 < length => None,
            _ if last_block && component != Component::ResidPre => Some(length - 1),
            _ => Some(start),
        };
        by_column.entry(column).or_default().push(site);
    };
    for index in unit.from..unit.to {
        let site = Site { component, layer, index, position: None, key_position: None };
        if !settings.by_position {
            add(site);
            continue;
        }
        for position in 0..length {
            match settings.by_key_position {
                false => add(Site { position: Some(position), ..site }),
                true => (0..=position)
                    .for_each(|key| add(Site { position: Some(position), key_position: Some(key), ..site })),
            }
        }
    }
    let mut jobs = Vec::new();
    for (column, mut sites) in by_column {
        // Heads of one position side by side: what is made for a position is made once.
        sites.sort_by_key(|site| (site.position, site.index, site.key_position));
        let most = match column {
            Some(column) => plan.sites(component, batch.pairs.len(), length - column, length),
            None => sites.len(),
        };
        // Of even size: a small rest would be slow for its work.
        let parts = sites.len().div_ceil(most);
        jobs.extend(sites.chunks(sites.len().div_ceil(parts)).map(|sites| Job {
            unit,
            sites: sites.to_vec(),
            column,
        }));
    }
    jobs
}
