//! Trains the built-in model on the microworld.

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use refrain_experiments::lab::cli;
use refrain_experiments::lab::disk::read_table;
use refrain_experiments::lab::draw;
use refrain_experiments::training::{Progress, Settings, evaluate, train};
use refrain_figures::{About, Tables};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Train the built-in model: a small Llama on the synthetic language of docs/model.md.
///
/// A run that was interrupted is continued when it is started again with the same settings and folder.
#[derive(Parser)]
#[command(name = "train", version = refrain_experiments::VERSION)]
struct Arguments {
    /// What to train, as TOML.
    #[arg(long, value_name = "FILE", default_value = "experiments/configs/train.toml")]
    config: PathBuf,
    /// Folder of the run: the model, the loss table, and the state to continue from.
    #[arg(long, value_name = "DIR", default_value = "runs/train/default")]
    out: PathBuf,
    /// Total number of steps instead of the configuration's; every phase is scaled.
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Seed, instead of the configuration's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Threads of libtorch. The order of summation depends on it, so another number gives other weights.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Train nothing; print what docs/model.md reports of the model in this folder.
    #[arg(long, value_name = "DIR")]
    evaluate: Option<PathBuf>,
    /// Say nothing but errors.
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    cli::finish(run())
}

fn run() -> Result<String> {
    let arguments = Arguments::parse();
    let mut settings = Settings::read(&arguments.config)?;
    if let Some(steps) = arguments.steps {
        settings = settings.with_steps(steps);
    }
    if let Some(seed) = arguments.seed {
        settings.seed = seed;
    }
    tch::set_num_threads(i32::from(arguments.threads));
    if let Some(folder) = &arguments.evaluate {
        let mut text = Vec::new();
        evaluate(folder, &settings, &mut text)?;
        return Ok(String::from_utf8(text)?);
    }
    let bar = if arguments.quiet || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(u64::from(settings.steps()))
    };
    bar.set_style(ProgressStyle::with_template("{bar:30} step {pos}/{len} {msg} {elapsed}, {eta} left")?);
    let begun = Instant::now();
    let say = |line: String| {
        if !arguments.quiet {
            if bar.is_hidden() { eprintln!("{line}") } else { bar.println(line) }
        }
    };
    train(&settings, &arguments.out, |progress| {
        bar.set_position(u64::from(progress.step));
        if let Some(line) = summary(progress) {
            bar.set_message(line.clone());
            say(format!("step {:5}  {line}  {:.0} s", progress.step, begun.elapsed().as_secs_f64()));
        }
        true
    })
    .with_context(|| format!("training in {} stopped", arguments.out.display()))?;
    bar.finish_and_clear();
    draw_losses(&arguments.out)?;
    Ok(format!("{}\n", arguments.out.join("model").display()))
}

/// Draws the loss table of the run in `out`.
fn draw_losses(out: &Path) -> Result<()> {
    let table = read_table(&out.join("training_loss.parquet"))?;
    let about = About::of(&table);
    draw::draw(&Tables::new().with("training_loss", table), &about, &out.join("figures")).map(drop)
}

/// One line of what a step measured; none if it measured nothing.
fn summary(progress: &Progress<'_>) -> Option<String> {
    let losses: Vec<String> = progress
        .rows
        .iter()
        .filter(|row| row.quantity == "loss_nats")
        .map(|row| format!("{} {:.3}", row.part, row.value))
        .collect();
    let mut heads: Vec<_> = progress.rows.iter().filter(|row| row.quantity == "prefix_matching").collect();
    heads.sort_by(|a, b| b.value.total_cmp(&a.value));
    let heads: Vec<String> =
        heads.iter().take(3).map(|row| format!("{} {:.2}", row.part, row.value)).collect();
    if losses.is_empty() && heads.is_empty() {
        return None;
    }
    Some(format!(
        "{}  {}  lr {:.1e}  grad {:.2}",
        losses.join(" "),
        heads.join(" "),
        progress.learning_rate,
        progress.gradient_norm
    ))
}
