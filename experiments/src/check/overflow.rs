//! Activations beyond what a narrow dtype reaches: neither rounding nor a mistake of the program.

use std::collections::BTreeMap;

use refrain_runner::Hook;
use serde::Serialize;
use tch::{Kind, TchError, Tensor};

use super::args::Dtype;

/// Of each activation: how many of its numbers are not finite, and the largest magnitude of the others.
pub(super) type Sizes = BTreeMap<Hook, (i64, f64)>;

/// What a dtype does not reach.
#[derive(Debug, Clone, Serialize)]
pub struct Overflow {
    /// The activation that is largest in double precision among those that are not finite in the dtype.
    pub hook: String,
    /// Its largest magnitude in double precision.
    pub magnitude: f64,
    /// The largest number of the dtype.
    pub limit: f64,
}

impl Overflow {
    /// Compares a run in `dtype` with the same in double precision. None if they are finite at the same places, or if
    /// what is not finite in `dtype` would fit it: then something else is wrong.
    pub(super) fn between(narrow: &Sizes, exact: &Sizes, dtype: Dtype) -> Option<Self> {
        let limit = dtype.largest();
        let lost = narrow.iter().filter_map(|(hook, (lost, _))| {
            let (own, magnitude) = exact.get(hook)?;
            (lost > own).then_some((hook, *magnitude))
        });
        let (hook, magnitude) = lost.max_by(|a, b| a.1.total_cmp(&b.1))?;
        (magnitude > limit).then(|| Overflow { hook: hook.to_string(), magnitude, limit })
    }
}

/// How many numbers of `tensor` are not finite, and the largest magnitude of the others.
pub(super) fn size(tensor: &Tensor) -> Result<(i64, f64), TchError> {
    if tensor.numel() == 0 {
        return Ok((0, 0.0));
    }
    let magnitudes = tensor.f_abs()?;
    let largest = magnitudes.f_max()?.f_double_value(&[])?;
    if largest.is_finite() {
        return Ok((0, largest));
    }
    let finite = magnitudes.f_isfinite()?;
    let lost = tensor.numel() as i64 - finite.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    let numbers = magnitudes.f_masked_fill(&finite.f_logical_not()?, 0.0)?;
    Ok((lost, numbers.f_max()?.f_double_value(&[])?))
}
