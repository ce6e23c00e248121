//! The heat maps of a run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use refrain_entropy::schema::Table;
use refrain_figures::{About, FIGURES, Tables};
use refrain_patching::table::{HeadScoreRow, HeadScores};

use super::subject::Subject;
use crate::disk::write_atomically;
use crate::progress::say;

/// Draws every figure of `head_scores` as SVG and PNG into `folder`; returns the PNGs' paths.
///
/// # Errors
/// If a figure cannot be drawn or written.
pub fn draw(
    means: &[HeadScoreRow],
    subject: &Subject,
    seed: u64,
    quiet: bool,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    let about = About {
        model: subject.name.clone(),
        task: subject.task.clone(),
        seed: Some(seed),
        note: format!("{} pairs", subject.pairs.len()),
    };
    let tables = Tables::new().with(HeadScores::NAME, HeadScores::batch(means)?);
    let mut drawn = Vec::new();
    for figure in FIGURES.iter().filter(|figure| figure.has_tables(&tables)) {
        let drawings = match (figure.draw)(&tables, &about) {
            Ok(drawings) => drawings,
            Err(error) if error.is_nothing_to_draw() => {
                if !quiet {
                    say(&format!("no figure {}: {error}", figure.name));
                }
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot draw {}", figure.name)),
        };
        for drawing in drawings {
            let name = drawing.name();
            write_atomically(&folder.join(format!("{name}.svg")), drawing.svg()?.as_bytes())?;
            let path = folder.join(format!("{name}.png"));
            write_atomically(&path, &drawing.png()?)?;
            drawn.push(path);
        }
    }
    Ok(drawn)
}
