//! Rows of the table: one a prompt from what a method found, and the means of them.

use std::collections::BTreeMap;

use refrain_entropy::stats::{bootstrap_mean, bootstrap_ratio};
use refrain_patching::table::HeadScoreRow;
use refrain_patching::{
    Change, Component, FLOOR, Scores, Site, effect_parts, normalised_effect, share as part_of,
};

use super::method::Method;

/// What holds for all rows of a method.
#[derive(Debug, Clone, Copy)]
pub struct Labels {
    /// Its name.
    pub method: &'static str,
    /// Its direction.
    pub direction: Option<&'static str>,
    /// Whether the run that it changes is the clean one.
    pub into_clean: bool,
}

impl Labels {
    /// A change of the run that is changed: effects ask for no more.
    pub fn change(&self) -> Change {
        if self.into_clean { Change::Noise } else { Change::Denoise }
    }
}

/// Why an effect has no interval.
const UNCERTAIN: &str = "over prompts, clean - corrupted may have either sign: no interval";

/// The place of a row; rows are sorted by it, and by metric and prompt.
type Place = (u32, Option<u32>, Option<u32>, Option<u32>, Option<u32>);

/// A row a site, metric and prompt. `pair` gives the number of a pair in the task.
pub fn of_scores(scores: &Scores, labels: Labels, pair: &dyn Fn(usize) -> usize) -> Vec<HeadScoreRow> {
    let mut rows = Vec::new();
    let change = labels.change();
    for (site, values) in scores.iter() {
        for (m, metric) in scores.metrics.iter().enumerate() {
            for (i, index) in scores.pairs.iter().enumerate() {
                let (value, clean, corrupted) =
                    (values[[m, i]], scores.clean[[m, i]], scores.corrupted[[m, i]]);
                let effect = normalised_effect(change, value, clean, corrupted, FLOOR);
                rows.push(HeadScoreRow {
                    prompt: Some(pair(*index) as u32),
                    metric: metric.name().into(),
                    value: finite(value),
                    clean_value: finite(clean),
                    corrupted_value: finite(corrupted),
                    change: finite(value - if labels.into_clean { clean } else { corrupted }),
                    reason: effect.as_ref().err().cloned(),
                    effect: effect.ok(),
                    ..at(&site, labels)
                });
            }
        }
    }
    rows
}

fn at(site: &Site, labels: Labels) -> HeadScoreRow {
    let index = site.index as u32;
    HeadScoreRow {
        method: labels.method.into(),
        component: site.component.name().into(),
        direction: labels.direction.map(str::to_owned),
        layer: site.layer as u32,
        head: site.component.is_of_heads().then_some(index),
        neuron: (site.component == Component::Neuron).then_some(index),
        position: site.position.map(|position| position as u32),
        key_position: site.key_position.map(|position| position as u32),
        ..HeadScoreRow::default()
    }
}

