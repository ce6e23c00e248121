//! Direct logit attribution as rows.

use anyhow::{Result, bail};
use refrain_patching::attribution::direct_logits;
use refrain_patching::table::HeadScoreRow;
use refrain_patching::{Metric, Pair};

use super::method::{Inputs, Method};

/// What each writer of the stream adds to the answer's logit, or to its lead over the foil, after the clean prompts: `value`, beside the
/// whole logit as `clean_value`.
///
/// # Errors
/// For metrics that are no sum over writers, and models that have no such sum.
pub fn rows(inputs: &Inputs<'_>, numbers: &[usize], pairs: &[Pair]) -> Result<Vec<HeadScoreRow>> {
    let prompts: Vec<Vec<i64>> = pairs.iter().map(|pair| pair.clean.clone()).collect();
    let answers: Vec<i64> = pairs.iter().map(|pair| pair.answer).collect();
    let foils: Option<Vec<i64>> = pairs.iter().map(|pair| pair.foil).collect();
    let mut rows = Vec::new();
    for metric in inputs.metrics {
        let foils = match metric {
            Metric::Logit => None,
            Metric::LogitDiff => foils.as_deref(),
            other => bail!("dla attributes logits, not {other}\nhint: --metric logit or logit_diff"),
        };
        let found = direct_logits(&inputs.subject.model, &prompts, &answers, foils)?;
        for (writer, values) in &found.parts {
            let (component, layer, head) = writer.place();
            rows.extend(values.iter().zip(&found.total).zip(numbers).map(|((value, total), pair)| {
                HeadScoreRow {
                    method: Method::Dla.name().into(),
                    component: component.name().into(),
                    layer: layer as u32,
                    head: head.map(|head| head as u32),
                    prompt: Some(*pair as u32),
                    metric: metric.name().into(),
                    value: Some(*value),
                    clean_value: Some(*total),
                    reason: found.capped.then(|| "before the model's soft cap of logits".to_owned()),
                    ..HeadScoreRow::default()
                }
            }));
        }
    }
    Ok(rows)
}
