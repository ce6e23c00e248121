//! The repetition curse (Wang et al. 2025, arXiv 2505.13514), tested rather than assumed: which heads are induction
//! heads, how counting fails, what entropy and toxicity do meanwhile, and whether turning the heads down helps.
//!
//! The work is a list of parts with stable names. A part is computed once and written before the next begins; its
//! random draws depend on its name and the seed only. So a killed run resumes, and ends with the same tables.

mod comparison;
mod conditions;
mod counting;
mod figures;
mod heads;
mod likelihood;
mod settings;
mod subject;
mod summary;
mod tracing;
mod units;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use arrow::array::RecordBatch;
use refrain_entropy::schema::Table;
use refrain_entropy::table::{CountSweep, EntropyTrace, Perplexity};
use refrain_patching::table::HeadScores;
use serde::Serialize;

pub use settings::Settings;

use crate::disk::Provenance;
use crate::folder::RunFolder;
use crate::progress::say;
use conditions::conditions;
use subject::{Phrase, Subject};
use tracing::Task;
use units::{Inputs, Unit};

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
    threads: usize,
    frequency_source: String,
    template: String,
    head_sets: std::collections::BTreeMap<String, Vec<String>>,
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
        None => PathBuf::from("runs/repetition-curse").join(subject.name.replace('/', "--")),
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
        conditions(&all_heads, &induction, &settings.schedules()?, settings.random_sets, settings.seed)?;
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

    let workers = settings.threads.map_or_else(|| tch::get_num_threads().max(1) as usize, usize::from);
    let inputs = Inputs { settings, phrases, texts, induction: &induction };
    let resumed = units::run_all(&units, subject, &inputs, folder, workers)?;
    let (mut counts, mut traces, mut likelihoods) = (Vec::new(), Vec::new(), Vec::new());
    for unit in &units {
        let name = unit.name();
        let absent = || anyhow!("the part {name} has gone from {}", folder.path().display());
        match unit {
            Unit::Count(..) => counts.push(folder.part::<CountSweep>(&name, || Err(absent()))?),
            Unit::Trace(..) => traces.push(folder.part::<EntropyTrace>(&name, || Err(absent()))?),
            Unit::Likelihood(..) => likelihoods.push(folder.part::<Perplexity>(&name, || Err(absent()))?),
        }
    }
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
        threads: workers,
        frequency_source: subject.frequency_source.to_owned(),
        template: subject.template(settings).to_owned(),
        head_sets: std::iter::once(("induction", &induction))
            .chain(conditions.iter().map(|condition| (condition.head_set.as_str(), &condition.heads)))
            .filter(|(_, heads)| !heads.is_empty())
            .map(|(set, heads)| (set.to_owned(), heads.iter().map(ToString::to_string).collect()))
            .collect(),
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
        ("model_sha256", subject.sha256.clone()),
        ("tokenizer_sha256", subject.tokenizer.sha256().to_owned()),
        ("seed", settings.seed.to_string()),
        ("settings_sha256", crate::disk::sha256_hex(toml::to_string(&settings.recorded()?)?.as_bytes())),
        ("prompts_sha256", crate::disk::sha256_hex(serde_json::to_string(&(prompts, texts))?.as_bytes())),
        ("metric", "logit of the answer".to_owned()),
        ("direction", "denoise".to_owned()),
        ("ablation", "scaling of the heads' z".to_owned()),
    ];
    let entries = entries.into_iter().chain(subject.origin.clone());
    Ok(entries.map(|(key, value)| (key.to_owned(), value)).collect())
}
