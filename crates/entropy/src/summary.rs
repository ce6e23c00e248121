//! Summaries of tables, with intervals over items: what figures draw and what is printed.

use std::collections::{BTreeMap, BTreeSet};

use crate::stats::{Draws, Estimate, censored_median, mean, ratio, sign_flip};
use crate::table::{
    ConditionRow, ContrastQuantity, ContrastRow, CountOutcome, CountQuantity, CountRow, CountSummaryRow, End,
    PerplexityRow, Pool, TraceKind, TraceQuantity, TraceRow, TraceSummaryRow,
};

/// A phrase: its pool, and its number in it.
type Item = (Pool, u32);

/// How intervals are made.
#[derive(Debug, Clone, Copy)]
pub struct Bootstrap {
    /// Resamples.
    pub resamples: usize,
    /// The run's seed.
    pub seed: u64,
}

impl Bootstrap {
    fn of<'a>(&self, id: &'a str) -> Draws<'a> {
        Draws { resamples: self.resamples, seed: self.seed, id }
    }
}

/// Shares and medians of every condition, count and pool, and of all pools.
pub fn counts(rows: &[CountRow], bootstrap: Bootstrap) -> Vec<CountSummaryRow> {
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
            let id = format!("counts/{n}/{quantity}");
            let estimate = share(&runs, *of, bootstrap.of(&id));
            let (ci_low, ci_high) = estimate.ends();
            let (n_items, reason) = (estimate.n as u32, estimate.reason);
            summary.push(CountSummaryRow {
                value: estimate.value,
                ci_low,
                ci_high,
                n_items,
                reason,
                ..blank(*quantity)
            });
        }
        let medians: [(CountQuantity, Number); 2] = [
            (CountQuantity::MedianResponseTokens, |row| f64::from(row.response_tokens)),
            (CountQuantity::MedianOvershoot, |row| row.overshoot),
        ];
        for (quantity, of) in medians {
            let values: Vec<(f64, bool)> =
                runs.iter().map(|row| (of(row), row.end != End::Stopped)).collect();
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

/// A number of a run.
type Number = fn(&CountRow) -> f64;

/// Whether a run counts towards a share; none if it does not count at all.
type Counts = fn(&CountRow) -> Option<bool>;

const SHARES: &[(CountQuantity, Counts)] = &[
    (CountQuantity::ExactShare, |row| row.feasible.then_some(row.exact)),
    (CountQuantity::NoAttemptShare, |row| Some(row.outcome == CountOutcome::NoAttempt)),
    (CountQuantity::CleanStopShare, |row| Some(row.outcome == CountOutcome::CleanStop)),
    (CountQuantity::BrokeOffStoppedShare, |row| Some(row.outcome == CountOutcome::BrokeOffStopped)),
    (CountQuantity::BrokeOffEndlessShare, |row| Some(row.outcome == CountOutcome::BrokeOffEndless)),
    (CountQuantity::PhraseLoopShare, |row| Some(row.outcome == CountOutcome::PhraseLoop)),
    (CountQuantity::EndlessShare, |row| Some(row.end != End::Stopped)),
];

/// The share of the runs that `of` holds for: the mean over items of each item's share.
fn share(runs: &[&CountRow], of: Counts, draws: Draws<'_>) -> Estimate {
    let mut by_item = BTreeMap::<Item, (f64, f64)>::new();
    for run in runs {
        if let Some(holds) = of(run) {
            let sum = by_item.entry((run.pool, run.item)).or_default();
            *sum = (sum.0 + f64::from(u8::from(holds)), sum.1 + 1.0);
        }
    }
    ratio(&by_item.into_values().collect::<Vec<_>>(), draws)
}

/// The labels, each once, in the order in which they come.
fn in_order<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut order = Vec::new();
    for label in labels {
        if !order.contains(&label) {
            order.push(label);
        }
    }
    order
}

