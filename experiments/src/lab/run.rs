//! A run under way: its stages are done in order, and its tables are written at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Result, ensure};
use refrain_entropy::schema::Table;
use refrain_runner::Model;

use super::folder::RunFolder;
use super::part::PartKey;
use super::part::Stage;
use super::part_files::Kept;
use super::progress::Progress;
use super::shard::Shard;
use super::speed::Speed;

/// How much of a run is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All that is left.
    Whole,
    /// Some parts of one stage.
    Stage(String, Option<Shard>),
    /// Nothing: a part that is left is an error. For making the tables of a run whose parts are all there.
    Tables,
    /// Nothing at all: for finding out what is left.
    Look,
}

/// Why a run that did what it was to do has no tables.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Halt {
    /// The stage, or the shard of it, that was asked for is done.
    #[error("{done} of {parts} parts of the stage {stage} are finished")]
    StageDone {
        /// Its name.
        stage: &'static str,
        /// Parts that are on the disk.
        done: usize,
        /// All of them.
        parts: usize,
    },
    /// Every part is there, and nothing more was to be found out.
    #[error("no part is missing")]
    NothingMissing,
    /// Parts are missing.
    #[error("{} of {parts} parts of the stage {stage} are missing: {}", missing.len(), some(missing))]
    Missing {
        /// The stage.
        stage: &'static str,
        /// The parts' numbers and ids.
        missing: Vec<(usize, String)>,
        /// How many it has.
        parts: usize,
    },
}

