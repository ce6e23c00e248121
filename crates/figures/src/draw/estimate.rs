//! A value with its uncertainty.

/// An estimate with its interval, where its table has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) at: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

impl Estimate {
    /// A value without an interval.
    pub(crate) fn bare(at: f64) -> Self {
        Self { at, interval: None }
    }

    /// The lower end of the interval; the value itself without one.
    pub(crate) fn low(&self) -> f64 {
        self.interval.map_or(self.at, |(low, _)| low.min(self.at))
    }

    /// The upper end of the interval; the value itself without one.
    pub(crate) fn high(&self) -> f64 {
        self.interval.map_or(self.at, |(_, high)| high.max(self.at))
    }
}