/// The mean of every quantity at every step, over the items that have it there.
pub fn traces(rows: &[TraceRow], bootstrap: Bootstrap) -> Vec<TraceSummaryRow> {
    type Line<'a> = (TraceKind, usize, TraceQuantity, Option<u32>);
    let order = in_order(rows.iter().map(|row| row.condition.as_str()));
    let mut groups = BTreeMap::<Line<'_>, BTreeMap<u32, Vec<f64>>>::new();
    let mut begun = BTreeMap::<(TraceKind, usize), BTreeSet<(Option<Pool>, u32)>>::new();
    for row in rows {
        let condition = order.iter().position(|known| *known == row.condition).unwrap_or(0);
        begun.entry((row.prompt_kind, condition)).or_default().insert((row.pool, row.item));
        let steps = groups.entry((row.prompt_kind, condition, row.quantity, row.layer)).or_default();
        steps.entry(row.step).or_default().extend(row.value);
    }
    let mut summary = Vec::new();
    for ((prompt_kind, condition, quantity, layer), steps) in groups {
        for (step, values) in steps {
            // One id for every step: the same resamples, so that a line's band does not jitter.
            let estimate = mean(&values, bootstrap.of(&format!("trace/{prompt_kind}/{quantity}")));
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
                n_begun: begun.get(&(prompt_kind, condition)).map_or(0, BTreeSet::len) as u32,
                reason: estimate.reason,
            });
        }
    }
    summary
}

/// The pool over all texts of one condition, each token counting once; with the interval over texts. None of no texts.
pub fn perplexity(texts: &[PerplexityRow], bootstrap: Bootstrap) -> Option<PerplexityRow> {
    let first = texts.first()?;
    let items: Vec<(f64, f64)> =
        texts.iter().map(|text| (text.nll_nats * f64::from(text.tokens), f64::from(text.tokens))).collect();
    let estimate = ratio(&items, bootstrap.of("perplexity"));
    let (low, high) = estimate.ends();
    let nll_nats = estimate.value?;
    Some(PerplexityRow {
        text: None,
        tokens: texts.iter().map(|text| text.tokens).sum(),
        nll_nats,
        perplexity: nll_nats.exp(),
        ci_low: low.map(f64::exp),
        ci_high: high.map(f64::exp),
        n_texts: texts.len() as u32,
        reason: estimate.reason,
        ..first.clone()
    })
}

/// What every condition changed beside no intervention, item by item: counts where N > `prefill` and texts. With the verdict on the
/// induction heads beside the random sets that had the same intervention.
pub fn contrasts(
    conditions: &[ConditionRow],
    counts: &[CountRow],
    texts: &[PerplexityRow],
    prefill: u32,
    bootstrap: Bootstrap,
) -> Vec<ContrastRow> {
    let runs: Vec<&CountRow> = counts.iter().filter(|row| row.n > prefill && row.feasible).collect();
    let quantities: [(ContrastQuantity, Counts); 3] = [
        (ContrastQuantity::ExactShare, |row| Some(row.exact)),
        (ContrastQuantity::CleanStopShare, |row| Some(row.outcome == CountOutcome::CleanStop)),
        (ContrastQuantity::EndlessShare, |row| Some(row.end != End::Stopped)),
    ];
    let mut found = Vec::new();
    for condition in conditions.iter().filter(|condition| condition.target_set != "none") {
        for (quantity, of) in quantities {
            let items = paired_shares(&runs, &condition.condition, of);
            found.push(contrast(quantity, condition, &items, bootstrap));
        }
        let items = paired_texts(texts, &condition.condition);
        found.push(contrast(ContrastQuantity::NllNats, condition, &items, bootstrap));
    }
    let sets = found.clone();
    for row in &mut found {
        verdict(row, conditions, &sets);
    }
    found
}

/// Each item's mean difference between its runs under `condition` and the untouched runs of the same prompt and draw.
fn paired_shares(runs: &[&CountRow], condition: &str, of: Counts) -> Vec<f64> {
    let key = |row: &CountRow| (row.n, row.pool, row.item, row.decoding, row.sample);
    let number = |row: &CountRow| of(row).map(|holds| f64::from(u8::from(holds)));
    let base: BTreeMap<_, f64> = runs
        .iter()
        .filter(|row| row.condition == "none")
        .filter_map(|row| Some((key(row), number(row)?)))
        .collect();
    let mut by_item = BTreeMap::<Item, (f64, f64)>::new();
    for run in runs.iter().filter(|row| row.condition == condition) {
        if let (Some(before), Some(now)) = (base.get(&key(run)), number(run)) {
            let sum = by_item.entry((run.pool, run.item)).or_default();
            *sum = (sum.0 + now - before, sum.1 + 1.0);
        }
    }
    by_item.into_values().map(|(sum, count)| sum / count).collect()
}

