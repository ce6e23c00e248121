//! Inactive heads: the twelve functions on any inputs.

use refrain_entropy::distribution;
use refrain_runner::{ActivationCache, Head, HookPoint, Model};
use tch::Tensor;

use super::circuit;
use super::detector::{Inactivity, Measure};
use super::passes::{each_layer, rows_at_once};
use crate::error::Result;
use crate::tensors::{numbers, wide, wider};

/// The scores of every head on every input.
#[derive(Debug, Clone, PartialEq)]
pub struct InactivityScores {
    /// The heads, in the order of [`Model::heads`].
    pub heads: Vec<Head>,
    /// By function in the order of [`Inactivity::all`], then input, then head. Not a number where a layer's mean, by
    /// which the (LN) form divides, is 0.
    pub scores: Vec<Vec<Vec<f64>>>,
}

/// The twelve functions of every head on every one of `inputs`, token ids of whatever lengths, each run without
/// padding; inputs of one length run together, as many as fit about `memory_bytes`.
///
/// # Errors
/// [`crate::Error::Runner`], for an input longer than the window or empty.
pub fn inactivity(model: &Model, inputs: &[Vec<i64>], memory_bytes: usize) -> Result<InactivityScores> {
    let heads = model.heads();
    let functions = Inactivity::all();
    let mut scores = vec![vec![vec![f64::NAN; heads.len()]; inputs.len()]; functions.len()];
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|index| inputs[*index].len());
    let points = points(&functions);
    for same in order.chunk_by(|a, b| inputs[*a].len() == inputs[*b].len()) {
        let at_once = rows_at_once(model, inputs[same[0]].len(), 0, memory_bytes);
        for batch in same.chunks(at_once) {
            let rows: Vec<Vec<i64>> = batch.iter().map(|index| inputs[*index].clone()).collect();
            tch::no_grad(|| {
                each_layer(model, &rows, &points, &mut |layer, cache| {
                    let found = measured(model, layer, cache, &functions)?;
                    let per_layer = model.architecture().n_heads;
                    for (scores, found) in scores.iter_mut().zip(&found) {
                        for (row, values) in batch.iter().zip(found.chunks(per_layer)) {
                            scores[*row][layer * per_layer..][..per_layer].copy_from_slice(values);
                        }
                    }
                    Ok(())
                })
            })?;
        }
    }
    Ok(InactivityScores { heads, scores })
}

/// What a run has to keep for `functions`.
pub(super) fn points(functions: &[Inactivity]) -> Vec<HookPoint> {
    let mut points: Vec<HookPoint> = functions.iter().map(|function| read_by(function.measure)).collect();
    points.sort_unstable();
    points.dedup();
    points
}

fn read_by(measure: Measure) -> HookPoint {
    match measure {
        Measure::FirstTokenWeight | Measure::QueryEntropy => HookPoint::Pattern,
        Measure::FirstValueNorm | Measure::ValueNorm => HookPoint::V,
        Measure::LastOutputNorm | Measure::OutputNorm => HookPoint::Z,
    }
}

/// The heads of one layer on a batch: by function, row by row, heads within.
pub(super) fn measured(
    model: &Model,
    layer: usize,
    cache: &ActivationCache,
    functions: &[Inactivity],
) -> Result<Vec<Vec<f64>>> {
    let mut known: Vec<(Measure, Vec<f64>)> = Vec::new();
    let mut all = Vec::new();
    for function in functions {
        let unnormalised = match known.iter().find(|(measure, _)| *measure == function.measure) {
            Some((_, values)) => values.clone(),
            None => {
                let values = numbers(&measure(model, layer, cache, function.measure)?)?;
                known.push((function.measure, values.clone()));
                values
            }
        };
        all.push(match function.by_layer {
            true => unnormalised.chunks(model.architecture().n_heads).flat_map(over_mean).collect(),
            false => unnormalised,
        });
    }
    Ok(all)
}

/// Scores of one layer on one input over their mean; not numbers where that is 0.
fn over_mean(scores: &[f64]) -> Vec<f64> {
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    scores.iter().map(|score| if mean > 0.0 { score / mean } else { f64::NAN }).collect()
}

/// `[row, head]`.
fn measure(model: &Model, layer: usize, cache: &ActivationCache, measure: Measure) -> Result<Tensor> {
    let point = read_by(measure);
    // The values of a layer that has none of its own are those of the layer that it takes them from.
    let from = if point == HookPoint::V { circuit::source(model, layer) } else { layer };
    let seen = wide(cache.block(from, point)?)?;
    let kind = wider(seen.kind());
    let found = match measure {
        Measure::FirstTokenWeight => seen.f_select(3, 0)?.f_mean_dim(2, false, kind)?,
        Measure::QueryEntropy => distribution::entropy(&seen, &seen.f_log()?)?.f_mean_dim(2, false, kind)?,
        Measure::FirstValueNorm => norms(&seen)?.f_select(1, 0)?,
        Measure::LastOutputNorm => norms(&seen)?.f_select(1, -1)?,
        Measure::ValueNorm | Measure::OutputNorm => norms(&seen)?.f_mean_dim(1, false, kind)?,
    };
    let times = model.architecture().n_heads as i64 / found.size()[1];
    match times {
        1 => Ok(found),
        times => Ok(found.f_repeat_interleave_self_int(times, 1, None::<i64>)?),
    }
}

/// Euclidean norms over the last axis: `[row, pos, head]`.
fn norms(vectors: &Tensor) -> Result<Tensor> {
    Ok(vectors.f_square()?.f_sum_dim_intlist(-1, false, wider(vectors.kind()))?.f_sqrt()?)
}
