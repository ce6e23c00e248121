//! The detectors, on probes of their own.

use anyhow::Result;
use refrain_patching::detect::{self, RepeatedSequence};
use refrain_patching::table::{EdgeScoreRow, HeadScoreRow};

use super::method::{Inputs, Method};
use super::subject::Subject;

/// Sequences that the detectors are measured on.
const SEQUENCES: usize = 5;
/// Random assignments that a p-value counts.
const NULL_DRAWS: usize = 200;

/// Rows of the detectors: means over sequences and each sequence's, on probes of their own: 5 sequences of a block of 50 random
/// tokens, four times, or of what the window allows.
///
/// # Errors
/// If the window has no room for a probe, or the model cannot be run.
pub fn heads(inputs: &Inputs<'_>) -> Result<Vec<HeadScoreRow>> {
    let Subject { model, candidates, .. } = inputs.subject;
    let arch = model.architecture();
    let (copies, bos) = (4, arch.bos);
    let block = ((arch.n_ctx - usize::from(bos.is_some())) / copies).min(50);
    let settings = detect::Settings {
        sequences: SEQUENCES,
        resamples: inputs.settings.resamples,
        null_draws: NULL_DRAWS,
        seed: inputs.settings.seed,
        memory_bytes: inputs.asked.memory.min(1 << 30) as usize,
        ..detect::Settings::new(RepeatedSequence { block, copies, candidates, bos })
    };
    let mut rows = Vec::new();
    for found in detect::run(model, &settings, &mut |_, _| ())? {
        let row = HeadScoreRow {
            method: Method::Detectors.name().into(),
            component: found.detector.looks_at().name().into(),
            layer: found.head.layer as u32,
            head: Some(found.head.head as u32),
            metric: found.detector.name().into(),
            ..HeadScoreRow::default()
        };
        rows.push(HeadScoreRow {
            value: found.value,
            ci_low: found.ci_low,
            ci_high: found.ci_high,
            p_value: found.p_value,
            reason: found.reason.or_else(|| {
                found.by_sequence.is_empty().then(|| "of the weights alone: no interval".to_owned())
            }),
            ..row.clone()
        });
        rows.extend(found.by_sequence.iter().zip(0..).map(|(value, sequence)| HeadScoreRow {
            prompt: Some(sequence),
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
pub fn composition(inputs: &Inputs<'_>) -> Result<Vec<EdgeScoreRow>> {
    let found = detect::composition(&inputs.subject.model, NULL_DRAWS, inputs.settings.seed)?;
    let row = |pair: detect::Composition| EdgeScoreRow {
        method: Method::Detectors.name().into(),
        sender: pair.sender.to_string(),
        receiver: pair.receiver.to_string(),
        receiver_input: Some(pair.through.name().trim_end_matches("_composition").into()),
        metric: "composition".into(),
        value: pair.score,
        effect: pair.excess,
        p_value: pair.p_value,
        reason: pair.reason,
        ..EdgeScoreRow::default()
    };
    Ok(found.into_iter().map(row).collect())
}
