//! `refrain figures`: a run's figures, from its tables and nothing else.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::lab::{Finished, Report, draw};

/// Draws the figures of a run again.
#[derive(Args)]
pub struct Figures {
    /// The folder of a complete run
    run: PathBuf,
}

/// Draws them and lists their files.
///
/// # Errors
/// If there is no complete run, or a figure cannot be drawn or written.
pub fn run(figures: &Figures) -> Result<String> {
    let mut report = Report::new(false);
    report.files("Figures", &draw::all(&Finished::open(&figures.run)?)?);
    Ok(report.into_text())
}
