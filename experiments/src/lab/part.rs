//! A run's work: stages, one after another, each a list of parts with stable ids. A part is written to the disk
//! when it is finished, so that a killed run resumes, and it fixes its own batches and random draws, so that the
//! tables depend neither on how many parts ran side by side nor on which machine did them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use refrain_entropy::schema::Table;
use refrain_runner::Model;
use serde::Serialize;

use super::disk::sha256_hex;
use super::progress::Progress;
use super::speed::Speed;
use super::threads::Threads;

/// What a part found: rows of one table or of several.
#[derive(Debug, Default)]
pub struct Found {
    tables: BTreeMap<&'static str, RecordBatch>,
    /// What it generated, and how fast.
    pub(super) speed: Speed,
}

impl Found {
    /// Rows of table `T`.
    ///
    /// # Errors
    /// If a row does not fit the table.
    pub fn rows<T: Table>(rows: &[T::Row]) -> Result<Self> {
        Found::default().and::<T>(rows)
    }

    /// The same with rows of table `T` too.
    ///
    /// # Errors
    /// If a row does not fit the table.
    pub fn and<T: Table>(mut self, rows: &[T::Row]) -> Result<Self> {
        self.tables.insert(T::NAME, T::batch(rows)?);
        Ok(self)
    }

    /// The same, generated at this speed.
    #[must_use]
    pub fn at(self, speed: Speed) -> Self {
        Found { speed, ..self }
    }

    /// The rows of table `T`.
    ///
    /// # Errors
    /// If it has none.
    pub fn rows_of<T: Table>(&self) -> Result<Vec<T::Row>> {
        let batch =
            self.tables.get(T::NAME).with_context(|| format!("the part has no rows of {}", T::NAME))?;
        Ok(T::rows(batch)?)
    }

    /// The tables by name.
    pub(super) fn into_tables(self) -> BTreeMap<&'static str, RecordBatch> {
        self.tables
    }
}

/// A part of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its name within the stage: letters, digits, `.`, `-` and `_`.
    pub id: String,
    /// What it costs beside the stage's other parts, in any one unit.
    pub cost: f64,
    /// The tables that it has rows of; empty: those of the stage.
    pub tables: &'static [&'static str],
    /// What it depends on, as hashes.
    depends: String,
}

impl Part {
    /// A part named `id` that costs `cost`.
    pub fn new(id: impl Into<String>, cost: f64) -> Self {
        Part { id: id.into(), cost, tables: &[], depends: String::new() }
    }

    /// The same, depending on `what` beside the run's settings and provenance: what earlier stages found and this
    /// part works on. If that is another thing when the run is taken up again, the part is done again.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn depends_on(mut self, what: &impl Serialize) -> Result<Self> {
        self.depends += &hash(what)?;
        Ok(self)
    }

    /// The same with tables of its own.
    #[must_use]
    pub fn with_tables(self, tables: &'static [&'static str]) -> Self {
        Part { tables, ..self }
    }
}

fn hash(what: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(what).context("writing down what a part depends on")?;
    Ok(sha256_hex(text.as_bytes()))
}

/// What tells a part from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartKey<'a> {
    /// The stage.
    pub stage: &'a str,
    /// The part's id.
    pub id: &'a str,
    /// What it depends on beside the run's settings and provenance, as hashes.
    pub depends: String,
}

/// Takes what a part found, by the part's number, and writes it.
pub type Finish<'f> = dyn FnMut(usize, Found) -> Result<()> + 'f;

/// How the parts of a stage are done.
enum Work<'a> {
    SideBySide(Box<OnOneCore<'a>>),
    InTurn(Box<dyn Fn(usize) -> Result<Found> + 'a>),
    Together(Box<OfAnEngine<'a>>),
}

type OnOneCore<'a> = dyn Fn(&Model, usize) -> Result<Found> + Send + Sync + 'a;
type OfAnEngine<'a> = dyn Fn(&[usize], &mut Finish<'_>) -> Result<()> + 'a;

/// Parts of one kind.
pub struct Stage<'a> {
    pub(super) name: &'static str,
    /// The tables that every part has rows of, if it does not say otherwise.
    tables: Vec<&'static str>,
    pub(super) parts: Vec<Part>,
    /// What all of them depend on, as hashes.
    depends: String,
    work: Work<'a>,
}

