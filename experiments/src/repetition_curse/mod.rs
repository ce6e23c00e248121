//! The repetition curse (Wang et al. 2025, arXiv 2505.13514), tested rather than assumed: which heads are induction
//! heads, how counting fails, what entropy and toxicity do meanwhile, and whether turning the heads down helps.
//!
//! The work is a list of parts with stable names. A part is computed once and written before the next begins; its
//! random draws depend on its name and the seed only. So a killed run resumes, and ends with the same tables.

mod conditions;
mod counting;
mod figures;
mod heads;
mod likelihood;
mod settings;
mod subject;
mod summary;
mod tracing;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use refrain_entropy::schema::Table;
use refrain_entropy::table::{CountSweep, EntropyTrace, Perplexity};
use refrain_patching::table::HeadScores;
use serde::Serialize;

pub use settings::Settings;

use crate::disk::Provenance;
use crate::folder::RunFolder;
use crate::progress::{Progress, say};
use conditions::{Condition, conditions};
use subject::{Phrase, Subject};
use tracing::Task;

/// The four tables of a run.
struct Tables {
    head_scores: RecordBatch,
    count_sweep: RecordBatch,
    entropy_trace: RecordBatch,
    perplexity: RecordBatch,
}

/// What the manifest says about a complete run beside settings and provenance.
#[derive(Serialize)]
struct Facts {
    wall_s: f64,
    resumed_parts: usize,
    threads: i32,
    frequency_source: String,
    template: String,
    induction_heads: Vec<String>,
    rows: std::collections::BTreeMap<String, usize>,
}

/// Runs the experiment, or what is left of it, and returns the summary to print.
///
/// # Errors
/// For settings, a model, or an output folder that cannot be used; finished parts are kept.
pub fn run(settings: &Settings) -> Result<String> {
    settings.check()?;
    if let Some(threads) = settings.threads {
        tch::set_num_threads(i32::from(threads));
    }
    let begun = Instant::now();
    let subject = Subject::load(settings)?;
    let phrases = subject.phrases(settings)?;
    let texts = subject.texts(settings)?;
    let out = match &settings.out {
        Some(out) => out.clone(),
        None => PathBuf::from("runs/repetition-curse").join(&subject.name),
    };
    let mut folder = RunFolder::open(
        &out,
        "repetition-curse",
        &settings.recorded()?,
        provenance(&subject, settings, &phrases, &texts)?,
    )?;
    let tables = if folder.is_complete() {
        if !settings.quiet {
            say(&format!("{} holds this run already; nothing is computed again", out.display()));
        }
        Tables {
            head_scores: folder.whole::<HeadScores>()?,
            count_sweep: folder.whole::<CountSweep>()?,
            entropy_trace: folder.whole::<EntropyTrace>()?,
            perplexity: folder.whole::<Perplexity>()?,
        }
    } else {
        compute(settings, &subject, &phrases, &texts, &mut folder, begun)?
    };
    let figures = if settings.no_figures {
        Vec::new()
    } else {
        figures::draw(&tables, &subject.name, settings, &folder.figures_path())?
    };
    if settings.quiet {
        return Ok(String::new());
    }
    summary::summary(&tables, &subject, settings, &folder, &figures)
}

