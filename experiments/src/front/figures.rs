//! `refrain figures`: a run's figures, from its tables and nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use refrain_figures::{About, FIGURES, Figure, Tables};

use crate::lab::disk::write_atomically;
use crate::lab::{Finished, Report, draw, folder};

/// Draws the figures of a run again.
#[derive(Args)]
pub struct Figures {
    /// The folder of a complete run
    run: PathBuf,
    /// Draw these figures and no others; all that the run's tables are enough for if not given
    #[arg(long, value_name = "FIGURE", value_delimiter = ',', value_parser = figure())]
    only: Vec<&'static Figure>,
}

/// A parser of names of figures; help lists them, each with what it shows.
fn figure() -> impl TypedValueParser<Value = &'static Figure> {
    let value = |figure: &Figure| PossibleValue::new(figure.name).help(figure.doc);
    PossibleValuesParser::new(FIGURES.iter().map(value))
        .try_map(|name| Figure::find(&name).with_context(|| format!("there is no figure `{name}`")))
}

/// Draws them and lists their files.
///
/// # Errors
/// If there is no complete run, or a figure cannot be drawn or written.
pub fn run(figures: &Figures) -> Result<String> {
    let finished = Finished::open(&figures.run)?;
    let mut paths = Vec::new();
    match &figures.only[..] {
        [] => paths = draw::all(&finished)?,
        only => {
            for figure in only {
                paths.extend(one(&finished, figure)?);
            }
        }
    }
    let mut report = Report::new(false);
    report.files("Figures", &paths);
    Ok(report.into_text())
}

/// Draws one figure, which the run must have the tables for, and something to show in.
fn one(finished: &Finished, figure: &Figure) -> Result<Vec<PathBuf>> {
    let mut tables = Tables::new();
    let mut about = About::default();
    for name in figure.tables {
        if !finished.manifest.tables.contains_key(*name) {
            bail!("--only {}: the run has no table `{name}`, which the figure is drawn from", figure.name);
        }
        let batch = finished.batch(name)?;
        about = About::of(&batch);
        tables = tables.with(*name, batch);
    }
    let drawings = (figure.draw)(&tables, &about).with_context(|| format!("cannot draw {}", figure.name))?;
    let folder: &Path = &finished.path.join(folder::FIGURES);
    let mut paths = Vec::new();
    for drawing in drawings {
        let path = |ending: &str| folder.join(format!("{}.{ending}", drawing.name()));
        write_atomically(&path("svg"), drawing.svg()?.as_bytes())?;
        write_atomically(&path("png"), &drawing.png()?)?;
        paths.push(path("png"));
    }
    Ok(paths)
}
