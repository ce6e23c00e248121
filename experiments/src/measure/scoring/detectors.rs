//! The detectors, on sequences of their own.

use anyhow::{Result, ensure};
use refrain_patching::detect::{self, RepeatedSequence};
use refrain_patching::table::{EdgeScoreRow, HeadScoreRow};
use refrain_patching::{Measure, Method};

use super::settings::Scoring;

/// Random assignments that a p-value counts.
const NULL_DRAWS: usize = 200;

/// Rows of the detectors: means over sequences, with p-values, and each sequence's.
///
/// # Errors
/// If the window has no room for a sequence, or the model cannot be run.
pub fn heads(scoring: &Scoring<'_>) -> Result<Vec<HeadScoreRow>> {
    let (model, probe) = (scoring.model, &scoring.probe);
    let arch = model.architecture();
    let room = arch.n_ctx.saturating_sub(usize::from(arch.bos.is_some()));
    let block = (room / probe.copies).min(probe.block);
    ensure!(
        block > 0,
        "the model's window of {} positions has no room for {} copies of a block",
        arch.n_ctx,
        probe.copies
    );
    let settings = detect::Settings {
        sequences: probe.sequences,
        detectors: probe.detectors.clone(),
        resamples: scoring.resamples,
        null_draws: NULL_DRAWS,
        seed: scoring.seed,
        memory_bytes: scoring.memory.min(1 << 30) as usize,
        ..detect::Settings::new(RepeatedSequence {
            block,
            copies: probe.copies,
            candidates: probe.tokens,
            bos: arch.bos,
        })
    };
    let mut rows = Vec::new();
    for found in detect::run(model, &settings, &mut |_, _| ())? {
        let row = HeadScoreRow {
            layer: found.head.layer as u32,
            head: Some(found.head.head as u32),
            ..HeadScoreRow::new(Method::Detectors, found.detector.looks_at(), found.detector.into())
        };
        rows.push(HeadScoreRow {
            n_prompts: found.by_sequence.len() as u32,
            value: found.value,
            ci_low: found.ci_low,
            ci_high: found.ci_high,
            p_value: found.p_value,
            reason: found.reason,
            ..row.clone()
        });
        rows.extend(found.by_sequence.iter().zip(0..).map(|(value, sequence)| HeadScoreRow {
            prompt: Some(sequence),
            n_prompts: 1,
            value: Some(*value),
            ..row.clone()
        }));
    }
    Ok(rows)
}

/// How much of what an earlier head writes a later one reads, as queries, keys or values.
///
/// # Errors
/// If the weights cannot be multiplied.
pub fn composition(scoring: &Scoring<'_>) -> Result<Vec<EdgeScoreRow>> {
    let found = detect::composition(scoring.model, NULL_DRAWS, scoring.seed)?;
    let row = |pair: detect::Composition| EdgeScoreRow {
        method: Method::Detectors,
        direction: None,
        sender: pair.sender.to_string(),
        receiver: pair.receiver.to_string(),
        receiver_input: Some(pair.through.name().trim_end_matches("_composition").into()),
        prompt: None,
        n_prompts: 0,
        metric: Measure::Composition,
        value: pair.score,
        effect: pair.excess,
        p_value: pair.p_value,
        reason: pair.reason,
    };
    Ok(found.into_iter().map(row).collect())
}
