//! Direct logit attribution and the logit lens as rows.

use anyhow::{Result, bail};
use refrain_patching::attribution::{Contribution, direct_logits, logit_lens};
use refrain_patching::table::HeadScoreRow;
use refrain_patching::{Method, Metric, Pair, Part};

use super::rows::{Labels, NOT_FINITE, of_scores};
use super::settings::Scoring;

/// What each component that writes to the residual stream adds to the answer's logit, or to its lead over the
/// incorrect answer, after the clean prompts: `value`, beside the whole logit as `clean_value`.
///
/// # Errors
/// For metrics that are no sum over writers, and models that have no such sum.
pub fn attribution(scoring: &Scoring<'_>, numbers: &[usize], pairs: &[Pair]) -> Result<Vec<HeadScoreRow>> {
    let prompts: Vec<Vec<i64>> = pairs.iter().map(|pair| pair.clean.clone()).collect();
    let answers: Vec<i64> = pairs.iter().map(|pair| pair.answer).collect();
    let foils: Option<Vec<i64>> = pairs.iter().map(|pair| pair.foil).collect();
    let mut rows = Vec::new();
    for metric in &scoring.metrics {
        let foils = match metric {
            Metric::Logit => None,
            Metric::LogitDiff => foils.as_deref(),
            other => bail!("dla attributes logits, not {other}\nhint: --metric logit or logit_diff"),
        };
        let found = direct_logits(scoring.model, &prompts, &answers, foils)?;
        for (writer, values) in &found.parts {
            let (component, layer, head) = place(*writer);
            rows.extend(values.iter().zip(&found.total).zip(numbers).map(|((value, total), pair)| {
                HeadScoreRow {
                    layer: layer as u32,
                    head: head.map(|head| head as u32),
                    prompt: Some(*pair as u32),
                    n_prompts: 1,
                    ..measured(component, *metric, [*value, *total], found.capped)
                }
            }));
        }
    }
    Ok(rows)
}

/// Every metric read off the residual stream of the clean prompts after each layer, as if the layers above were not
/// there.
///
/// # Errors
/// If the model cannot be run.
pub fn lens(scoring: &Scoring<'_>, numbers: &[usize], pairs: &[Pair]) -> Result<Vec<HeadScoreRow>> {
    let found = logit_lens(scoring.model, pairs, true, &scoring.metrics, pairs.len())?;
    let labels = Labels::new(Method::LogitLens, None);
    let rows = found.iter().flat_map(|scores| of_scores(scoring, scores, labels, &|pair| numbers[pair]));
    // Nothing was changed: there is a value beside the whole model's, and no effect.
    Ok(rows
        .map(|row| HeadScoreRow {
            change: None,
            effect: None,
            corrupted_value: None,
            reason: (row.value.is_none() || row.clean_value.is_none()).then(|| NOT_FINITE.to_owned()),
            ..row
        })
        .collect())
}

/// A part of a logit and the whole; neither where one of them is no number.
fn measured(component: Part, metric: Metric, [value, total]: [f64; 2], capped: bool) -> HeadScoreRow {
    let row = HeadScoreRow::new(Method::Dla, component, metric.into());
    if !(value.is_finite() && total.is_finite()) {
        return HeadScoreRow { reason: Some(NOT_FINITE.to_owned()), ..row };
    }
    let reason = capped.then(|| "before the model's soft cap of logits".to_owned());
    HeadScoreRow { value: Some(value), clean_value: Some(total), reason, ..row }
}

/// Component, layer (0 for what stands outside the blocks) and head.
fn place(writer: Contribution) -> (Part, usize, Option<usize>) {
    match writer {
        Contribution::Embed => (Part::Embed, 0, None),
        Contribution::PosEmbed => (Part::PosEmbed, 0, None),
        Contribution::Head(head) => (Part::Result, head.layer, Some(head.head)),
        Contribution::AttnBias(layer) => (Part::AttnBias, layer, None),
        Contribution::Mlp(layer) => (Part::MlpOut, layer, None),
        Contribution::PerLayer(layer) => (Part::PerLayerOut, layer, None),
        Contribution::FinalBias => (Part::LnFinalBias, 0, None),
        Contribution::UnembedBias => (Part::UnembedBias, 0, None),
    }
}
