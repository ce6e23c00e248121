//! Effects: what a change does, as a share of the difference between the clean and the corrupted run.

use crate::change::Change;

/// Clean and corrupted must differ by this much, in the metric's own unit, for an effect to be normalised by the
/// difference.
pub const FLOOR: f64 = 0.01;

/// By how much a changed run, whose metric is `value`, has moved from the run that was changed towards the other one,
/// in the metric's unit, and how far it is from one to the other. Their quotient is the effect; a mean effect is the
/// quotient of their means. Whatever is changed, 0 is no effect and the whole distance is the whole effect:
///
/// - denoising: (value - corrupted, clean - corrupted);
/// - noising and ablation: (clean - value, clean - corrupted).
pub fn effect_parts(change: Change, value: f64, clean: f64, corrupted: f64) -> (f64, f64) {
    let moved = if change.into_clean() { clean - value } else { value - corrupted };
    (moved, clean - corrupted)
}

/// The effect of `change` on a metric: 0 for a run that is as it would be without the change, 1 for one that has become
/// as the other run (see [`effect_parts`]).
///
/// # Errors
/// The reason for a null: clean and corrupted differ by less than `floor`, or a number is not finite.
pub fn normalised_effect(
    change: Change,
    value: f64,
    clean: f64,
    corrupted: f64,
    floor: f64,
) -> Result<f64, String> {
    let (moved, span) = effect_parts(change, value, clean, corrupted);
    share(moved, span, floor, "clean and corrupted differ by")
}

/// `part / whole`, or the reason why there is no such share: a number is not finite, or the whole, which is `what`, is
/// less than `floor`.
///
/// # Errors
/// The reason.
pub fn share(part: f64, whole: f64, floor: f64, what: &str) -> Result<f64, String> {
    if !(part.is_finite() && whole.is_finite()) {
        Err("the metric is not finite".to_owned())
    } else if whole.abs() < floor {
        Err(format!("{what} less than {floor}"))
    } else {
        Ok(part / whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_effect_is_0_and_the_whole_effect_1_whichever_run_is_changed() {
        let changes = [
            Change::Noise,
            Change::Zero,
            Change::Mean { pooled: true },
            Change::Mean { pooled: false },
            Change::Resample { seed: 0 },
        ];
        for (clean, corrupted) in [(2.0, 1.0), (-3.0, 5.0)] {
            let at = |share: f64| corrupted + share * (clean - corrupted);
            let effect = |change, value| normalised_effect(change, value, clean, corrupted, FLOOR).unwrap();
            assert_eq!(effect(Change::Denoise, corrupted), 0.0);
            assert_eq!(effect(Change::Denoise, clean), 1.0);
            assert_eq!(effect(Change::Denoise, at(0.25)), 0.25);
            for change in changes {
                assert_eq!(effect(change, clean), 0.0, "{change:?}");
                assert_eq!(effect(change, corrupted), 1.0, "{change:?}");
                assert_eq!(effect(change, at(0.25)), 0.75, "{change:?}");
            }
        }
    }

    #[test]
    fn an_effect_is_a_share_or_has_a_reason() {
        let effect =
            |value, clean, corrupted| normalised_effect(Change::Denoise, value, clean, corrupted, FLOOR);
        assert_eq!(effect(5.0, 1.0, 1.009).unwrap_err(), "clean and corrupted differ by less than 0.01");
        assert!(effect(f64::NAN, 1.0, 0.0).is_err());
        assert!(effect(0.0, f64::INFINITY, 0.0).is_err());
        assert!(effect(0.0, f64::NAN, 0.0).is_err());
    }
}
