//! The figures of a run, drawn from its tables and nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use refrain_figures::{About, Drawing, FIGURES, Figure, Tables};

use super::disk::write_atomically;
use super::finished::Finished;
use super::folder::FIGURES as FOLDER;

/// Draws every figure that the run's tables are enough for, as SVG and PNG; returns the PNGs' paths.
///
/// # Errors
/// If a figure cannot be drawn or written.
pub fn all(finished: &Finished) -> Result<Vec<PathBuf>> {
    let shown = |name: &&str| FIGURES.iter().any(|figure| figure.tables.contains(name));
    let (tables, about) = read(finished, finished.manifest.tables.keys().map(String::as_str).filter(shown))?;
    draw(&tables, &about, &finished.path.join(FOLDER))
}

/// Draws one figure, which the run must have the tables for, and something to show in.
///
/// # Errors
/// Naming the table that is not there; if the figure cannot be drawn or written.
pub fn one(finished: &Finished, figure: &Figure) -> Result<Vec<PathBuf>> {
    if let Some(name) = figure.tables.iter().find(|name| !finished.manifest.tables.contains_key(**name)) {
        bail!("the run has no table `{name}`, which the figure {} is drawn from", figure.name);
    }
    let (tables, about) = read(finished, figure.tables.iter().copied())?;
    let drawings = (figure.draw)(&tables, &about).with_context(|| format!("cannot draw {}", figure.name))?;
    drawings.iter().map(|drawing| write(drawing, &finished.path.join(FOLDER))).collect()
}

fn read<'n>(finished: &Finished, names: impl Iterator<Item = &'n str>) -> Result<(Tables, About)> {
    let (mut tables, mut about) = (Tables::new(), About::default());
    for name in names {
        let batch = finished.batch(name)?;
        about = About::of(&batch);
        tables = tables.with(name, batch);
    }
    Ok((tables, about))
}

/// Draws every figure that `tables` are enough for into `folder`.
///
/// # Errors
/// If a figure cannot be drawn or written.
pub fn draw(tables: &Tables, about: &About, folder: &Path) -> Result<Vec<PathBuf>> {
    let figures: Vec<&Figure> = FIGURES.iter().filter(|figure| figure.has_tables(tables)).collect();
    let drawn: Vec<Vec<PathBuf>> = figures
        .par_iter()
        .map(|figure| match (figure.draw)(tables, about) {
            Ok(drawings) => drawings.iter().map(|drawing| write(drawing, folder)).collect(),
            // A run without interventions, say, has nothing to show in some figures.
            Err(error) if error.is_nothing_to_draw() => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("cannot draw {}", figure.name)),
        })
        .collect::<Result<_>>()?;
    Ok(drawn.into_iter().flatten().collect())
}

fn write(drawing: &Drawing, folder: &Path) -> Result<PathBuf> {
    let name = drawing.name();
    write_atomically(&folder.join(format!("{name}.svg")), drawing.svg()?.as_bytes())?;
    let path = folder.join(format!("{name}.png"));
    write_atomically(&path, &drawing.png()?)?;
    Ok(path)
}

/// The figures that are in a run's folder.
pub fn drawn(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join(FOLDER)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "png"))
        .collect();
    paths.sort();
    paths
}
