//! Which heads are induction heads: activation patching on the copy task, prefix matching beside it.

use anyhow::{Result, bail};
use refrain_entropy::stats::{bootstrap_ratio, rng};
use refrain_patching::detect::{self, Detector, RepeatedSequence};
use refrain_patching::table::HeadScoreRow;
use refrain_patching::{Change, CopyTask, FLOOR, Pair, normalised_effect, patch_heads, strongest};
use refrain_runner::{Head, StepIndex};

use super::settings::Settings;
use super::subject::Subject;

/// Bytes that the runs of one sweep may take: prompts are short and the model is small, or its user has much more.
pub(super) const MEMORY: u64 = 2 << 30;

/// Scores every head and marks the induction heads.
///
/// # Errors
/// If the vocabulary or the window is too small for the task, or the model cannot be run.
pub fn head_scores(subject: &Subject, settings: &Settings) -> Result<Vec<HeadScoreRow>> {
    let mut rows = patching(subject, settings)?;
    rows.extend(detectors(subject, settings)?);
    let heads = subject.model.heads();
    let scores: Vec<Option<f64>> = heads.iter().map(|head| mean_effect(&rows, *head)).collect();
    let induction = strongest(&heads, &scores, settings.induction_share, settings.min_induction_heads);
    if induction.is_empty() {
        if rows.iter().any(|row| row.value.is_some_and(|value| !value.is_finite())) {
            bail!("what was computed is no number: the model's logits overflow");
        }
        bail!("no head can be scored: the model's clean and corrupted runs of the copy task do not differ");
    }
    for row in &mut rows {
        row.induction = induction.contains(&head_of(row));
    }
    Ok(rows)
}

/// The induction heads, as the table says.
pub fn induction_heads(rows: &[HeadScoreRow]) -> Vec<Head> {
    let mut heads: Vec<Head> = rows.iter().filter(|row| row.induction).map(head_of).collect();
    heads.sort_unstable();
    heads.dedup();
    heads
}

/// The row of `head` and `metric` that is the mean over prompts.
pub fn mean_row<'a>(rows: &'a [HeadScoreRow], head: Head, metric: &str) -> Option<&'a HeadScoreRow> {
    rows.iter().find(|row| row.prompt.is_none() && row.metric == metric && head_of(row) == head)
}

fn mean_effect(rows: &[HeadScoreRow], head: Head) -> Option<f64> {
    mean_row(rows, head, "logit")?.effect
}

fn head_of(row: &HeadScoreRow) -> Head {
    // Every row that is written here is of a head.
    Head { layer: row.layer as usize, head: row.head.unwrap_or_default() as usize }
}

fn patching(subject: &Subject, settings: &Settings) -> Result<Vec<HeadScoreRow>> {
    let task = CopyTask {
        m: settings.copy_length,
        candidates: &subject.plain,
        bos: subject.model.architecture().bos,
    };
    let pairs: Vec<Pair> = (0..settings.trials)
        .map(|trial| task.draw(&mut rng(settings.seed, &format!("copy-task/{trial}"))))
        .collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    let threads = settings.threads.map_or_else(|| tch::get_num_threads().max(1) as usize, usize::from);
    let heads = subject.model.heads();
    let mut by_head: Vec<Vec<HeadScoreRow>> = vec![Vec::new(); heads.len()];
    for (chunk, first) in pairs.chunks(settings.batch).zip((0..).step_by(settings.batch)) {
        let swept = patch_heads(&subject.model, chunk, &[], StepIndex::default(), MEMORY, threads)?;
        for (index, head) in heads.iter().enumerate() {
            for (pair, effect) in swept.effects(index).into_iter().enumerate() {
                by_head[index].push(HeadScoreRow {
                    prompt: Some(first + pair as u32),
                    value: Some(swept.patched[[index, pair]]),
                    clean_value: Some(swept.clean[pair]),
                    corrupted_value: Some(swept.corrupted[pair]),
                    change: Some(swept.patched[[index, pair]] - swept.corrupted[pair]),
                    reason: effect.as_ref().err().cloned(),
                    effect: effect.ok(),
                    ..blank("activation-patching", "z", Some("denoise"), *head, "logit")
                });
            }
        }
    }
    for (head, trials) in heads.iter().zip(by_head) {
        // Normalised after averaging: a trial whose clean and corrupted runs hardly differ says little, and dividing by
        // that difference first would let it say most.
        let changes: Vec<(f64, f64)> = trials
            .iter()
            .filter_map(|row| {
                let corrupted = row.corrupted_value?;
                Some((row.value? - corrupted, row.clean_value? - corrupted))
            })
            .collect();
        let value = mean(trials.iter().map(|row| row.value));
        let clean_value = mean(trials.iter().map(|row| row.clean_value));
        let corrupted_value = mean(trials.iter().map(|row| row.corrupted_value));
        let effect = match (value, clean_value, corrupted_value) {
            (Some(value), Some(clean), Some(corrupted)) => {
                normalised_effect(Change::Denoise, value, clean, corrupted, FLOOR)
            }
            _ => Err("there is no trial".to_owned()),
        };
        let interval = effect.clone().and_then(|_| {
            bootstrap_ratio(&changes, settings.resamples, settings.seed, &format!("effect/{head}"))
                .ok_or("there is no trial".to_owned())
        });
        rows.push(HeadScoreRow {
            value,
            clean_value,
            corrupted_value,
            change: value.zip(corrupted_value).map(|(value, corrupted)| value - corrupted),
            effect: effect.as_ref().ok().copied(),
            ci_low: interval.as_ref().ok().map(|interval| interval.low),
            ci_high: interval.as_ref().ok().map(|interval| interval.high),
            reason: effect.err(),
            ..blank("activation-patching", "z", Some("denoise"), *head, "logit")
        });
        rows.extend(trials);
    }
    Ok(rows)
}

fn detectors(subject: &Subject, settings: &Settings) -> Result<Vec<HeadScoreRow>> {
    let probe = RepeatedSequence {
        block: settings.probe_block,
        copies: settings.probe_copies,
        candidates: &subject.plain,
        bos: subject.model.architecture().bos,
    };
    let detectors = detect::Settings {
        sequences: settings.probes as usize,
        detectors: Detector::PATTERN.to_vec(),
        resamples: settings.resamples,
        // The table has no place for p-values yet.
        null_draws: 0,
        seed: settings.seed,
        ..detect::Settings::new(probe)
    };
    let mut rows = Vec::new();
    for found in detect::run(&subject.model, &detectors, &mut |_, _| ())? {
        let row = blank("detectors", "pattern", None, found.head, found.detector.name());
        rows.push(HeadScoreRow {
            value: found.value,
            ci_low: found.ci_low,
            ci_high: found.ci_high,
            reason: found.reason,
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

fn blank(method: &str, component: &str, direction: Option<&str>, head: Head, metric: &str) -> HeadScoreRow {
    HeadScoreRow {
        method: method.into(),
        component: component.into(),
        direction: direction.map(str::to_owned),
        layer: head.layer as u32,
        head: Some(head.head as u32),
        metric: metric.into(),
        ..HeadScoreRow::default()
    }
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
