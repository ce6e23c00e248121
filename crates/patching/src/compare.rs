//! Any approximation beside the exact scores, on one table.

use std::collections::BTreeMap;

use refrain_entropy::stats::{kendall, pearson, ranks};
use serde::{Deserialize, Serialize};

use crate::component::{Component, Site};
use crate::metric::Metric;
use crate::scores::Scores;

/// How many of the top places are compared.
pub const TOP: [usize; 3] = [5, 10, 20];

/// How an approximation of one component by one metric stands beside the exact scores. What is compared is, for every site that both have, the
/// mean over pairs of the metric's change by it (value - base run).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The component's name.
    pub component: String,
    /// The metric's name.
    pub metric: String,
    /// Sites compared.
    pub sites: usize,
    /// Spearman's rank correlation, ties by mean rank; none if one side does not vary.
    pub spearman: Option<f64>,
    /// Kendall's tau-b; none if one side does not vary.
    pub kendall: Option<f64>,
    /// Pearson's correlation; none if one side does not vary.
    pub pearson: Option<f64>,
    /// The root of the mean squared error of the estimates.
    pub rms_error: f64,
    /// The largest error.
    pub max_error: f64,
    /// The share of the exact top k by magnitude that the approximate top k holds, with k; only for k below the number of sites.
    pub overlap: Vec<(usize, f64)>,
    /// The sites that the approximation misses by most, worst first.
    pub misses: Vec<Miss>,
}

/// A site and what both sides say of it, in the metric's unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `Site`
pub struct Miss {
    pub layer: usize,
    pub index: usize,
    pub position: Option<usize>,
    pub key_position: Option<usize>,
    /// The exact change.
    pub exact: f64,
    /// The estimated one.
    pub approximate: f64,
}

/// Mean changes of the metrics by every site: by site, then by metric. `into_clean`: the clean run is the one that is
/// changed (see [`crate::sweep::Change::into_clean`]). Several [`Scores`] of one method are different pairs.
pub fn changes(scores: &[Scores], into_clean: bool) -> BTreeMap<Site, Vec<f64>> {
    let mut sums: BTreeMap<Site, (Vec<f64>, f64)> = BTreeMap::new();
    for of in scores {
        let base = if into_clean { &of.clean } else { &of.corrupted };
        for (site, values) in &of.sites {
            let (sum, count) = sums.entry(*site).or_insert_with(|| (vec![0.0; of.metrics.len()], 0.0));
            *count += of.pairs.len() as f64;
            for ((sum, values), base) in sum.iter_mut().zip(values).zip(base) {
                *sum += values.iter().zip(base).map(|(value, base)| value - base).sum::<f64>();
            }
        }
    }
    let mean = |(site, (sum, count)): (Site, (Vec<f64>, f64))| {
        (site, sum.into_iter().map(|sum| sum / count).collect())
    };
    sums.into_iter().map(mean).collect()
}

/// Lays `approximate` beside `exact`, which must be of the same pairs and the same change: a row for each component and metric that both
/// have, with the `misses` worst sites.
pub fn compare(exact: &[Scores], approximate: &[Scores], into_clean: bool, misses: usize) -> Vec<Agreement> {
    let (Some(first), Some(second)) = (exact.first(), approximate.first()) else { return Vec::new() };
    let (exact, approximate) = (changes(exact, into_clean), changes(approximate, into_clean));
    let mut rows = Vec::new();
    for &component in Component::ALL {
        for (i, metric) in first.metrics.iter().enumerate() {
            let Some(j) = second.metrics.iter().position(|other| other == metric) else { continue };
            let both = exact.iter().filter(|(site, _)| site.component == component);
            let both = both.filter_map(|(site, a)| Some((*site, a[i], approximate.get(site)?[j])));
            let both: Vec<(Site, f64, f64)> = both.collect();
            if !both.is_empty() {
                rows.push(agreement(component, *metric, &both, misses));
            }
        }
    }
    rows
}

