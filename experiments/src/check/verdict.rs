//! What a difference is: rounding, a mistake, or the end of a dtype's range.

use anyhow::Result;
use refrain_runner::Identity;
use serde::Serialize;
use tch::{Kind, Tensor};

use super::args::Dtype;
use super::reference::Reference;

/// Whether a difference is rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Rounding of the dtype.
    Noise,
    /// More than rounding.
    Bug,
    /// More than rounding, but only in rows that begin with padding, in a model with learned positions: the
    /// reference may count padding as positions.
    LeftPadding,
    /// NaN or infinity where double precision has numbers, which the dtype does not reach.
    Overflow,
    /// More than is usual in this dtype, and double precision could not be tried.
    Unknown,
}

/// One identity, over all layers.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// Largest absolute error; null (infinite) for a NaN.
    pub error: f64,
    /// Largest error over the magnitude of what is compared.
    pub relative: f64,
    /// The hook with the largest relative error.
    pub worst: String,
    /// The same error in double precision.
    pub error_f64: Option<f64>,
    /// The same relative error in double precision.
    pub relative_f64: Option<f64>,
    /// What it is.
    pub verdict: Verdict,
}

/// Three times what rounding to the narrower of the run's and the reference's dtype does to the model's logits, against
/// those in f64 (`exact`): the reference's rounding and ours, with some room. 0 where neither is narrow.
pub(super) fn noise(
    reference: &Reference,
    dtype: Dtype,
    ours: &Tensor,
    exact: Option<&Tensor>,
    logits: &dyn Fn(Kind) -> Result<Option<Tensor>>,
) -> Result<f64> {
    let mut most = 0f64;
    for narrow in [dtype, reference.dtype] {
        if !narrow.is_narrow() {
            continue;
        }
        let measured = match exact {
            None => narrow.usual_noise(reference.spread),
            Some(exact) if narrow == dtype => 3.0 * reference.apart(ours, exact)?,
            Some(exact) => match logits(narrow.kind())? {
                Some(rounded) => 3.0 * reference.apart(&rounded, exact)?,
                None => 0.0,
            },
        };
        // Logits that are no numbers are not noise, and allow nothing.
        most = most.max(if measured.is_finite() { measured } else { narrow.usual_noise(reference.spread) });
    }
    Ok(most)
}

/// The verdict on one identity. `whole`: it compares whole runs; `overflows`: something is beyond the dtype.
pub(super) fn checked(
    found: &Identity,
    exact: Option<&Identity>,
    dtype: Dtype,
    whole: bool,
    overflows: bool,
) -> Checked {
    // The rounding of a whole run adds up over the layers, by how much depends on the model: f64 alone tells.
    let within = found.relative <= dtype.floor() || whole && exact.is_some() && found.relative.is_finite();
    let verdict = match exact {
        Some(exact) if exact.relative > Dtype::F64.floor() => Verdict::Bug,
        Some(_) | None if within => Verdict::Noise,
        Some(_) if overflows && !found.relative.is_finite() => Verdict::Overflow,
        Some(_) => Verdict::Bug,
        None => Verdict::Unknown,
    };
    Checked {
        error: found.error,
        relative: found.relative,
        worst: found.worst.to_string(),
        error_f64: exact.map(|exact| exact.error),
        relative_f64: exact.map(|exact| exact.relative),
        verdict,
    }
}
