//! The figures of a run, each drawn from a table.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use refrain_figures::{About, Drawing, FIGURES, Figure};

use super::Tables;
use super::settings::Settings;
use crate::disk::write_atomically;

/// Draws every figure that the run has the tables for, as SVG and PNG, into `folder`; returns the PNGs' paths.
///
/// # Errors
/// If a figure cannot be drawn or written.
pub fn draw(tables: &Tables, model: &str, settings: &Settings, folder: &Path) -> Result<Vec<PathBuf>> {
    let about = About { model: model.to_owned(), seed: Some(settings.seed), ..About::default() };
    let tables: refrain_figures::Tables = [
        ("head_scores", &tables.head_scores),
        ("count_sweep", &tables.count_sweep),
        ("entropy_trace", &tables.entropy_trace),
        ("perplexity", &tables.perplexity),
    ]
    .into_iter()
    .map(|(name, table)| (name, table.clone()))
    .collect();
    let figures: Vec<&Figure> = FIGURES.iter().filter(|figure| figure.has_tables(&tables)).collect();
    let write = |figure: &&Figure| -> Result<Vec<PathBuf>> {
        let drawings = match (figure.draw)(&tables, &about) {
            Ok(drawings) => drawings,
            // A run without interventions, say, has nothing to show in some figures.
            Err(error) if error.is_nothing_to_draw() => {
                if !settings.quiet {
                    eprintln!("no figure {}: {error}", figure.name);
                }
                return Ok(Vec::new());
            }
            Err(error) => return Err(error).with_context(|| format!("cannot draw {}", figure.name)),
        };
        let file = |drawing: &Drawing| -> Result<PathBuf> {
            let name = drawing.name();
            write_atomically(&folder.join(format!("{name}.svg")), drawing.svg()?.as_bytes())?;
            let path = folder.join(format!("{name}.png"));
            write_atomically(&path, &drawing.png()?)?;
            Ok(path)
        };
        drawings.iter().map(file).collect()
    };
    let drawn: Vec<Vec<PathBuf>> = figures.par_iter().map(write).collect::<Result<_>>()?;
    Ok(drawn.into_iter().flatten().collect())
}
