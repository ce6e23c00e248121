//! Statistics over plain numbers: intervals, correlation, seeded random streams.

mod correlation;
mod estimate;
mod random;
mod rank;

pub use correlation::{pearson, pearson_estimate};
pub use estimate::{
    BCA_ITEMS, Draws, Estimate, FEWEST_ITEMS, FEWEST_TESTED, censored_median, mean, quantile, ratio, share,
    sign_flip,
};
pub use random::{rng, seed};
pub use rank::{kendall, ranks};
