//! The figures of a run, each drawn from a table.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use refrain_figures::{About, Drawing, Error};

use super::Tables;
use super::settings::Settings;
use crate::disk::write_atomically;

type Draw<'a> = Box<dyn Fn() -> Result<Drawing, Error> + Send + Sync + 'a>;

/// Draws every figure as SVG and PNG into `folder`; returns the PNGs' paths.
///
/// # Errors
/// If a figure cannot be drawn or written.
pub fn draw(tables: &Tables, model: &str, settings: &Settings, folder: &Path) -> Result<Vec<PathBuf>> {
    let about = About { model: model.to_owned(), seed: Some(settings.seed), ..About::default() };
    let heads = About { prompts: Some(settings.trials), ..about.clone() };
    let Tables { head_scores, count_sweep, entropy_trace, perplexity } = tables;
    let figures: Vec<(&str, Draw<'_>)> = vec![
        ("head_heat_map", Box::new(|| refrain_figures::head_heat_map(head_scores, &heads))),
        ("response_length", Box::new(|| refrain_figures::response_length(count_sweep, &about))),
        ("entropy_trace", Box::new(|| refrain_figures::entropy_trace(entropy_trace, &about))),
        ("toxicity_trace", Box::new(|| refrain_figures::toxicity_trace(entropy_trace, &about))),
        ("control", Box::new(|| refrain_figures::control(count_sweep, &about))),
        ("perplexity", Box::new(|| refrain_figures::perplexity(perplexity, &about))),
        (
            "entropy_under_intervention",
            Box::new(|| refrain_figures::entropy_under_intervention(entropy_trace, &about)),
        ),
    ];
    let write = |(name, draw): &(&str, Draw<'_>)| -> Result<Option<PathBuf>> {
        let drawn = || -> Result<(String, Vec<u8>), Error> {
            let drawing = draw()?;
            Ok((drawing.svg()?, drawing.png()?))
        };
        let (svg, png) = match drawn() {
            Ok(drawn) => drawn,
            // A run without interventions, say, has nothing to show in some figures.
            Err(error @ Error::NothingToDraw { .. }) => {
                if !settings.quiet {
                    eprintln!("no figure {name}: {error}");
                }
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot draw {name}")),
        };
        write_atomically(&folder.join(format!("{name}.svg")), svg.as_bytes())?;
        let path = folder.join(format!("{name}.png"));
        write_atomically(&path, &png)?;
        Ok(Some(path))
    };
    let drawn: Vec<Option<PathBuf>> = figures.par_iter().map(write).collect::<Result<_>>()?;
    Ok(drawn.into_iter().flatten().collect())
}
