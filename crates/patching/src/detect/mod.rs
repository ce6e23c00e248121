//! Detectors: what every head does on repeated random tokens, in its weights, and beside other heads; with p-values and
//! intervals.
//!
//! [`run`] measures the [`Detector`]s on random sequences, all heads of all sequences in as many passes as memory
//! asks for. [`composition`] compares the weights of pairs of heads. [`inactivity`] finds inactive heads on inputs
//! of the caller's.
//!
//! # The nulls
//!
//! A pattern detector's score is compared with `null_draws` scores of the same head, on the same sequences, for
//! random targets: in each sequence and draw, every query gets as many distinct positions as it has targets,
//! uniformly among all causal ones, from 0 up to and with itself (also those outside a sliding window, BOS, and its
//! true targets: a null that knew where heads attend would not be one). For the copying score the attended token is
//! replaced, where its share is taken, by one of the tokens that are compared. With K draws, p = (1 + how many are
//! as large as what is observed) / (1 + K), of the mean over sequences, one-sided: it says that a score is higher
//! than by chance, not that it is high. It is not corrected for the number of heads. All heads share the draws of a
//! sequence.

mod assignment;
mod circuit;
mod composition;
mod copying;
mod detector;
mod inactivity;
mod passes;
mod repeated_sequence;
mod settings;
mod summary;
mod tally;
#[cfg(test)]
mod tests;

use refrain_entropy::stats::rng;
use refrain_runner::{HookPoint, Model};

use crate::error::{Error, Result};
use assignment::{IndexBags, LoadedBags, null_rng, table, targets};
use copying::Copying;
use summary::{of_weights, summary};
use tally::Accumulator;

pub use composition::{Composition, Through, composition};
pub use detector::{Detector, Inactivity, Measure};
pub use inactivity::{InactivityScores, inactivity};
pub use repeated_sequence::RepeatedSequence;
pub use settings::Settings;
pub use summary::DetectorScore;

