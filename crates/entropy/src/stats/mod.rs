//! Statistics over plain numbers: intervals, correlation, seeded random streams.

mod correlation;
mod estimate;
mod quantile;
mod random;
mod rank;
mod sign_flip;

pub use correlation::{pearson, pearson_estimate};
pub use estimate::{BCA_ITEMS, Draws, Estimate, FEWEST_ITEMS, mean, ratio, share};
pub use quantile::{censored_median, quantile};
pub use random::{rng, seed};
pub use rank::{kendall, ranks};
pub use sign_flip::{FEWEST_TESTED, sign_flip};
