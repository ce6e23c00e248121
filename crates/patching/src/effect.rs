//! Effects: a metric's change as a share of what lies between the clean and the corrupted run.

/// Clean and corrupted must differ by this much, in the metric's own unit, for an effect to be normalised by the difference.
pub const FLOOR: f64 = 0.01;

/// Which of the two runs something was changed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The clean run: noising, ablation.
    Clean,
    /// The corrupted run: denoising.
    Corrupted,
}

/// The effect of a change, in one orientation: 0 is no effect, 1 the whole effect. In the corrupted run
/// (value - corrupted) / (clean - corrupted), in the clean run (clean - value) / (clean - corrupted).
///
/// # Errors
/// The reason for a null: clean and corrupted differ by less than [`FLOOR`], or something is not finite.
pub fn normalised_effect(value: f64, clean: f64, corrupted: f64, changed: Changed) -> Result<f64, String> {
    let span = clean - corrupted;
    // Written so that NaN is refused too.
    if span.abs() >= FLOOR && span.is_finite() && value.is_finite() {
        Ok(match changed {
            Changed::Corrupted => (value - corrupted) / span,
            Changed::Clean => (clean - value) / span,
        })
    } else if !(value.is_finite() && span.is_finite()) {
        Err("the metric is not finite".to_owned())
    } else {
        Err(format!("clean and corrupted differ by less than {FLOOR}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_is_a_share_or_has_a_reason() {
        use Changed::{Clean, Corrupted};
        assert_eq!(normalised_effect(1.5, 2.0, 1.0, Corrupted), Ok(0.5));
        assert_eq!(normalised_effect(1.0, 1.0, 2.0, Corrupted), Ok(1.0));
        // Nothing happened to the clean run; everything did.
        assert_eq!(normalised_effect(2.0, 2.0, 1.0, Clean), Ok(0.0));
        assert_eq!(normalised_effect(1.0, 2.0, 1.0, Clean), Ok(1.0));
        let reason = normalised_effect(5.0, 1.0, 1.009, Clean).unwrap_err();
        assert_eq!(reason, "clean and corrupted differ by less than 0.01");
        assert!(normalised_effect(f64::NAN, 1.0, 0.0, Clean).is_err());
        assert!(normalised_effect(0.0, f64::INFINITY, 0.0, Clean).is_err());
    }
}
