//! Jobs side by side. On a CPU each runs on one core: whole jobs use the cores better than halves of one product, and
//! the numbers do not depend on how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use ndarray::{Array3, Axis, concatenate, s};
use refrain_runner::Model;

use super::job::{Batch, Job, Unit};
use super::local::BlockPatch;
use super::plan::{SweepPlan, jobs};
use super::runs::Runs;
use super::settings::Settings;
use super::{cost, restart};
use crate::component::Site;
use crate::error::{Error, Result};
use crate::scores::{ByMetric, Scores};

/// What is done of a unit so far.
struct Progress<'a> {
    left: usize,
    /// The sites of the jobs that are done, with their values, `[metric, site * pair]`.
    done: Vec<(&'a [Site], ByMetric)>,
}

/// What the jobs of a batch have in common.
pub(crate) struct Work<'a> {
    pub(crate) model: &'a Model,
    pub(crate) runs: &'a Runs,
    pub(crate) settings: &'a Settings,
    pub(crate) plan: &'a SweepPlan,
    pub(crate) batch: &'a Batch,
    /// The only sites that are wanted.
    pub(crate) only: Option<&'a BTreeSet<Site>>,
}

/// Runs `units` of one batch and hands each over as it is done.
pub(crate) fn run<E: From<Error>>(
    &Work { model, runs, settings, plan, batch, only }: &Work<'_>,
    units: &[Unit],
    done: &mut dyn FnMut(&Unit, Scores) -> Result<(), E>,
) -> Result<(), E> {
    let arch = model.architecture();
    let by_unit: Vec<Vec<Job>> =
        units.iter().map(|unit| jobs(arch, settings, plan, batch, *unit, only)).collect();
    let mut progress: BTreeMap<Unit, Progress> = units
        .iter()
        .zip(&by_unit)
        .map(|(unit, jobs)| (*unit, Progress { left: jobs.len(), done: Vec::new() }))
        .collect();
    let costed = |jobs: Vec<Job>| {
        let mut jobs: Vec<(f64, Job)> =
            jobs.into_iter().map(|job| (cost::job(arch, &job, batch), job)).collect();
        jobs.sort_by(|a, b| b.0.total_cmp(&a.0));
        (jobs.iter().map(|(cost, _)| cost).sum::<f64>(), jobs)
    };
    let mut work: Vec<(f64, Vec<(f64, Job)>)> = by_unit.into_iter().map(costed).collect();
    // The long units first, so that the last ones to end are short; each unit's jobs together, so that it is done soon.
    work.sort_by(|a, b| b.0.total_cmp(&a.0));
    let work: Vec<(f64, Job)> = work.into_iter().flat_map(|(_, jobs)| jobs).collect();
    // A unit of which no site is wanted here is done.
    for unit in units {
        if progress.get(unit).is_some_and(|known| known.left == 0) {
            done(unit, gathered(settings, runs, batch, &[]))?;
        }
    }
    let mut finished = |index: usize, values: Result<ByMetric>| -> Result<(), E> {
        let job = &work[index].1;
        let Some(of_unit) = progress.get_mut(&job.unit) else { return Ok(()) };
        of_unit.done.push((&job.sites, values?));
        of_unit.left -= 1;
        if of_unit.left > 0 {
            return Ok(());
        }
        let jobs = std::mem::take(&mut of_unit.done);
        done(&job.unit, gathered(settings, runs, batch, &jobs))
    };
    if plan.workers == 1 {
        let _guard = tch::no_grad_guard();
        let mut known = None;
        return (0..work.len()).try_for_each(|index| {
            finished(index, run_job(model, runs, settings, &work[index].1, &mut known))
        });
    }
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let before = tch::get_num_threads();
    let outcome = std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..plan.workers.min(work.len()) {
            let (model, runs, sender) = (model.shallow_clone(), runs.shallow_clone(), sender.clone());
            let (work, next, stop) = (&work, &next, &stop);
            scope.spawn(move || {
                let _guard = tch::no_grad_guard();
                tch::set_num_threads(1);
                let mut known: Option<(Unit, BlockPatch)> = None;
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((_, job)) = work.get(index) else { break };
                    let values = run_job(&model, &runs, settings, job, &mut known);
                    if sender.send((index, values)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let outcome = receiver.into_iter().try_for_each(|(index, values)| finished(index, values));
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    tch::set_num_threads(before);
    outcome
}

/// The scores of the sites of `jobs`, in the order of the sites.
fn gathered(settings: &Settings, runs: &Runs, batch: &Batch, jobs: &[(&[Site], ByMetric)]) -> Scores {
    // Of each site its job and its number there.
    let mut order: Vec<(Site, usize, usize)> = Vec::new();
    for (job, (sites, _)) in jobs.iter().enumerate() {
        order.extend(sites.iter().enumerate().map(|(number, site)| (*site, job, number)));
    }
    order.sort_unstable();
    let (metrics, pairs) = (settings.metrics.len(), batch.pairs.len());
    let mut values = Array3::zeros((order.len(), metrics, pairs));
    for (mut of_site, (_, job, number)) in values.outer_iter_mut().zip(&order) {
        let own = s![.., number * pairs..(number + 1) * pairs];
        of_site.assign(&jobs[*job].1.slice(own));
    }
    Scores {
        metrics: settings.metrics.clone(),
        pairs: batch.pairs.clone(),
        clean: runs.clean.clone(),
        corrupted: runs.corrupted.clone(),
        sites: order.into_iter().map(|(site, ..)| site).collect(),
        values,
    }
}

/// The values of the job's sites, `[metric, site * pair]`. `known` is what the last job's unit came down to.
fn run_job(
    model: &Model,
    runs: &Runs,
    settings: &Settings,
    job: &Job,
    known: &mut Option<(Unit, BlockPatch)>,
) -> Result<ByMetric> {
    let Some(column) = job.column else {
        let copies = vec![runs.unchanged.view(); job.sites.len()];
        return concatenate(Axis(1), &copies).map_err(|error| Error::Input(error.to_string()));
    };
    if known.as_ref().is_none_or(|(unit, _)| *unit != job.unit) {
        let local = BlockPatch::new(model, runs, job.unit, settings.by_position, settings.by_key_position)?;
        *known = Some((job.unit, local));
    }
    match known {
        Some((_, local)) => restart::run(model, runs, local, job, column, &settings.metrics),
        None => Err(Error::Input("a job without a unit".into())),
    }
}
