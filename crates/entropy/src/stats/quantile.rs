//! Quantiles: of sorted values, of values of which some were cut off, and of the distributions that intervals need.

/// The one rule for quantiles: of sorted values, linear between them (Hyndman & Fan's type 7).
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share.clamp(0.0, 1.0) * (sorted.len().saturating_sub(1)) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * at.fract(),
        _ => f64::NAN,
    }
}

/// The share of a normal distribution below `z` (Abramowitz & Stegun 7.1.26, to 1.5e-7).
pub(super) fn normal_share(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = t
        * (0.254_829_592
            + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let tail = series * (-x * x).exp() / 2.0;
    if z < 0.0 { tail } else { 1.0 - tail }
}

/// Its inverse, by bisection: exact enough and called once an interval.
pub(super) fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if normal_share(middle) < share { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The 97.5 % quantile of Student's t (tables, e.g. Fisher & Yates 1963; from 30 degrees on the expansion of
/// Cornish and Fisher).
pub(super) fn t_quantile(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788,
        2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639,
        2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
    ];
    match degrees {
        0 => f64::INFINITY,
        1..=30 => TABLE[degrees - 1],
        more => {
            let (z, d) = (1.959_964_f64, more as f64);
            z + (z.powi(3) + z) / (4.0 * d) + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * d * d)
        }
    }
}

/// The median of `values`, of which those marked `true` were cut off and would have been larger; and whether it is
/// a lower bound for that. None of no values.
pub fn censored_median(values: &[(f64, bool)]) -> Option<(f64, bool)> {
    let mut sorted = values.to_vec();
    // One that was cut off at a value lies behind one that ended there.
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let numbers: Vec<f64> = sorted.iter().map(|value| value.0).collect();
    if sorted.is_empty() {
        return None;
    }
    // Whatever lies below the middle and was cut off might lie above it.
    let bound = sorted[..=sorted.len() / 2].iter().any(|value| value.1);
    Some((quantile(&numbers, 0.5), bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_runs_that_were_cut_off_is_a_lower_bound() {
        assert_eq!(censored_median(&[(1.0, false), (2.0, false), (9.0, true)]), Some((2.0, false)));
        assert_eq!(censored_median(&[(1.0, false), (8.0, true), (9.0, true)]), Some((8.0, true)));
        assert_eq!(censored_median(&[(1.0, true), (2.0, false), (3.0, false)]), Some((2.0, true)));
        assert_eq!(censored_median(&[]), None);
        assert_eq!((quantile(&[1.0, 2.0, 4.0], 0.25), quantile(&[1.0, 3.0], 0.5)), (1.5, 2.0));
    }
}
