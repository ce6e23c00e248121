//! What a difference is: rounding, a mistake, or the end of a dtype's range.

use anyhow::Result;
use refrain_runner::Identity;
use serde::Serialize;

use super::args::Dtype;
use super::compare::Logits;
use super::reference::Reference;

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

/// Three times what rounding does to the model's logits, against those in f64, in the run's dtype or the reference's,
/// whichever is more: the reference's rounding and ours, with some room. It grows with the logits, in f32 to ten times
/// the usual at most, so that a fault that only f32 has is not taken for rounding. 0 in f64.
pub(super) fn noise(reference: &Reference, dtype: Dtype, logits: &Logits<'_>) -> Result<f64> {
    let mut most = 0f64;
    for rounding in [dtype, reference.dtype] {
        let usual = rounding.usual_noise(reference.spread);
        let measured = match logits.exact {
            _ if rounding == Dtype::F64 => continue,
            None => usual,
            Some(exact) if rounding == dtype => 3.0 * reference.apart(logits.ours, exact)?,
            Some(exact) => match (logits.again)(rounding.kind())? {
                Some(rounded) => 3.0 * reference.apart(&rounded, exact)?,
                None => 0.0,
            },
        };
        // Logits that are no numbers are not noise, and allow nothing.
        let ceiling = if rounding == Dtype::F32 { 10.0 * usual } else { f64::INFINITY };
        most = most.max(if measured.is_finite() { measured.min(ceiling) } else { usual });
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