fn some(missing: &[(usize, String)]) -> String {
    let shown: Vec<&str> = missing.iter().take(5).map(|(_, id)| id.as_str()).collect();
    let more = if missing.len() > shown.len() { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// A run under way.
pub struct Run<'a> {
    folder: RunFolder,
    model: Option<&'a Model>,
    cores: usize,
    quiet: bool,
    extent: Extent,
    begun: Instant,
    facts: toml::Table,
    rows: BTreeMap<&'static str, usize>,
    /// Parts, and those that were there already.
    parts: (usize, usize),
    /// What this process generated.
    speed: Speed,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        folder: RunFolder,
        model: Option<&'a Model>,
        cores: usize,
        quiet: bool,
        extent: Extent,
    ) -> Self {
        let begun = Instant::now();
        Run {
            folder,
            model,
            cores,
            quiet,
            extent,
            begun,
            facts: toml::Table::new(),
            rows: BTreeMap::new(),
            parts: (0, 0),
            speed: Speed::default(),
        }
    }

    /// Does what is left of a stage.
    ///
    /// # Errors
    /// Of the first part that fails; those before it are kept. [`Halt`] if no more than this is to be done now.
    pub fn stage(&mut self, stage: &Stage<'_>) -> Result<()> {
        let ids: BTreeSet<&str> = stage.parts.iter().map(|part| part.id.as_str()).collect();
        ensure!(ids.len() == stage.parts.len(), "two parts of the stage {} have one id", stage.name);
        let kept: Vec<Kept> = (0..stage.parts.len()).map(|part| self.kept(stage, part)).collect();
        let left: Vec<usize> = (0..kept.len()).filter(|part| kept[*part] != Kept::Yes).collect();
        let (all, there) = (stage.parts.len(), stage.parts.len() - left.len());
        self.parts = (self.parts.0 + all, self.parts.1 + there);
        let (todo, halt): (Vec<usize>, bool) = match &self.extent {
            Extent::Whole => (left, false),
            Extent::Stage(name, shard) if name == stage.name => {
                (left.into_iter().filter(|part| shard.is_none_or(|shard| shard.holds(*part))).collect(), true)
            }
            _ if left.is_empty() => (left, false),
            _ => {
                let missing = left.into_iter().map(|part| (part, stage.parts[part].id.clone())).collect();
                return Err(Halt::Missing { stage: stage.name, missing, parts: all }.into());
            }
        };
        if !todo.is_empty() {
            let stale = todo.iter().filter(|part| kept[**part] == Kept::Stale).count();
            let speed = self.run(stage, &todo, (there, stale))?;
            self.speed.add(speed);
        }
        if halt {
            let done = (0..all).filter(|part| self.kept(stage, *part) == Kept::Yes).count();
            return Err(Halt::StageDone { stage: stage.name, done, parts: all }.into());
        }
        Ok(())
    }

    /// Does the parts `todo`, where of all of them so many are `there` already and so many others are `stale`.
    fn run(&self, stage: &Stage<'_>, todo: &[usize], (there, stale): (usize, usize)) -> Result<Speed> {
        let cost =
            |parts: &mut dyn Iterator<Item = usize>| parts.map(|part| stage.parts[part].cost).sum::<f64>();
        let all = stage.parts.len();
        let (total, left) = (cost(&mut (0..all)), cost(&mut todo.iter().copied()));
        let progress = Progress::new((all, all - todo.len()), (total, total - left), self.quiet);
        if there > 0 {
            progress.note(&format!("resuming: {there} of {all} parts of the stage {} are there", stage.name));
        }
        if stale > 0 {
            progress.note(&format!(
                "{stale} of {all} parts of the stage {} are done again: what they depend on has changed",
                stage.name
            ));
        }
        // Threads share these, not the stage's work.
        let folder = &self.folder;
        let keys: Vec<PartKey<'_>> = (0..all).map(|part| stage.key(part)).collect();
        let tables: Vec<&[&str]> = (0..all).map(|part| stage.tables_of(part)).collect();
        let done = stage.run(todo, self.model, self.cores, &progress, &|part, found| {
            folder.write_part(&keys[part], tables[part], found)
        });
        let speed = progress.finish();
        done.map(|()| speed)
    }

    fn kept(&self, stage: &Stage<'_>, part: usize) -> Kept {
        self.folder.kept(&stage.key(part), stage.tables_of(part))
    }

    /// The rows of table `T` in one part of a finished stage.
    ///
    /// # Errors
    /// If the part cannot be read.
    pub fn part<T: Table>(&self, stage: &Stage<'_>, part: usize) -> Result<Vec<T::Row>> {
        ensure!(part < stage.parts.len(), "the stage {} has no part {part}", stage.name);
        self.folder.read_part::<T>(&stage.key(part))
    }

    /// The rows of table `T` in all parts of a finished stage, in their order.
    ///
    /// # Errors
    /// If a part cannot be read.
    pub fn rows<T: Table>(&self, stage: &Stage<'_>) -> Result<Vec<T::Row>> {
        let mut rows = Vec::new();
        for part in 0..stage.parts.len() {
            rows.extend(self.part::<T>(stage, part)?);
        }
        Ok(rows)
    }

    /// The rows of table `T` in some parts of a finished stage.
    ///
    /// # Errors
    /// If a part cannot be read.
    pub fn rows_of<T: Table>(&self, stage: &Stage<'_>, parts: &[usize]) -> Result<Vec<T::Row>> {
        let mut rows = Vec::new();
        for part in parts {
            rows.extend(self.part::<T>(stage, *part)?);
        }
        Ok(rows)
    }

    /// Writes the final table `T`.
    ///
    /// # Errors
    /// If a row does not fit it, or it cannot be written.
    pub fn write<T: Table>(&mut self, rows: &[T::Row]) -> Result<()> {
        self.may_write()?;
        let count = self.folder.write_whole::<T>(std::iter::once(Ok(T::batch(rows)?)))?;
        self.rows.insert(T::NAME, count);
        Ok(())
    }

    /// Writes the final table `T` from pieces, of which one is in memory at a time; `piece` makes the one of a
    /// number from this run's parts.
    ///
    /// # Errors
    /// If a piece fails, a row does not fit the table, or it cannot be written.
    pub fn write_pieces<T: Table>(
        &mut self,
        pieces: usize,
        mut piece: impl FnMut(&Self, usize) -> Result<Vec<T::Row>>,
    ) -> Result<()> {
        self.may_write()?;
        let batches = (0..pieces).map(|index| Ok(T::batch(&piece(self, index)?)?));
        let count = self.folder.write_whole::<T>(batches)?;
        self.rows.insert(T::NAME, count);
        Ok(())
    }

    fn may_write(&self) -> Result<()> {
        if self.extent == Extent::Look { Err(Halt::NothingMissing.into()) } else { Ok(()) }
    }

    /// Notes something for the manifest of the complete run.
    pub fn fact(&mut self, name: &str, value: impl Into<toml::Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Ends a run that could not go on.
    pub(super) fn abandon(self) {
        self.folder.forget_if_empty();
    }

    /// Marks the run complete.
    pub(super) fn complete(mut self) -> Result<()> {
        self.fact("wall_s", self.begun.elapsed().as_secs_f64());
        self.fact("parts", self.parts.0 as i64);
        self.fact("resumed_parts", self.parts.1 as i64);
        self.fact("cores", self.cores as i64);
        if let Some(rate) = self.speed.tokens_per_s() {
            self.fact("generated_tokens", self.speed.tokens as i64);
            self.fact("tokens_per_s_a_core", rate);
        }
        let rows = self.rows.iter().map(|(name, rows)| ((*name).to_owned(), (*rows as i64).into()));
        self.fact("rows", rows.collect::<toml::Table>());
        let facts = std::mem::take(&mut self.facts);
        let tables: Vec<&str> = self.rows.keys().copied().collect();
        self.folder.complete(&tables, facts)
    }
}
