//! The figures of a run, drawn from its tables and nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
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
    let mut tables = Tables::new();
    let mut about = About::default();
    for name in finished.manifest.tables.keys() {
        if FIGURES.iter().any(|figure| figure.tables.contains(&name.as_str())) {
            let batch = finished.batch(name)?;
            about = About::of(&batch);
            tables = tables.with(name, batch);
        }
    }
    draw(&tables, &about, &finished.path.join(FOLDER))
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
