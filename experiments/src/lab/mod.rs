//! The frame that every experiment shares: its flags, the model under study, the folder of a run with its parts and
//! tables, progress, resuming, figures and the summary. An experiment adds what only it does: see [`Experiment`].

mod background;
mod choice;
pub mod cli;
pub mod disk;
pub mod draw;
mod finished;
pub mod folder;
pub mod manifest;
pub mod model_args;
pub mod number;
mod part;
mod part_files;
pub mod progress;
pub mod report;
mod run;
pub mod settings;
pub mod shard;
mod speed;
mod subject;
mod threads;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Command, CommandFactory};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use background::Background;
pub use choice::{choice, documented};
pub use finished::Finished;
pub use number::{Bytes, Count, CountOrNone, Factor, Share, Temperature, TopP};
pub use part::{Finish, Found, Part, Stage};
pub use report::Report;
pub use run::{Extent, Halt, Run};
pub use settings::{Common, Flags};
pub use speed::Speed;
pub use subject::{Subject, by_count, prompts_sha256};
pub use threads::Threads;

use disk::Provenance;
use folder::{Access, RunFolder};
use manifest::Manifest;
use progress::say;

/// One experiment: what only it does. A value of the type is what it works on: prompts, pairs, texts.
pub trait Experiment: Sized {
    /// Its name, on the command line and in folders.
    const NAME: &'static str;
    /// Help: a sentence, an empty line, and what there is to say beside.
    const ABOUT: &'static str;
    /// Examples of calls, for the end of the help.
    const EXAMPLES: &'static str = "";
    /// Its stages, in order.
    const STAGES: &'static [&'static str];
    /// Its own flags whose values the provenance records by their contents: files.
    const BY_CONTENTS: &'static [&'static str] = &[];
    /// Settings that only the tables depend on, and no part: they may be others when a run is taken up again, and
    /// the finished parts stay. A part that depends on one of them after all says so ([`Part::depends_on`]).
    const TABLES_ONLY: &'static [&'static str] = &[];
    /// Its own flags.
    type Settings: Args + Clone + Serialize + DeserializeOwned;

    /// Refuses settings that do not go together, before anything is loaded.
    ///
    /// # Errors
    /// Naming the flags.
    fn check(_settings: &Self::Settings) -> Result<()> {
        Ok(())
    }

    /// Makes what the experiment works on. Nothing is on the disk yet: what is refused here leaves nothing behind.
    ///
    /// # Errors
    /// For a model or settings that cannot be used.
    fn prepare(lab: &Lab<Self::Settings>) -> Result<Self>;

    /// What the tables say of their origin beside the model, the seed and the settings: the task, hashes of
    /// prompts.
    ///
    /// # Errors
    /// If it cannot be written down.
    fn provenance(&self, lab: &Lab<Self::Settings>) -> Result<Provenance>;

    /// Does the stages, and writes the tables of what they found. A later stage may read what earlier ones found.
    ///
    /// # Errors
    /// Of the first part that fails; finished parts are kept.
    fn conduct(&self, lab: &Lab<Self::Settings>, run: &mut Run<'_>) -> Result<()>;

    /// Says what a complete run found. It reads the tables and nothing else.
    ///
    /// # Errors
    /// If a table does not have the columns that it should.
    fn summary(run: &Finished, report: &mut Report) -> Result<()>;
}

/// What an experiment is given.
pub struct Lab<S> {
    /// Its own settings.
    pub settings: S,
    /// Those that every experiment has.
    pub common: Common,
    /// The model.
    pub subject: Subject,
    /// Interventions that hold in every run.
    pub background: Background,
}

/// Runs the program of an experiment.
pub fn main<E: Experiment>() -> ExitCode {
    cli::finish(call::<E>(&command::<E>().get_matches()))
}

/// Its command line.
pub fn command<E: Experiment>() -> Command {
    let about = E::ABOUT.split("\n\n").next().unwrap_or(E::ABOUT);
    let command = Flags::<E::Settings>::command().name(E::NAME).about(about.to_owned()).long_about(E::ABOUT);
    if E::EXAMPLES.is_empty() { command } else { command.after_help(format!("Examples:\n{}", E::EXAMPLES)) }
}

/// Does what a parsed command line asks for. Returns what is to be printed.
///
/// # Errors
/// For settings, a model or a folder that cannot be used; finished parts are kept.
pub fn call<E: Experiment>(matches: &clap::ArgMatches) -> Result<String> {
    let flags = Flags::<E::Settings>::resolve(matches)?;
    let extent = match &flags.common.stage {
        None => Extent::Whole,
        Some(stage) if E::STAGES.contains(&stage.as_str()) => {
            Extent::Stage(stage.clone(), flags.common.shard)
        }
        Some(stage) => {
            bail!(
                "--stage: {} has no stage `{stage}`\nhint: its stages are {}",
                E::NAME,
                E::STAGES.join(", ")
            )
        }
    };
    perform::<E>(flags, extent)
}