impl<'a> Stage<'a> {
    /// Parts that run side by side, each on one core, with a handle of their own to `model` (the weights are
    /// shared). For many small parts: generating with a small model, say.
    pub fn side_by_side(
        name: &'static str,
        tables: &[&'static str],
        parts: Vec<Part>,
        work: impl Fn(&Model, usize) -> Result<Found> + Send + Sync + 'a,
    ) -> Self {
        Stage::new(name, tables, parts, Work::SideBySide(Box::new(work)))
    }

    /// Parts that run one after another, each on all cores.
    pub fn in_turn(
        name: &'static str,
        tables: &[&'static str],
        parts: Vec<Part>,
        work: impl Fn(usize) -> Result<Found> + 'a,
    ) -> Self {
        Stage::new(name, tables, parts, Work::InTurn(Box::new(work)))
    }

    /// Parts that an engine of their own does together: `work` is given the numbers of those that are left, and
    /// hands over each as it is finished.
    pub fn together(
        name: &'static str,
        tables: &[&'static str],
        parts: Vec<Part>,
        work: impl Fn(&[usize], &mut Finish<'_>) -> Result<()> + 'a,
    ) -> Self {
        Stage::new(name, tables, parts, Work::Together(Box::new(work)))
    }

    fn new(name: &'static str, tables: &[&'static str], parts: Vec<Part>, work: Work<'a>) -> Self {
        Stage { name, tables: tables.to_vec(), parts, depends: String::new(), work }
    }

    /// The same, with every part depending on `what`, as by [`Part::depends_on`].
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn depends_on(mut self, what: &impl Serialize) -> Result<Self> {
        self.depends += &hash(what)?;
        Ok(self)
    }

    /// What tells a part from others.
    pub(super) fn key(&self, part: usize) -> PartKey<'_> {
        let Part { id, depends, .. } = &self.parts[part];
        PartKey { stage: self.name, id, depends: format!("{}/{depends}", self.depends) }
    }

    /// The tables of a part.
    pub(super) fn tables_of(&self, part: usize) -> &[&'static str] {
        let own = self.parts[part].tables;
        if own.is_empty() { &self.tables } else { own }
    }

    /// Does the parts of these numbers and hands each over to `finish`.
    pub(super) fn run(
        &self,
        todo: &[usize],
        model: Option<&Model>,
        cores: usize,
        progress: &Progress,
        finish: &(dyn Fn(usize, Found) -> Result<()> + Sync),
    ) -> Result<()> {
        // Threads share these, not the work of other kinds.
        let (name, parts) = (self.name, &self.parts);
        let id = |part: usize| format!("{name} {}", parts[part].id);
        let done = |part: usize, found: Found| -> Result<()> {
            progress.generated(found.speed);
            finish(part, found).with_context(|| id(part))?;
            progress.advance(parts[part].cost);
            Ok(())
        };
        match &self.work {
            Work::InTurn(work) => {
                for &part in todo {
                    progress.doing(&id(part));
                    done(part, work(part).with_context(|| id(part))?)?;
                }
                Ok(())
            }
            Work::Together(work) => {
                progress.doing(self.name);
                work(todo, &mut |part, found| done(part, found)).with_context(|| self.name)
            }
            Work::SideBySide(work) => {
                let model =
                    model.context("a stage whose parts share a model, in an experiment without one")?;
                side_by_side(todo, model, cores, &|model, part| {
                    progress.doing(&id(part));
                    done(part, work(model, part).with_context(|| id(part))?)
                })
            }
        }
    }
}

/// Calls `work` for every part, on as many threads as there are `cores`, each with its own handle to the model and
/// libtorch on one core. So the numbers do not depend on how many threads there are.
fn side_by_side(
    todo: &[usize],
    model: &Model,
    cores: usize,
    work: &(dyn Fn(&Model, usize) -> Result<()> + Sync),
) -> Result<()> {
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let stop = AtomicBool::new(false);
    let one = |model: Model| {
        tch::set_num_threads(1);
        while let Some(&part) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if let Err(error) = work(&model, part) {
                stop.store(true, Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    let _threads = Threads::limit(None);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(todo.len()) {
            let model = model.shallow_clone();
            scope.spawn(|| one(model));
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
