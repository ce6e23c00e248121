//! Comparisons that go on after a failure, and say at the end which were wrong and by how much.

use std::collections::BTreeMap;
use std::fmt::Display;

use tch::{Kind, Tensor};

/// Comparisons of one test. End it with [`Check::finish`].
#[derive(Debug, Default)]
#[must_use = "a check says nothing until it is finished"]
pub struct Check {
    /// Worst error of each thing compared, and its tolerance.
    worst: BTreeMap<String, (f64, f64)>,
    failures: Vec<String>,
}

impl Check {
    /// Nothing compared yet.
    pub fn new() -> Self {
        Check::default()
    }

    /// `got` must be of the shape of `want` and nowhere further from it than `tolerance`. A NaN is infinitely far.
    pub fn close(&mut self, what: impl Display, got: &Tensor, want: &Tensor, tolerance: f64) {
        if got.size() != want.size() {
            self.failures.push(format!("{what}: shape {:?} instead of {:?}", got.size(), want.size()));
            return;
        }
        let error = largest(got, want);
        let known = self.worst.entry(what.to_string()).or_insert((0.0, tolerance));
        *known = (known.0.max(error), tolerance);
    }

    /// `got` must equal `want` to the last bit.
    pub fn same(&mut self, what: impl Display, got: &Tensor, want: &Tensor) {
        self.close(what, got, want, 0.0);
    }

    /// A condition that is no distance.
    pub fn holds(&mut self, what: impl Display, condition: bool) {
        let known = self.worst.entry(what.to_string()).or_insert((0.0, 0.0));
        if !condition {
            known.0 = f64::INFINITY;
        }
    }

    /// Panics if a comparison failed, listing each with its worst error; prints all of them otherwise (seen with
    /// `--nocapture`).
    #[track_caller]
    pub fn finish(mut self) {
        assert!(!(self.worst.is_empty() && self.failures.is_empty()), "nothing was compared");
        for (what, (error, tolerance)) in &self.worst {
            let line = format!("{what}: worst error {error:.1e}, tolerance {tolerance:.0e}");
            println!("{line}");
            if error > tolerance {
                self.failures.push(line);
            }
        }
        assert!(self.failures.is_empty(), "{} wrong:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}

/// The largest absolute difference; infinite if there is a NaN or an infinity that the other does not have.
pub fn largest(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    // Equal infinities are no difference (masked scores).
    let difference = (&a - &b).abs().masked_fill(&a.eq_tensor(&b), 0.0);
    let worst = difference.max().double_value(&[]);
    if worst.is_nan() { f64::INFINITY } else { worst }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_is_infinitely_far() {
        let a = Tensor::from_slice(&[1.0, f64::NAN, f64::NEG_INFINITY]);
        let b = Tensor::from_slice(&[1.0, 2.0, f64::NEG_INFINITY]);
        assert_eq!(largest(&a, &b), f64::INFINITY);
        assert_eq!(largest(&b, &b), 0.0);
    }

    #[test]
    #[should_panic(
        expected = "2 wrong:\nshape: shape [2] instead of [1, 2]\nb: worst error 5.0e-1, tolerance 1e-3"
    )]
    fn every_failure_is_listed_with_its_error() {
        let a = Tensor::from_slice(&[1.0, 2.0]);
        let mut check = Check::new();
        check.close("b", &(&a + 0.5), &a, 1e-3);
        check.close("shape", &a, &a.unsqueeze(0), 1e-3);
        check.close("fine", &a, &a, 1e-3);
        check.finish();
    }

    #[test]
    #[should_panic(expected = "nothing was compared")]
    fn a_check_of_nothing_fails() {
        Check::new().finish();
    }
}
