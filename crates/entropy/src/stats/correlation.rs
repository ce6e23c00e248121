//! Correlation of paired numbers.

use super::estimate::{Estimate, too_few};

/// Pearson's correlation; none for fewer than 3 pairs or a constant side.
pub fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let n = pairs.len() as f64;
    let (mean_x, mean_y) =
        (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        xx += (x - mean_x).powi(2);
        yy += (y - mean_y).powi(2);
        xy += (x - mean_x) * (y - mean_y);
    }
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx * yy).sqrt())
}

/// Pearson's correlation with its 95 % interval by Fisher's z over independent pairs. No interval below
/// [`super::FEWEST_ITEMS`] pairs or where the pairs lie on a line.
pub fn pearson_estimate(pairs: &[(f64, f64)]) -> Estimate {
    let n = pairs.len();
    let Some(value) = pearson(pairs) else {
        let reason =
            if n < 3 { format!("{n} items have no correlation") } else { "one side is constant".into() };
        return Estimate { n, reason: Some(reason), ..Estimate::default() };
    };
    if let Some(reason) = too_few(n) {
        return Estimate { value: Some(value), interval: None, n, reason: Some(reason) };
    }
    let (z, reach) = (value.clamp(-1.0, 1.0).atanh(), 1.959_964 / (n as f64 - 3.0).sqrt());
    match z.is_finite() {
        true => {
            let interval = Some(((z - reach).tanh(), (z + reach).tanh()));
            Estimate { value: Some(value), interval, n, reason: None }
        }
        false => {
            let reason = Some("the items lie on a line: no interval".to_owned());
            Estimate { value: Some(value), interval: None, n, reason }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_correlations() {
        let line = [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)];
        assert!((pearson(&line).unwrap() - 1.0).abs() < 1e-12);
        // By hand: sums of squares 5 and 5, of products 4.
        let four = [(1.0, 1.0), (2.0, 3.0), (3.0, 2.0), (4.0, 4.0)];
        assert!((pearson(&four).unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(pearson(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }

    #[test]
    fn fishers_interval_by_hand() {
        // r = .5 of 28 pairs: z = .5493, reach 1.96 / 5 = .392, so tanh(.1573) to tanh(.9413).
        let half: Vec<(f64, f64)> = (0..28)
            .map(|i| {
                let (x, e) = (if i % 2 == 0 { 1.0 } else { -1.0 }, if i % 4 < 2 { 1.0 } else { -1.0 });
                (x, 0.5 * x + 0.75f64.sqrt() * e)
            })
            .collect();
        let found = pearson_estimate(&half);
        let (low, high) = found.interval.unwrap();
        assert!((found.value.unwrap() - 0.5).abs() < 1e-9, "{found:?}");
        assert!((low - 0.1560).abs() < 1e-3 && (high - 0.7358).abs() < 1e-3, "{found:?}");
        assert_eq!(pearson_estimate(&half[..4]).interval, None);
        assert_eq!(pearson_estimate(&half[..2]).value, None);
    }
}
