//! `trace_summary` and `trace_windows`: what is followed along generations, step by step and over ranges of steps.

use std::collections::{BTreeMap, BTreeSet};

use super::shared::{Bootstrap, in_order};
use crate::stats::{Estimate, mean, pearson_estimate};
use crate::table::{Pool, TraceKind, TraceQuantity, TraceRow, TraceSummaryRow, TraceWindowRow};

/// A phrase or a text: its pool, if it is a phrase, and its number.
type TracedItem = (Option<Pool>, u32);

/// The first and the last step of a window; none: to the end.
type Window = (u32, Option<u32>);

/// The windows: the beginning, what comes once a repetition has settled, and all.
const WINDOWS: [Window; 3] = [(0, Some(32)), (64, Some(512)), (0, None)];

/// The mean of every quantity at every step, over the items that have it there.
pub fn traces(rows: &[TraceRow], bootstrap: Bootstrap) -> Vec<TraceSummaryRow> {
    type Line<'a> = (TraceKind, usize, TraceQuantity, Option<u32>);
    let order = in_order(rows.iter().map(|row| row.condition.as_str()));
    let mut groups = BTreeMap::<Line<'_>, BTreeMap<u32, Vec<f64>>>::new();
    let mut begun = BTreeMap::<(TraceKind, usize), BTreeSet<TracedItem>>::new();
    let mut alive = BTreeMap::<(TraceKind, usize, u32), BTreeSet<TracedItem>>::new();
    for row in rows {
        let condition = order.iter().position(|known| *known == row.condition).unwrap_or(0);
        begun.entry((row.prompt_kind, condition)).or_default().insert((row.pool, row.item));
        // Entropy is measured at every step.
        alive.entry((row.prompt_kind, condition, row.step)).or_default().insert((row.pool, row.item));
        let steps = groups.entry((row.prompt_kind, condition, row.quantity, row.layer)).or_default();
        steps.entry(row.step).or_default().extend(row.value);
    }
    let mut summary = Vec::new();
    for ((prompt_kind, condition, quantity, layer), steps) in groups {
        for (step, values) in steps {
            // One id for every step: the same resamples, so that a line's band does not jitter.
            let estimate = mean(&values, bootstrap.of(&format!("trace/{prompt_kind}/{quantity}")));
            let estimate = bounded(quantity, estimate);
            let (ci_low, ci_high) = estimate.ends();
            summary.push(TraceSummaryRow {
                prompt_kind,
                condition: order[condition].to_owned(),
                quantity,
                layer,
                step,
                value: estimate.value,
                ci_low,
                ci_high,
                n_items: estimate.n as u32,
                n_alive: alive.get(&(prompt_kind, condition, step)).map_or(0, BTreeSet::len) as u32,
                n_begun: begun.get(&(prompt_kind, condition)).map_or(0, BTreeSet::len) as u32,
                reason: estimate.reason,
            });
        }
    }
    summary
}

/// An interval ends where the quantity does: there is no negative entropy.
fn bounded(quantity: TraceQuantity, estimate: Estimate) -> Estimate {
    match quantity {
        TraceQuantity::EntropyNats | TraceQuantity::KlPreviousNats | TraceQuantity::LogitLensEntropyNats => {
            estimate.within(0.0, f64::INFINITY)
        }
        TraceQuantity::ToxicityCorrelation => estimate.within(-1.0, 1.0),
        TraceQuantity::Top1Probability
        | TraceQuantity::ToxicityCausal
        | TraceQuantity::ToxicityPredicted
        | TraceQuantity::ToxicityNormShare
        | TraceQuantity::ToxicityNormShareOfAll => estimate.within(0.0, 1.0),
    }
}

/// The mean over items of each item's mean in every window, for every condition and quantity; and within each kind
/// of text the correlation over items of the two toxicities. Pooled over kinds of text, the difference between
/// these would pass for a correlation.
pub fn trace_windows(rows: &[TraceRow], bootstrap: Bootstrap) -> Vec<TraceWindowRow> {
    let order = in_order(rows.iter().map(|row| row.condition.as_str()));
    let mut groups =
        BTreeMap::<(TraceKind, usize, TraceQuantity), BTreeMap<TracedItem, Vec<(u32, f64)>>>::new();
    for row in rows.iter().filter(|row| row.layer.is_none()) {
        let condition = order.iter().position(|known| *known == row.condition).unwrap_or(0);
        let items = groups.entry((row.prompt_kind, condition, row.quantity)).or_default();
        items.entry((row.pool, row.item)).or_default().extend(row.value.map(|value| (row.step, value)));
    }
    let mut found = Vec::new();
    for ((prompt_kind, condition, quantity), items) in &groups {
        let row = |(first_step, last_step): Window, quantity, estimate: Estimate| {
            let (ci_low, ci_high) = estimate.ends();
            TraceWindowRow {
                prompt_kind: *prompt_kind,
                condition: order[*condition].to_owned(),
                quantity,
                first_step,
                last_step,
                value: estimate.value,
                ci_low,
                ci_high,
                n_items: estimate.n as u32,
                reason: estimate.reason,
            }
        };
        for window in WINDOWS {
            let means: Vec<f64> = by_item(items, window).into_values().collect();
            let id = format!("window/{prompt_kind}/{quantity}/{}", window.0);
            found.push(row(window, *quantity, bounded(*quantity, mean(&means, bootstrap.of(&id)))));
        }
        if let (TraceQuantity::ToxicityCausal, Some(norm)) =
            (quantity, groups.get(&(*prompt_kind, *condition, TraceQuantity::ToxicityNormShare)))
        {
            let all = WINDOWS[2];
            let norm = by_item(norm, all);
            let pairs: Vec<(f64, f64)> = by_item(items, all)
                .into_iter()
                .filter_map(|(item, causal)| Some((causal, *norm.get(&item)?)))
                .collect();
            found.push(row(all, TraceQuantity::ToxicityCorrelation, pearson_estimate(&pairs)));
        }
    }
    found
}

/// Each item's mean in a window.
fn by_item(
    items: &BTreeMap<TracedItem, Vec<(u32, f64)>>,
    (first, last): Window,
) -> BTreeMap<TracedItem, f64> {
    let of = |(item, values): (&TracedItem, &Vec<(u32, f64)>)| {
        let inside =
            values.iter().filter(|(step, _)| *step >= first && last.is_none_or(|last| *step <= last));
        let values: Vec<f64> = inside.map(|(_, value)| *value).collect();
        (!values.is_empty()).then(|| (*item, values.iter().sum::<f64>() / values.len() as f64))
    };
    items.iter().filter_map(of).collect()
}
