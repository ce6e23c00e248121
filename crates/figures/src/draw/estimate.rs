//! A value with its uncertainty.

/// An estimate with its interval, as a table has it; equal ends where the table has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) at: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}
