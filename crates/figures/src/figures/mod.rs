//! The figures, one file each, and the registry of them.

mod training;

use crate::entry::Figure;

/// Every figure, in the order in which they are listed.
pub const FIGURES: &[Figure] = &[training::FIGURE];

impl Figure {
    /// The figure of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        FIGURES.iter().find(|figure| figure.name == name)
    }
}
