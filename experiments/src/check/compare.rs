//! Our logits beside a reference's.

use anyhow::Result;
use refrain_runner::Architecture;
use serde::Serialize;
use tch::{Kind, Tensor};

use super::args::Dtype;
use super::reference::{Difference, Reference};
use super::verdict::Verdict;

/// What was found of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The largest difference and where it is.
    pub worst: Difference,
    /// What is allowed of it.
    #[serde(skip)]
    pub tolerance: f64,
    /// What it is, where it is beyond the tolerance.
    pub verdict: Option<Verdict>,
    /// The largest difference in double precision, where that was tried.
    pub max_abs_diff_f64: Option<f64>,
    /// Standard deviation of the reference's logits.
    pub spread: f64,
    /// Whether the worst row begins with padding.
    pub left_padded: bool,
}

impl Comparison {
    /// Whether the logits are the reference's: within the tolerance, or apart by rounding alone.
    pub fn is_sound(&self) -> bool {
        self.verdict.is_none_or(|verdict| verdict == Verdict::Noise)
    }
}

/// Our logits for the reference's tokens.
pub(super) struct Logits<'a> {
    pub(super) ours: &'a Tensor,
    /// In double precision, where that was tried.
    pub(super) exact: Option<&'a Tensor>,
    /// In another dtype.
    pub(super) again: &'a dyn Fn(Kind) -> Result<Option<Tensor>>,
}

/// Three times what rounding does to the model's logits, against those in f64, in the run's dtype or the reference's,
/// whichever is more: the reference's rounding and ours, with some room. It grows with the logits, in f32 to ten times
/// the usual at most, so that a fault that only f32 has is not taken for rounding. 0 in f64.
fn noise(reference: &Reference, dtype: Dtype, logits: &Logits<'_>) -> Result<f64> {
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

/// Compares logits computed in `dtype`. `given`: the tolerance that was asked for; `overflows`: something is beyond
/// the dtype.
pub(super) fn compare(
    arch: &Architecture,
    dtype: Dtype,
    reference: &Reference,
    logits: Logits<'_>,
    given: Option<f64>,
    overflows: bool,
) -> Result<Comparison> {
    let worst = reference.compare(logits.ours)?;
    let exact = logits.exact.map(|exact| reference.compare(exact)).transpose()?;
    let exact = exact.map(|exact| exact.max_abs_diff);
    let fixed = dtype.tolerance().max(reference.dtype.tolerance());
    // Asked for only where it matters: it may need a run in another dtype.
    let measured = || -> Result<f64> { Ok(fixed.max(noise(reference, dtype, &logits)?)) };
    let narrow = dtype.is_narrow() || reference.dtype.is_narrow();
    let tolerance = match given {
        Some(tolerance) => tolerance,
        None if narrow || worst.max_abs_diff > fixed => measured()?,
        None => fixed,
    };
    let verdict = match exact {
        _ if worst.max_abs_diff <= tolerance => None,
        None => Some(Verdict::Unknown),
        Some(_) if dtype == Dtype::F64 => Some(Verdict::Bug),
        Some(exact) if overflows && exact.is_finite() && worst.max_abs_diff.is_infinite() => {
            Some(Verdict::Overflow)
        }
        Some(exact) => Some(match given {
            None if exact <= tolerance => Verdict::Noise,
            Some(_) if exact <= measured()? => Verdict::Rounding,
            _ => Verdict::Bug,
        }),
    };
    let left_padded = reference.is_left_padded(worst.row)?;
    let verdict = match verdict {
        Some(Verdict::Bug)
            if left_padded
                && arch.embedding.learned_positions
                && reference.difference_without_left_padding(logits.ours)? <= tolerance =>
        {
            Some(Verdict::LeftPadding)
        }
        other => other,
    };
    let spread = reference.spread;
    Ok(Comparison { worst, tolerance, verdict, max_abs_diff_f64: exact, spread, left_padded })
}
