//! Inactive heads: the twelve functions on any inputs, and the heads below a quantile.

use refrain_runner::{ActivationCache, Head, HookPoint, Model};
use tch::{Kind, Tensor};

use super::circuit;
use super::detector::{Inactivity, Measure};
use super::passes::{each_layer, rows_at_once};
use crate::error::{Error, Result};
use crate::tensors::{numbers, wide, wider};

/// The shares of the scores' distribution at which heads are cut off in the paper.
pub const SHARES: [f64; 7] = [0.0, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30];

/// The scores of every head on every input.
#[derive(Debug, Clone, PartialEq)]
pub struct InactivityScores {
    /// The heads, in the order of [`Model::heads`].
    pub heads: Vec<Head>,
    /// By function in the order of [`Inactivity::all`], then input, then head. Not a number where a layer's mean, by
    /// which the (LN) form divides, is 0.
    pub scores: Vec<Vec<Vec<f64>>>,
}

/// The heads that one function finds inactive at one share.
#[derive(Debug, Clone, PartialEq)]
pub struct Flagged {
    /// The function.
    pub function: Inactivity,
    /// The share p of the distribution that is cut off, if no scores are equal.
    pub share: f64,
    /// Where: the p quantile of the scores of all heads on all inputs, the 1 - p quantile where high scores are
    /// inactive, interpolated linearly. None if there is no score.
    pub threshold: Option<f64>,
    /// By input: the heads whose score is beyond the threshold, not on it, so that p = 0 flags none.
    pub heads: Vec<Vec<Head>>,
}

impl InactivityScores {
    /// The heads found inactive at `share`, in [0, 1].
    ///
    /// # Errors
    /// [`Error::Input`] for a share outside.
    pub fn flagged(&self, function: Inactivity, share: f64) -> Result<Flagged> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::Input(format!("the share of inactive heads must be in [0, 1], not {share}")));
        }
        let index = Inactivity::all().iter().position(|other| *other == function);
        let scores = index.and_then(|index| self.scores.get(index)).map(Vec::as_slice).unwrap_or_default();
        let high = function.high_is_inactive();
        let mut all: Vec<f64> = scores.iter().flatten().copied().filter(|score| !score.is_nan()).collect();
        all.sort_by(f64::total_cmp);
        let threshold = quantile(&all, if high { 1.0 - share } else { share });
        let beyond = |score: f64| threshold.is_some_and(|cut| if high { score > cut } else { score < cut });
        let heads = scores
            .iter()
            .map(|input| self.heads.iter().zip(input).filter(|(_, s)| beyond(**s)).map(|(h, _)| *h).collect())
            .collect();
        Ok(Flagged { function, share, threshold, heads })
    }

    /// Every function at every one of `shares`.
    ///
    /// # Errors
    /// As [`InactivityScores::flagged`].
    pub fn all_flagged(&self, shares: &[f64]) -> Result<Vec<Flagged>> {
        let each = |function| shares.iter().map(move |share| self.flagged(function, *share));
        Inactivity::all().into_iter().flat_map(each).collect()
    }
}

/// The twelve functions of every head on every one of `inputs`, token ids of whatever lengths, each run without
/// padding; inputs of one length run together, as many as fit about `memory_bytes`.
///
/// # Errors
/// [`Error::Runner`], for an input longer than the window or empty.
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
        Measure::QueryEntropy => {
            let smallest =
                if kind == Kind::Double { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) };
            // What is 0 counts for 0: its logarithm is kept finite.
            let logarithm = seen.f_clamp_min(smallest)?.f_log_()?;
            let sums = logarithm.f_mul(&seen)?.f_sum_dim_intlist(3, false, kind)?;
            // Less, not negated: no entropy is 0, not -0.
            sums.f_mean_dim(2, false, kind)?.f_rsub_scalar(0.0)?
        }
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

/// The `q` quantile of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let place = q * (sorted.len().checked_sub(1)?) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor()))
}
