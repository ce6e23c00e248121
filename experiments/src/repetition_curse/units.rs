//! The parts of the work after the heads are scored, and running them side by side.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use refrain_entropy::table::{CountSweep, EntropyTrace, Perplexity};
use refrain_runner::Head;

use super::conditions::Condition;
use super::settings::Settings;
use super::subject::{Phrase, Subject};
use super::tracing::{self, Task};
use super::{counting, likelihood};
use crate::folder::RunFolder;
use crate::progress::Progress;

/// One part of the work.
pub enum Unit<'a> {
    /// Counting to n.
    Count(&'a Condition, u32),
    /// Entropy and toxicity along generations.
    Trace(&'a Condition, Task<'a>),
    /// Perplexity on ordinary text.
    Likelihood(&'a Condition),
}

/// What every part reads.
pub struct Inputs<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The phrases to repeat.
    pub phrases: &'a [Phrase],
    /// The ordinary texts.
    pub texts: &'a [Vec<i64>],
    /// The induction heads.
    pub induction: &'a [Head],
}

impl Unit<'_> {
    /// The part's stable name.
    pub fn name(&self) -> String {
        match self {
            Unit::Count(condition, n) => format!("{}.n{n:04}", condition.id()),
            Unit::Trace(condition, Task::Repetition(_)) => format!("{}.repetition", condition.id()),
            Unit::Trace(condition, Task::Ordinary(_)) => format!("{}.ordinary", condition.id()),
            Unit::Likelihood(condition) => condition.id(),
        }
    }

    fn is_done(&self, folder: &RunFolder) -> bool {
        let name = self.name();
        match self {
            Unit::Count(..) => folder.has_part::<CountSweep>(&name),
            Unit::Trace(..) => folder.has_part::<EntropyTrace>(&name),
            Unit::Likelihood(..) => folder.has_part::<Perplexity>(&name),
        }
    }

    fn run(&self, subject: &Subject, inputs: &Inputs<'_>, folder: &RunFolder) -> Result<()> {
        let Inputs { settings, phrases, texts, induction } = inputs;
        let name = self.name();
        match self {
            Unit::Count(condition, n) => {
                let make = || counting::count(subject, settings, phrases, condition, *n);
                folder
                    .part::<CountSweep>(&name, make)
                    .with_context(|| format!("counting to {n} under {}", condition.id()))?;
            }
            Unit::Trace(condition, task) => {
                // The control sets tell nothing about the toxicity of the induction heads.
                let measured = (!condition.is_control()).then_some(*induction);
                let make = || tracing::trace(subject, settings, condition, *task, measured);
                folder.part::<EntropyTrace>(&name, make).with_context(|| format!("following {name}"))?;
            }
            Unit::Likelihood(condition) => {
                let make = || likelihood::likelihood(subject, settings, texts, condition);
                folder
                    .part::<Perplexity>(&name, make)
                    .with_context(|| format!("perplexity under {}", condition.id()))?;
            }
        }
        Ok(())
    }
}

/// Runs the units that are not on the disk yet, `workers` at a time, each on one core: the model is small and a step of
/// decoding smaller, so that whole parts side by side use the cores better than the halves of one product, and
/// the numbers do not depend on how many there are. Returns how many were there already.
///
/// # Errors
/// The first part's that failed; the others finish what they are at.
pub fn run_all(
    units: &[Unit<'_>],
    subject: &Subject,
    inputs: &Inputs<'_>,
    folder: &RunFolder,
    workers: usize,
) -> Result<usize> {
    let left: Vec<&Unit<'_>> = units.iter().filter(|unit| !unit.is_done(folder)).collect();
    let resumed = units.len() - left.len();
    let progress = Progress::new(units.len() as u64, resumed as u64, inputs.settings.quiet);
    if resumed > 0 {
        progress.note(&format!("resuming: {resumed} of {} parts are there", units.len()));
    }
    let progress = Mutex::new(progress);
    let failure = Mutex::new(None);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = |subject: Subject| {
        tch::set_num_threads(1);
        while let Some(unit) = left.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            progress.lock().unwrap_or_else(PoisonError::into_inner).doing(&unit.name());
            match unit.run(&subject, inputs, folder) {
                Ok(()) => progress.lock().unwrap_or_else(PoisonError::into_inner).advance(1),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.min(left.len()) {
            let own = subject.shallow_clone();
            scope.spawn(|| work(own));
        }
    });
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(resumed),
    }
}