/// The place of a row, if it is one that can be patched.
pub fn site(row: &HeadScoreRow) -> Option<Site> {
    let number = |value: Option<u32>| value.map(|value| value as usize);
    Some(Site {
        component: row.component.parse().ok()?,
        layer: row.layer as usize,
        index: number(row.head).or(number(row.neuron)).unwrap_or(0),
        position: number(row.position),
        key_position: number(row.key_position),
    })
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Rows of one method and component, in order, each place's and metric's mean before its prompts.
pub fn with_means(
    rows: Vec<HeadScoreRow>,
    metrics: &[&str],
    resamples: usize,
    seed: u64,
) -> Vec<HeadScoreRow> {
    let order = |metric: &str| metrics.iter().position(|known| *known == metric).unwrap_or(usize::MAX);
    let mut by_place = BTreeMap::<(Place, usize), Vec<HeadScoreRow>>::new();
    for row in rows {
        let place = (row.layer, row.head, row.neuron, row.position, row.key_position);
        by_place.entry((place, order(&row.metric))).or_default().push(row);
    }
    let mut all = Vec::new();
    for mut rows in by_place.into_values() {
        rows.sort_by_key(|row| row.prompt);
        all.extend(mean(&rows, resamples, seed));
        all.append(&mut rows);
    }
    all
}

/// The rows as they are, but those of AtP*, whose scores are magnitudes: their signs, which are those of another estimate, would
/// cancel in a mean what the magnitudes are there to show. They are given the sign that most of their size has.
fn with_one_sign(rows: &[HeadScoreRow]) -> Vec<HeadScoreRow> {
    let magnitudes = rows.first().is_some_and(|row| row.method == Method::AtpStar.name());
    if !magnitudes {
        return rows.to_vec();
    }
    let sum: f64 = rows.iter().filter_map(|row| row.change).sum();
    let of = |row: &HeadScoreRow| {
        let change = row.change.map(|change| change.abs().copysign(sum));
        let base = row.value.zip(row.change).map(|(value, change)| value - change);
        HeadScoreRow { change, value: base.zip(change).map(|(base, change)| base + change), ..row.clone() }
    };
    rows.iter().map(of).collect()
}

/// The mean over prompts. Effects are normalised after averaging: a prompt whose clean and corrupted runs hardly differ
/// says little, and dividing by that difference first would let it say most.
fn mean(rows: &[HeadScoreRow], resamples: usize, seed: u64) -> Option<HeadScoreRow> {
    let rows = &with_one_sign(rows)[..];
    let first = rows.first()?;
    let of = |number: fn(&HeadScoreRow) -> Option<f64>| -> Option<f64> {
        // One prompt without a number and there is no mean over all of them.
        let numbers: Option<Vec<f64>> = rows.iter().map(number).collect();
        numbers.map(|numbers| numbers.iter().sum::<f64>() / rows.len() as f64)
    };
    let (value, clean) = (of(|row| row.value), of(|row| row.clean_value));
    let corrupted = of(|row| row.corrupted_value);
    let row = HeadScoreRow {
        prompt: None,
        value,
        clean_value: clean,
        corrupted_value: corrupted,
        change: of(|row| row.change),
        effect: None,
        reason: None,
        ..first.clone()
    };
    let id = format!(
        "score/{}/{}/{}/{}",
        row.method,
        row.component,
        row.metric,
        [Some(row.layer), row.head, row.neuron, row.position, row.key_position]
            .map(|part| part.map_or("-".to_owned(), |part| part.to_string()))
            .join("/")
    );
    // Detectors score patterns: there is nothing to compare with.
    if rows
        .iter()
        .all(|row| row.clean_value.is_none() && row.corrupted_value.is_none() && row.value.is_some())
    {
        let values: Vec<f64> = rows.iter().filter_map(|row| row.value).collect();
        let interval = bootstrap_mean(&values, resamples, seed, &id);
        let (ci_low, ci_high) = interval.map(|interval| (interval.low, interval.high)).unzip();
        return Some(HeadScoreRow { ci_low, ci_high, ..row });
    }
    // Direct attribution: parts of a whole, and their share of it.
    if let (Some(value), Some(clean), true) = (value, clean, rows.iter().all(|row| row.change.is_none())) {
        let effect = part_of(value, clean, FLOOR, "the whole is");
        let pairs = rows.iter().filter_map(|row| Some((row.value?, row.clean_value?)));
        return Some(share(row, effect, &pairs.collect::<Vec<_>>(), resamples, seed, &id));
    }
    let change = match first.direction.as_deref() {
        Some("denoise") => Change::Denoise,
        _ => Change::Noise,
    };
    let effect = match (value, clean, corrupted) {
        (Some(value), Some(clean), Some(corrupted)) => {
            normalised_effect(change, value, clean, corrupted, FLOOR)
        }
        _ => Err("the metric is not finite".to_owned()),
    };
    let pairs: Vec<(f64, f64)> = rows
        .iter()
        .filter_map(|row| Some(effect_parts(change, row.value?, row.clean_value?, row.corrupted_value?)))
        .collect();
    Some(share(row, effect, &pairs, resamples, seed, &id))
}

/// `row` with an effect and the interval of a ratio of sums, (part, whole) over prompts.
fn share(
    row: HeadScoreRow,
    effect: Result<f64, String>,
    pairs: &[(f64, f64)],
    resamples: usize,
    seed: u64,
    id: &str,
) -> HeadScoreRow {
    // Where the sign of what it is divided by is open, so is everything that is divided by it.
    let spans: Vec<f64> = pairs.iter().map(|(_, span)| *span).collect();
    let span = bootstrap_mean(&spans, resamples, seed, &format!("span/{}", row.metric));
    let certain = pairs.len() > 1 && span.is_some_and(|span| span.low > 0.0 || span.high < 0.0);
    let interval = (effect.is_ok() && certain).then(|| bootstrap_ratio(pairs, resamples, seed, id)).flatten();
    let interval = interval.filter(|interval| interval.low.is_finite() && interval.high.is_finite());
    let (ci_low, ci_high) = interval.map(|interval| (interval.low, interval.high)).unzip();
    let reason = match &effect {
        Err(reason) => Some(reason.clone()),
        Ok(_) if pairs.len() == 1 => Some("one prompt: no interval".to_owned()),
        Ok(_) => ci_low.is_none().then(|| UNCERTAIN.to_owned()),
    };
    HeadScoreRow { effect: effect.ok(), reason, ci_low, ci_high, ..row }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use refrain_patching::Metric;

    fn scores(component: Component, index: usize) -> Scores {
        let site = Site { component, layer: 2, index, position: Some(3), key_position: None };
        Scores {
            metrics: vec![Metric::Logit],
            pairs: vec![0, 2],
            clean: array![[4.0, 2.0]],
            corrupted: array![[0.0, 1.999]],
            sites: vec![site],
            values: array![[[1.0, 5.0]]],
        }
    }

    #[test]
    fn a_row_a_prompt_and_the_mean() {
        let labels = Labels { method: "activation-patching", direction: Some("denoise"), into_clean: false };
        let rows = of_scores(&scores(Component::K, 1), labels, &|pair| pair + 10);
        assert_eq!((rows[0].effect, rows[0].change, rows[0].prompt), (Some(0.25), Some(1.0), Some(10)));
        assert_eq!(
            (rows[0].layer, rows[0].head, rows[0].neuron, rows[0].position),
            (2, Some(1), None, Some(3))
        );
        // Clean and corrupted hardly differ.
        assert!(rows[1].effect.is_none() && rows[1].reason.is_some());
        let all = with_means(rows.into_iter().rev().collect(), &["logit"], 50, 0);
        let prompts: Vec<_> = all.iter().map(|row| row.prompt).collect();
        assert_eq!(prompts, [None, Some(10), Some(12)]);
        let mean = &all[0];
        assert_eq!((mean.value, mean.clean_value), (Some(3.0), Some(3.0)));
        let effect = (1.0 + 5.0 - 1.999) / (4.0 + 0.001);
        assert!((mean.effect.unwrap() - effect).abs() < 1e-12, "{mean:?}");
        assert!(mean.ci_low.unwrap() <= effect && effect <= mean.ci_high.unwrap());
        assert_eq!(mean.reason, None);
    }

    #[test]
    fn an_effect_is_no_surer_than_what_it_is_divided_by() {
        let labels = Labels { method: "activation-patching", direction: Some("denoise"), into_clean: false };
        let mut of = scores(Component::Z, 0);
        of.corrupted = array![[1.0, 4.0]];
        let mean = with_means(of_scores(&of, labels, &|pair| pair), &["logit"], 200, 0).remove(0);
        assert!(mean.effect.is_some() && mean.ci_low.is_none() && mean.ci_high.is_none(), "{mean:?}");
        assert_eq!(mean.reason.as_deref(), Some(UNCERTAIN));
    }

    #[test]
    fn places_have_the_columns_that_they_have() {
        let labels = Labels { method: "zero-ablation", direction: None, into_clean: true };
        let row = |component| of_scores(&scores(component, 7), labels, &|pair| pair).remove(0);
        assert_eq!(row(Component::Neuron).neuron, Some(7));
        assert_eq!((row(Component::Neuron).head, row(Component::ResidMid).head), (None, None));
        assert_eq!((row(Component::Z).change, row(Component::Z).direction), (Some(-3.0), None));
        // Three of the four that lie between the runs are gone.
        assert_eq!(row(Component::Z).effect, Some(0.75));
    }

    #[test]
    fn what_is_not_finite_is_null_with_a_reason() {
        let labels = Labels { method: "zero-ablation", direction: None, into_clean: true };
        let mut of = scores(Component::Z, 0);
        of.values[[0, 0, 0]] = f64::NAN;
        let rows = with_means(of_scores(&of, labels, &|pair| pair), &["logit"], 50, 0);
        for row in &rows[..2] {
            assert!(row.value.is_none() && row.effect.is_none() && row.ci_low.is_none(), "{row:?}");
            assert_eq!(row.reason.as_deref(), Some("the metric is not finite"));
        }
    }
}