/// Measures every head: detectors in the order of `settings`, heads within in that of [`Model::heads`]. `progress`
/// is told how many layers of batches are done, and of how many.
///
/// # Errors
/// [`Error::Input`] for a sequence that cannot be drawn or no sequence at all, [`Error::Runner`] if the model
/// cannot be run, for instance because the sequences are longer than its window.
pub fn run(
    model: &Model,
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<DetectorScore>> {
    let draw = |sequence| settings.probe.draw(&mut rng(settings.seed, &format!("probe/{sequence}")));
    let rows: Vec<Vec<i64>> = (0..settings.sequences).map(draw).collect::<Result<_>>()?;
    run_on(model, settings, &rows, progress)
}

/// The same on the caller's own sequences, which must have the form that the settings state: BOS and copies of a block.
///
/// # Errors
/// As [`run`]; [`Error::Input`] naming a sequence of another length or that is no such repetition.
pub fn run_on(
    model: &Model,
    settings: &Settings<'_>,
    rows: &[Vec<i64>],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<DetectorScore>> {
    if rows.is_empty() {
        return Err(Error::Input("heads are scored on one sequence at least".into()));
    }
    let RepeatedSequence { block, copies, bos, .. } = settings.probe;
    let first = usize::from(bos.is_some());
    for (index, row) in rows.iter().enumerate() {
        let repeats = row.len() == first + block * copies
            && row[..first].iter().copied().eq(bos)
            && row[first..].chunks(block.max(1)).all(|copy| copy == &row[first..first + block]);
        if !repeats {
            return Err(Error::Input(format!(
                "sequence {index} is not {copies} copies of {block} tokens{}",
                if bos.is_some() { " after BOS" } else { "" }
            )));
        }
    }
    let settings = &Settings { sequences: rows.len(), ..settings.clone() };
    tch::no_grad(|| {
        let tally = on_sequences(model, settings, rows, progress)?;
        let mut all = Vec::new();
        for detector in &settings.detectors {
            match detector {
                Detector::CopyingEigenvalues => {
                    let scores = copying::eigenvalues(model)?;
                    let heads = model.heads();
                    all.extend(heads.into_iter().zip(scores).map(|(head, score)| of_weights(head, score)));
                }
                _ => {
                    for (index, head) in model.heads().into_iter().enumerate() {
                        all.push(summary(settings, &tally, *detector, (index, head)));
                    }
                }
            }
        }
        Ok(all)
    })
}

/// Sums over all sequences, batch by batch and layer by layer.
fn on_sequences(
    model: &Model,
    settings: &Settings<'_>,
    rows: &[Vec<i64>],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Accumulator> {
    let (n, draws, seed) = (settings.probe.length(), settings.null_draws, settings.seed);
    let wanted = |detector: &&Detector| settings.detectors.contains(detector);
    let patterns: Vec<Detector> = Detector::PATTERN.iter().filter(wanted).copied().collect();
    let copying = settings.detectors.contains(&Detector::Copying) && circuit::obstacle(model).is_none();
    let functions: Vec<Inactivity> = Inactivity::all()
        .into_iter()
        .filter(|function| settings.detectors.contains(&Detector::from(*function)))
        .collect();
    let mut points = inactivity::points(&functions);
    if !points.contains(&HookPoint::Pattern) && (copying || !patterns.is_empty()) {
        points.push(HookPoint::Pattern);
    }
    let mut tally = Accumulator::new(model.heads().len(), rows.len(), draws);
    if points.is_empty() {
        return Ok(tally);
    }
    let compared = copying::compared(&settings.probe, settings.compared);
    // Row numbers of at most two earlier copies' worth of targets a detector and draw, and tables of shares.
    let lists = patterns.len() * settings.probe.copies.min(n) / 2 * n * (1 + draws) * 8;
    let shares =
        if copying { model.architecture().n_heads * settings.probe.block * compared * 16 } else { 0 };
    let at_once = passes::rows_at_once(model, n, lists + shares, settings.memory_bytes);
    let layers = model.architecture().n_layers;
    let total = rows.len().div_ceil(at_once) * layers;
    for (batch, first) in rows.chunks(at_once).zip((0..).step_by(at_once)) {
        let bags = pattern_bags(model, settings, &patterns, batch, first)?;
        let scored = match copying {
            true => Some(Copying::new(model, &settings.probe, batch, first, (compared, draws, seed))?),
            false => None,
        };
        passes::each_layer(model, batch, &points, &mut |layer, cache| {
            let place = (layer * model.architecture().n_heads, model.architecture().n_heads, first);
            if !patterns.is_empty() {
                let sums = bags.sums(&table(cache.block(layer, HookPoint::Pattern)?)?)?;
                tally.add(&patterns, place, true, &sums);
            }
            if let Some(scored) = &scored {
                let shares = scored.shares(model, layer, cache.block(layer, HookPoint::Pattern)?)?;
                tally.add(&[Detector::Copying], place, true, &shares);
            }
            for (function, values) in
                functions.iter().zip(inactivity::measured(model, layer, cache, &functions)?)
            {
                tally.add(&[Detector::from(*function)], place, false, &values);
            }
            progress(first / at_once * layers + layer + 1, total);
            Ok(())
        })?;
    }
    Ok(tally)
}

/// The targets of `patterns` on a batch whose first sequence is number `first`: by row, then detector, then draw.
fn pattern_bags(
    model: &Model,
    settings: &Settings<'_>,
    patterns: &[Detector],
    batch: &[Vec<i64>],
    first: usize,
) -> Result<LoadedBags> {
    let n = settings.probe.length();
    let mut bags = IndexBags::default();
    for (index, tokens) in batch.iter().enumerate() {
        for detector in patterns {
            let targets = targets(*detector, &settings.probe, tokens);
            let mut rng = null_rng(settings.seed, *detector, first + index);
            bags.add_pattern(&targets, (n, index * n * n), settings.null_draws, &mut rng);
        }
    }
    bags.load(model.device())
}
