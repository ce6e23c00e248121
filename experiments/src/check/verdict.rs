//! What a difference is: rounding, a mistake, or the end of a dtype's range.

use refrain_runner::Identity;
use serde::Serialize;

use super::args::Dtype;

/// Whether a difference is rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Rounding of the dtype: all is well.
    Noise,
    /// Rounding of the dtype, but more than `--tolerance` allows.
    Rounding,
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