fn paired_texts(texts: &[PerplexityRow], condition: &str) -> Vec<f64> {
    let of = |condition: &str| -> BTreeMap<u32, f64> {
        texts
            .iter()
            .filter(|row| row.condition == condition)
            .filter_map(|row| Some((row.text?, row.nll_nats)))
            .collect()
    };
    let base = of("none");
    of(condition).iter().filter_map(|(text, nll)| Some(nll - base.get(text)?)).collect()
}

fn contrast(
    quantity: ContrastQuantity,
    condition: &ConditionRow,
    items: &[f64],
    bootstrap: Bootstrap,
) -> ContrastRow {
    let estimate = mean(items, bootstrap.of(&format!("contrast/{quantity}")));
    let (ci_low, ci_high) = estimate.ends();
    ContrastRow {
        quantity,
        condition: condition.condition.clone(),
        baseline: "none".into(),
        n_items: estimate.n as u32,
        estimate: estimate.value,
        ci_low,
        ci_high,
        p_value: sign_flip(items, bootstrap.seed, &format!("{}/{quantity}", condition.condition)),
        test: "sign-flip over items; Student's interval below 30 items, BCa from there".into(),
        random_sets: None,
        did_as_much: None,
        verdict: String::new(),
        reason: estimate.reason,
    }
}

/// Says whether something rose or fell with the induction heads turned down, and how many random sets did as much. A few sets make no
/// distribution: they are counted. That random sets did more is a finding, too.
fn verdict(row: &mut ContrastRow, conditions: &[ConditionRow], all: &[ContrastRow]) {
    let of = |id: &str| conditions.iter().find(|condition| condition.condition == id);
    let Some(own) = of(&row.condition) else { return };
    let clear =
        row.p_value.is_some_and(|p| p <= 0.05) && !(row.ci_low <= Some(0.0) && row.ci_high >= Some(0.0));
    let way = match row.estimate {
        Some(change) if row.ci_low.is_some() && clear => {
            if change > 0.0 {
                "more"
            } else {
                "less"
            }
        }
        Some(_) => "no clear change",
        None => "undecided",
    };
    row.verdict = way.to_owned();
    if own.control {
        return;
    }
    let random: Vec<&ContrastRow> = all
        .iter()
        .filter(|other| other.quantity == row.quantity)
        .filter(|other| {
            of(&other.condition).is_some_and(|other| other.control && other.intervention == own.intervention)
        })
        .collect();
    let Some(change) = row.estimate else { return };
    let as_much = random.iter().filter_map(|other| other.estimate).filter(|other| match way {
        "more" => *other >= change,
        "less" => *other <= change,
        // Nothing clear was done: what a random set did more of, either way, is worth saying.
        _ => other.abs() > change.abs(),
    });
    row.random_sets = Some(random.len() as u32);
    row.did_as_much = Some(as_much.count() as u32);
    let (sets, as_much) = (random.len(), row.did_as_much.unwrap_or(0) as usize);
    row.verdict = match (way, sets, as_much) {
        (way, 0, _) => format!("{way}; no random sets to compare with"),
        ("no clear change", sets, 0) => {
            format!("no clear change, nor by more with any of {sets} random sets")
        }
        ("no clear change", sets, more) => {
            format!("no clear change; {more} of {sets} random sets changed more")
        }
        (way, sets, all) if all == sets => {
            format!("{way}, but all {sets} random sets did as much: not specific to the induction heads")
        }
        (way, sets, none @ 0) => format!("{way}; {none} of {sets} random sets did as much"),
        (way, sets, some) => format!("{way}; {some} of {sets} random sets did as much"),
    };
}

#[cfg(test)]
mod tests;