/// One part of the work.
enum Unit<'a> {
    Count(&'a Condition, u32),
    Trace(&'a Condition, Task<'a>),
    Likelihood(&'a Condition),
}

impl Unit<'_> {
    fn name(&self) -> String {
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
}

fn compute(
    settings: &Settings,
    subject: &Subject,
    phrases: &[Phrase],
    texts: &[Vec<i64>],
    folder: &mut RunFolder,
    begun: Instant,
) -> Result<Tables> {
    if !settings.quiet {
        say(&format!("{}: scoring {} heads", subject.name, subject.model.heads().len()));
    }
    let head_scores = folder
        .part::<HeadScores>("all", || heads::head_scores(subject, settings))
        .context("scoring the heads")?;
    let induction = heads::induction_heads(&HeadScores::rows(&head_scores)?);
    let all_heads = subject.model.heads();
    let conditions =
        conditions(&all_heads, &induction, &settings.schedules()?, settings.random_sets, settings.seed);
    let followed = tracing::followed(phrases, settings);

    let mut units = Vec::new();
    for condition in &conditions {
        units.extend(settings.counts.iter().map(|n| Unit::Count(condition, *n)));
    }
    for condition in &conditions {
        units.push(Unit::Trace(condition, Task::Repetition(&followed)));
        if condition.intervention == "none" {
            units.push(Unit::Trace(condition, Task::Ordinary(texts)));
        }
    }
    units.extend(conditions.iter().map(Unit::Likelihood));

    let resumed = units.iter().filter(|unit| unit.is_done(folder)).count();
    let mut progress = Progress::new(units.len() as u64, resumed as u64, settings.quiet);
    if resumed > 0 {
        progress.note(&format!("resuming: {resumed} of {} parts are there", units.len()));
    }
    let (mut counts, mut traces, mut likelihoods) = (Vec::new(), Vec::new(), Vec::new());
    for unit in &units {
        let (name, new) = (unit.name(), !unit.is_done(folder));
        progress.doing(&name);
        match unit {
            Unit::Count(condition, n) => counts.push(
                folder
                    .part::<CountSweep>(&name, || counting::count(subject, settings, phrases, condition, *n))
                    .with_context(|| format!("counting to {n} under {}", condition.id()))?,
            ),
            Unit::Trace(condition, task) => {
                // The control sets tell nothing about the toxicity of the induction heads.
                let measured = (!condition.is_control()).then_some(&induction[..]);
                let make = || tracing::trace(subject, settings, condition, *task, measured);
                traces.push(
                    folder.part::<EntropyTrace>(&name, make).with_context(|| format!("following {name}"))?,
                );
            }
            Unit::Likelihood(condition) => likelihoods.push(
                folder
                    .part::<Perplexity>(&name, || likelihood::likelihood(subject, settings, texts, condition))
                    .with_context(|| format!("perplexity under {}", condition.id()))?,
            ),
        }
        if new {
            progress.advance(1);
        }
    }
    progress.finish();
    let tables = Tables {
        head_scores: folder.write_whole::<HeadScores>(&[head_scores])?,
        count_sweep: folder.write_whole::<CountSweep>(&counts)?,
        entropy_trace: folder.write_whole::<EntropyTrace>(&traces)?,
        perplexity: folder.write_whole::<Perplexity>(&likelihoods)?,
    };
    let rows = [
        (HeadScores::NAME, &tables.head_scores),
        (CountSweep::NAME, &tables.count_sweep),
        (EntropyTrace::NAME, &tables.entropy_trace),
        (Perplexity::NAME, &tables.perplexity),
    ];
    folder.complete(&Facts {
        wall_s: begun.elapsed().as_secs_f64(),
        resumed_parts: resumed,
        threads: tch::get_num_threads(),
        frequency_source: subject.frequency_source.to_owned(),
        template: subject.template(settings).to_owned(),
        induction_heads: induction.iter().map(ToString::to_string).collect(),
        rows: rows.iter().map(|(name, batch)| ((*name).to_owned(), batch.num_rows())).collect(),
    })?;
    Ok(tables)
}

/// What every table says of its origin.
fn provenance(
    subject: &Subject,
    settings: &Settings,
    phrases: &[Phrase],
    texts: &[Vec<i64>],
) -> Result<Provenance> {
    let mut prompts = Vec::new();
    for phrase in phrases {
        for n in &settings.counts {
            prompts.push(subject.prompt(settings, phrase, *n, counting::prefilled(settings, *n))?);
        }
    }
    let entries = [
        ("experiment", "repetition-curse".to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("model", subject.name.clone()),
        ("model_sha256", subject.sha256.clone()),
        ("tokenizer_sha256", subject.tokenizer.sha256().to_owned()),
        ("dtype", "f32".to_owned()),
        ("device", "cpu".to_owned()),
        ("seed", settings.seed.to_string()),
        ("settings_sha256", crate::disk::sha256_hex(toml::to_string(&settings.recorded()?)?.as_bytes())),
        ("prompts_sha256", crate::disk::sha256_hex(serde_json::to_string(&(prompts, texts))?.as_bytes())),
        ("metric", "logit of the answer".to_owned()),
        ("direction", "denoise".to_owned()),
        ("ablation", "scaling of the heads' z".to_owned()),
    ];
    Ok(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
