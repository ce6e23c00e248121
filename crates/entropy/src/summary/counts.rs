//! `count_summary`: what became of the runs, as shares over items and medians over runs.

use std::collections::{BTreeMap, BTreeSet};

use super::shared::{Item, in_order};
use crate::stats::{censored_median, share};
use crate::table::{CountOutcome, CountQuantity, CountRow, CountSummaryRow, End, Pool};

/// Shares and medians of every condition, count and pool, and of all pools.
pub fn counts(rows: &[CountRow]) -> Vec<CountSummaryRow> {
    let mut groups = BTreeMap::<(usize, u32, Option<Pool>), Vec<&CountRow>>::new();
    let order = in_order(rows.iter().map(|row| row.condition.as_str()));
    for row in rows {
        let condition = order.iter().position(|known| *known == row.condition).unwrap_or(0);
        for pool in [None, Some(row.pool)] {
            groups.entry((condition, row.n, pool)).or_default().push(row);
        }
    }
    let mut summary = Vec::new();
    for ((condition, n, pool), runs) in groups {
        let items = runs.iter().map(|row| (row.pool, row.item)).collect::<BTreeSet<Item>>().len();
        let blank = |quantity| CountSummaryRow {
            condition: order[condition].to_owned(),
            n,
            pool,
            quantity,
            value: None,
            ci_low: None,
            ci_high: None,
            lower_bound: false,
            n_items: items as u32,
            n_runs: runs.len() as u32,
            reason: None,
        };
        for (quantity, of) in SHARES {
            let by_item = by_item(&runs, *of);
            let estimate = share(&by_item);
            let (ci_low, ci_high) = estimate.ends();
            summary.push(CountSummaryRow {
                value: estimate.value,
                ci_low,
                ci_high,
                n_items: estimate.n as u32,
                n_runs: by_item.iter().map(|item| item.1).sum::<f64>() as u32,
                reason: estimate.reason,
                ..blank(*quantity)
            });
        }
        // Copies that something else followed are all that there would have been, however long the run.
        let medians: [(CountQuantity, Number); 2] = [
            (CountQuantity::MedianResponseTokens, |row| {
                (f64::from(row.response_tokens), row.end != End::Stopped)
            }),
            (CountQuantity::MedianOvershoot, |row| (row.overshoot, row.outcome == CountOutcome::PhraseLoop)),
        ];
        for (quantity, of) in medians {
            let values: Vec<(f64, bool)> = runs.iter().map(|row| of(row)).collect();
            let (value, lower_bound) = censored_median(&values).unzip();
            summary.push(CountSummaryRow {
                value,
                lower_bound: lower_bound == Some(true),
                ..blank(quantity)
            });
        }
    }
    summary
}

/// A number of a run, and whether it would have been larger if the run had not been cut off.
type Number = fn(&CountRow) -> (f64, bool);

/// Whether a run counts towards a share; none if it does not count at all.
pub(super) type Counts = fn(&CountRow) -> Option<bool>;

const SHARES: &[(CountQuantity, Counts)] = &[
    (CountQuantity::ExactShare, |row| row.feasible.then_some(row.exact)),
    (CountQuantity::NoAttemptShare, |row| Some(row.outcome == CountOutcome::NoAttempt)),
    (CountQuantity::CleanStopShare, |row| Some(row.outcome == CountOutcome::CleanStop)),
    (CountQuantity::BrokeOffStoppedShare, |row| Some(row.outcome == CountOutcome::BrokeOffStopped)),
    (CountQuantity::BrokeOffEndlessShare, |row| Some(row.outcome == CountOutcome::BrokeOffEndless)),
    (CountQuantity::PhraseLoopShare, |row| Some(row.outcome == CountOutcome::PhraseLoop)),
    (CountQuantity::EndlessShare, |row| Some(row.end != End::Stopped)),
];

/// How many of each item's runs `of` holds for, and of how many.
fn by_item(runs: &[&CountRow], of: Counts) -> Vec<(f64, f64)> {
    let mut by_item = BTreeMap::<Item, (f64, f64)>::new();
    for run in runs {
        if let Some(holds) = of(run) {
            let sum = by_item.entry((run.pool, run.item)).or_default();
            *sum = (sum.0 + f64::from(u8::from(holds)), sum.1 + 1.0);
        }
    }
    by_item.into_values().collect()
}
