//! Medians, shares and their 95 % intervals. Everything is deterministic: the bootstrap has one fixed seed.

/// An estimate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) at: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

const RESAMPLES: usize = 1000;
const SEED: u64 = 0x5eed_0f19;

/// The quantile `q` of sorted values, linear between neighbours (type 7 of Hyndman and Fan).
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q * last as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(last);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// Percentile bootstrap of `statistic` over `groups`: whole groups (prompts, phrases, texts) are drawn, because the
/// rows within one are not independent. `statistic` gets the indices drawn.
pub(crate) fn bootstrap(groups: usize, statistic: impl Fn(&[usize]) -> f64) -> Estimate {
    let all: Vec<usize> = (0..groups).collect();
    let at = statistic(&all);
    if groups < 2 {
        return Estimate { at, low: at, high: at };
    }
    let mut random = SplitMix64(SEED);
    let mut drawn = all;
    let mut replicates: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            drawn.iter_mut().for_each(|i| *i = random.below(groups));
            statistic(&drawn)
        })
        .collect();
    replicates.sort_by(f64::total_cmp);
    Estimate { at, low: quantile(&replicates, 0.025), high: quantile(&replicates, 0.975) }
}

/// Mean over groups with its bootstrap interval.
pub(crate) fn bootstrap_mean(values: &[f64]) -> Estimate {
    bootstrap(values.len(), |drawn| drawn.iter().map(|&i| values[i]).sum::<f64>() / drawn.len() as f64)
}

/// Median of the pooled rows of `groups`, with its interval from drawing whole groups.
pub(crate) fn bootstrap_median(groups: &[Vec<f64>]) -> Estimate {
    bootstrap(groups.len(), |drawn| {
        let pooled: Vec<f64> = drawn.iter().flat_map(|&i| groups[i].iter().copied()).collect();
        median(&pooled)
    })
}

/// Wilson's score interval at 95 % of a share that was observed on `n` independent units.
pub(crate) fn wilson(share: f64, n: usize) -> Estimate {
    const Z: f64 = 1.959_963_984_540_054;
    let n = n as f64;
    let denominator = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / denominator;
    Estimate { at: share, low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
}

/// Steele, Lea and Flood's generator: enough for a bootstrap, and the same everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform below `n`, by the high half of a product; its bias of n / 2^64 does not matter here.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.5), 3.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.25), 1.75);
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 1.0), 8.0);
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
    }

    /// By hand for 8 of 10: centre (0.8 + 3.8415/20) / 1.38415 = 0.71674, half width
    /// 1.95996 sqrt(0.016 + 0.0096036) / 1.38415 = 0.22658.
    #[test]
    fn wilson_of_eight_in_ten() {
        let e = wilson(0.8, 10);
        assert!((e.low - 0.49016).abs() < 1e-4 && (e.high - 0.94332).abs() < 1e-4, "{e:?}");
        let none = wilson(0.0, 10);
        assert!(none.low == 0.0 && (none.high - 0.27753).abs() < 1e-4, "{none:?}");
    }

    /// Two groups, 0 and 1: the resampled mean is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4, so the interval is [0, 1].
    /// With 100 groups of half 0 and half 1 it is about 0.5 ± 1.96 * 0.05.
    #[test]
    fn bootstrap_of_known_distributions() {
        let two = bootstrap_mean(&[0.0, 1.0]);
        assert_eq!(two, Estimate { at: 0.5, low: 0.0, high: 1.0 });
        let many: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let e = bootstrap_mean(&many);
        assert!((e.low - 0.402).abs() < 0.025 && (e.high - 0.598).abs() < 0.025, "{e:?}");
        assert_eq!(e, bootstrap_mean(&many), "the same values give the same interval");
    }

    /// Rows of one group move together: with two groups the median of a resample is that of one group or of both.
    #[test]
    fn median_draws_whole_groups() {
        let e = bootstrap_median(&[vec![1.0, 1.0, 1.0], vec![5.0, 5.0, 5.0]]);
        assert_eq!(e, Estimate { at: 3.0, low: 1.0, high: 5.0 });
    }
}
