//! Percentile bootstrap (Efron 1979).

use rand::RngExt;
use rayon::prelude::*;

use super::random::rng;

/// An estimate with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The estimate on the whole sample.
    pub mean: f64,
    /// 2.5 % quantile over resamples.
    pub low: f64,
    /// 97.5 % quantile over resamples.
    pub high: f64,
}

/// The mean of `values` with a 95 % interval from `resamples` resamples; none for an empty sample. The draws
/// depend on `seed` and `id` only.
pub fn bootstrap_mean(values: &[f64], resamples: usize, seed: u64, id: &str) -> Option<Interval> {
    let weighted: Vec<(f64, f64)> = values.iter().map(|value| (*value, 1.0)).collect();
    bootstrap_ratio(&weighted, resamples, seed, id)
}

/// The ratio sum(numerator) / sum(weight) over (numerator, weight) pairs, resampling pairs: a mean in which
/// each unit counts by its size, such as the loss per token over texts.
pub fn bootstrap_ratio(pairs: &[(f64, f64)], resamples: usize, seed: u64, id: &str) -> Option<Interval> {
    if pairs.is_empty() {
        return None;
    }
    let ratio = |total: (f64, f64)| total.0 / total.1;
    let add = |sum: (f64, f64), pair: &(f64, f64)| (sum.0 + pair.0, sum.1 + pair.1);
    let mean = ratio(pairs.iter().fold((0.0, 0.0), add));
    let mut means: Vec<f64> = (0..resamples)
        .into_par_iter()
        .map(|resample| {
            let mut rng = rng(seed, &format!("bootstrap/{id}/{resample}"));
            ratio((0..pairs.len()).map(|_| &pairs[rng.random_range(0..pairs.len())]).fold((0.0, 0.0), add))
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let quantile = |q: f64| match means.len() {
        0 => mean,
        n => means[((n - 1) as f64 * q).round() as usize],
    };
    Some(Interval { mean, low: quantile(0.025), high: quantile(0.975) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_normal_law() {
        // 0/1 values: the standard error of the mean of 400 is 0.025, so 95 % is +-0.049.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let found = bootstrap_mean(&values, 4000, 7, "coin").unwrap();
        assert_eq!(found.mean, 0.5);
        assert!((found.high - 0.549).abs() < 0.004 && (found.low - 0.451).abs() < 0.004, "{found:?}");
        assert_eq!(found, bootstrap_mean(&values, 4000, 7, "coin").unwrap());
    }

    #[test]
    fn a_ratio_counts_units_by_their_size() {
        let found = bootstrap_ratio(&[(1.0, 1.0), (9.0, 3.0)], 100, 0, "two").unwrap();
        assert_eq!(found.mean, 2.5);
        // A resample holds one unit twice or both: 1, 2.5 or 3.
        assert_eq!((found.low, found.high), (1.0, 3.0));
        assert_eq!(bootstrap_mean(&[], 10, 0, "none"), None);
    }
}