/// The sites to confirm with exact runs: for each metric the `share` (rounded up) of each component's sites whose changes are the largest in
/// magnitude, all of them together, in order.
pub fn to_verify(approximate: &[Scores], into_clean: bool, share: f64) -> Vec<Site> {
    let changes = changes(approximate, into_clean);
    let metrics = approximate.first().map_or(0, |scores| scores.metrics.len());
    let mut chosen = Vec::new();
    for &component in Component::ALL {
        let own: Vec<(&Site, &Vec<f64>)> =
            changes.iter().filter(|(site, _)| site.component == component).collect();
        let wanted = (own.len() as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
        for metric in 0..metrics {
            let mut order: Vec<usize> = (0..own.len()).collect();
            order.sort_by(|a, b| own[*b].1[metric].abs().total_cmp(&own[*a].1[metric].abs()));
            chosen.extend(order.into_iter().take(wanted).map(|index| *own[index].0));
        }
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// How estimates agree with exact changes, `(site, exact, estimate)`, with the `misses` worst.
pub fn agreement(
    component: Component,
    metric: Metric,
    both: &[(Site, f64, f64)],
    misses: usize,
) -> Agreement {
    let exact: Vec<f64> = both.iter().map(|(_, exact, _)| *exact).collect();
    let estimate: Vec<f64> = both.iter().map(|(.., estimate)| *estimate).collect();
    let top = |values: &[f64], k: usize| -> Vec<usize> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
        order.truncate(k);
        order
    };
    let overlap = |k: usize| {
        let (ours, theirs) = (top(&exact, k), top(&estimate, k));
        (k, ours.iter().filter(|site| theirs.contains(site)).count() as f64 / k as f64)
    };
    let mut worst: Vec<&(Site, f64, f64)> = both.iter().collect();
    worst.sort_by(|a, b| (b.1 - b.2).abs().total_cmp(&(a.1 - a.2).abs()));
    let miss = |(site, exact, approximate): &(Site, f64, f64)| Miss {
        layer: site.layer,
        index: site.index,
        position: site.position,
        key_position: site.key_position,
        exact: *exact,
        approximate: *approximate,
    };
    let paired = |a: &[f64], b: &[f64]| a.iter().copied().zip(b.iter().copied()).collect::<Vec<(f64, f64)>>();
    Agreement {
        component: component.name().to_owned(),
        metric: metric.name().to_owned(),
        sites: both.len(),
        spearman: pearson(&paired(&ranks(&exact), &ranks(&estimate))),
        kendall: kendall(&exact, &estimate),
        pearson: pearson(&paired(&exact, &estimate)),
        rms_error: (both.iter().map(|(_, exact, estimate)| (exact - estimate).powi(2)).sum::<f64>()
            / both.len() as f64)
            .sqrt(),
        max_error: both.iter().map(|(_, exact, estimate)| (exact - estimate).abs()).fold(0.0, f64::max),
        overlap: TOP.into_iter().filter(|k| *k < both.len()).map(overlap).collect(),
        misses: worst.into_iter().take(misses).map(miss).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(values: &[f64]) -> Scores {
        let site =
            |index| Site { component: Component::Z, layer: 0, index, position: None, key_position: None };
        Scores {
            metrics: vec![Metric::LogitDiff],
            pairs: vec![0],
            clean: vec![vec![9.0]],
            corrupted: vec![vec![1.0]],
            sites: values
                .iter()
                .enumerate()
                .map(|(index, value)| (site(index), vec![vec![1.0 + value]]))
                .collect(),
        }
    }

    #[test]
    fn an_approximation_beside_the_exact_scores() {
        let exact = [0.0, -7.0, 1.0, 2.0, 3.0, 4.0];
        let close = [0.1, -6.0, 1.0, 2.1, 3.0, 9.0];
        let rows = compare(&[scores(&exact)], &[scores(&close)], false, 2);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].sites, rows[0].spearman, rows[0].kendall), (6, Some(1.0), Some(1.0)));
        assert!(rows[0].pearson.unwrap() < 1.0);
        assert_eq!(rows[0].overlap, [(5, 1.0)]);
        let worst = &rows[0].misses[0];
        assert_eq!((worst.index, worst.exact, worst.approximate), (5, 4.0, 9.0));
        let sites: Vec<usize> =
            to_verify(&[scores(&exact)], false, 0.3).iter().map(|site| site.index).collect();
        assert_eq!(sites, [1, 5]);
    }
}