/// Takes up the run in the folder that `manifest` is of, with the flags of the call that began it, and does what
/// `extent` says. With `accept_version`, finished parts of another build count.
///
/// # Errors
/// As [`call`], and [`Halt`] if parts are missing.
pub fn take_up<E: Experiment>(
    manifest: &Manifest,
    out: &std::path::Path,
    extent: Extent,
    accept_version: bool,
) -> Result<String> {
    let mut flags: Flags<E::Settings> =
        manifest.flags.clone().try_into().context("the manifest's flags are those of another version")?;
    flags.common.out = Some(out.to_owned());
    flags.common.accept_version = accept_version;
    perform::<E>(flags, extent)
}

/// Does what is left of a run, as far as `extent` says, and returns the summary.
///
/// # Errors
/// As [`call`].
pub fn perform<E: Experiment>(flags: Flags<E::Settings>, extent: Extent) -> Result<String> {
    E::check(&flags.own)?;
    let common = flags.common.clone();
    let _threads = Threads::limit(common.threads.map(Count::get));
    let subject = Subject::load(&common.model, common.quiet)?;
    let (settings, recorded) = (flags.own.clone(), flags.recorded(E::BY_CONTENTS)?);
    let background =
        Background::load(common.intervene.as_deref(), &subject.model, subject.tokenizer.as_ref())?;
    let lab = Lab { settings, common, subject, background };
    let experiment = E::prepare(&lab)?;
    let mut provenance = lab.subject.provenance()?;
    provenance.insert("seed".to_owned(), lab.common.seed.to_string());
    provenance
        .extend(lab.background.sha256().map(|sha256| ("interventions_sha256".to_owned(), sha256.to_owned())));
    provenance.extend(experiment.provenance(&lab)?);
    let manifest = Manifest::new(E::NAME, recorded, provenance, toml::Table::try_from(&flags)?)?;
    let out = lab.common.out.clone().unwrap_or_else(|| folder::default_path(&manifest));
    let access = match extent {
        Extent::Whole | Extent::Tables => Access::Alone,
        Extent::Stage(..) => Access::Shared,
        Extent::Look => Access::Look,
    };
    let folder = RunFolder::open(&out, manifest, E::TABLES_ONLY, lab.common.accept_version, access)?;
    if folder.manifest.complete {
        if !lab.common.quiet {
            say(&format!("{} holds this run already; nothing is computed again", out.display()));
        }
        Finished::open(&out)?.check()?;
    } else {
        let (model, cores, quiet) = (&lab.subject.model, lab.common.cores(), lab.common.quiet);
        if !quiet {
            say(&format!("{} on {}, into {}", E::NAME, lab.subject.name, out.display()));
            for line in &folder.changed {
                say(&format!("{line}; only the tables depend on it, and finished parts are kept"));
            }
        }
        let mut run = Run::new(folder, Some(model), cores, quiet, extent);
        match experiment.conduct(&lab, &mut run) {
            Ok(()) => run.complete()?,
            Err(error) => {
                let done = stage_done(error, &out);
                if done.is_err() {
                    run.abandon();
                }
                return done;
            }
        }
    }
    let finished = Finished::open(&out)?;
    let figures = if lab.common.no_figures { Vec::new() } else { draw::all(&finished)? };
    if lab.common.quiet {
        return Ok(String::new());
    }
    summary::<E>(&finished, lab.common.verbose, &figures)
}

/// The sentence for a stage that is done, or the error.
fn stage_done(error: anyhow::Error, out: &std::path::Path) -> Result<String> {
    match error.downcast_ref::<Halt>() {
        Some(halt @ Halt::StageDone { .. }) => Ok(format!("{halt} in {}\n", out.display())),
        Some(Halt::Missing { stage, .. }) => {
            let hint = format!("hint: run it with --stage {stage}, or without --stage and --shard");
            Err(error.context(hint).context(format!("{} is not ready for this", out.display())))
        }
        Some(Halt::NothingMissing) | None => Err(error),
    }
}

/// What a complete run found, and its files.
///
/// # Errors
/// If a table does not have the columns that it should.
pub fn summary<E: Experiment>(
    finished: &Finished,
    verbose: bool,
    figures: &[std::path::PathBuf],
) -> Result<String> {
    let mut report = Report::new(verbose);
    let model = finished.manifest.provenance.get("model").map_or("", String::as_str);
    let seed = finished.manifest.provenance.get("seed").map_or("", String::as_str);
    report.line(format_args!("{} on {model}, seed {seed}, run {}", E::NAME, finished.manifest.run));
    report.gap();
    E::summary(finished, &mut report)?;
    report.files("Tables", &finished.table_paths());
    report.files("Figures", figures);
    report.files("Manifest", &[finished.path.join(manifest::FILE)]);
    Ok(report.into_text())
}
