//! Interventions against none and against random heads: the part of the summary that could be wished into being.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use refrain_entropy::stats::{Interval, bootstrap_ratio};
use refrain_entropy::table::{CountRow, PerplexityRow};

use super::settings::Settings;
use super::summary::fits;

/// Writes what each intervention changed, on the induction heads and on each random set, and a line that says no more
/// than that.
///
/// # Errors
/// None in practice: writing to a string.
pub fn about_interventions(
    text: &mut String,
    counts: &[CountRow],
    perplexities: &[PerplexityRow],
    settings: &Settings,
    window: usize,
) -> Result<()> {
    writeln!(
        text,
        "Does turning heads down help? Change where N > {} and N copies fit the window",
        settings.prefill
    )?;
    writeln!(
        text,
        "  {:<10}{:<12}{:>22}{:>22}{:>12}",
        "", "", "exactly N, points", "never ends, points", "perplexity"
    )?;
    let possible: Vec<&CountRow> =
        counts.iter().filter(|row| row.n > settings.prefill && fits(row, window)).collect();
    let mut sets: Vec<&str> =
        counts.iter().map(|row| row.head_set.as_str()).filter(|set| *set != "none").collect();
    sets.sort_unstable();
    sets.dedup();
    let mut verdicts = Vec::new();
    for name in &settings.interventions {
        let mut exact = BTreeMap::new();
        let mut endless = BTreeMap::new();
        for set in &sets {
            let changed = |of: fn(&CountRow) -> bool| change(&possible, name, set, of, settings);
            let (exactly, never) = (changed(|row| row.exact), changed(|row| row.outcome != "stopped"));
            let cost = perplexity_change(perplexities, name, set);
            writeln!(
                text,
                "  {name:<10}{set:<12}{:>22}{:>22}{:>12}",
                exactly.map_or("-".into(), in_points),
                never.map_or("-".into(), in_points),
                cost.map_or("-".into(), |percent| format!("{percent:+.1} %")),
            )?;
            exact.insert(*set, exactly);
            endless.insert(*set, never);
        }
        verdicts.push(format!("{:<10}{}", format!("{name}:"), verdict("exact counts", &exact)));
        verdicts.push(format!("{:<10}{}", "", verdict("endless runs", &endless)));
    }
    for verdict in verdicts {
        writeln!(text, "  {verdict}")?;
    }
    writeln!(text)?;
    Ok(())
}

/// Change of the share of runs that `of` holds for, by `intervention` on `head_set`, each run paired with the untouched run of
/// the same prompt and draw; resampled by phrase.
fn change(
    rows: &[&CountRow],
    intervention: &str,
    head_set: &str,
    of: fn(&CountRow) -> bool,
    settings: &Settings,
) -> Option<Interval> {
    let key = |row: &CountRow| (row.n, row.pool.clone(), row.prompt, row.decoding.clone(), row.draw);
    let base: BTreeMap<_, bool> =
        rows.iter().filter(|row| row.intervention == "none").map(|row| (key(row), of(row))).collect();
    let mut by_phrase = BTreeMap::<(&str, u32), (f64, f64)>::new();
    for row in rows.iter().filter(|row| row.intervention == intervention && row.head_set == head_set) {
        let Some(before) = base.get(&key(row)) else { continue };
        let sum = by_phrase.entry((&row.pool, row.prompt)).or_default();
        sum.0 += f64::from(u8::from(of(row))) - f64::from(u8::from(*before));
        sum.1 += 1.0;
    }
    let pairs: Vec<(f64, f64)> = by_phrase.into_values().collect();
    bootstrap_ratio(&pairs, settings.resamples, settings.seed, "change")
}

/// Percent change of the pooled perplexity.
fn perplexity_change(rows: &[PerplexityRow], intervention: &str, head_set: &str) -> Option<f64> {
    let mut pooled = rows.iter().filter(|row| row.text.is_none());
    let base = pooled.clone().find(|row| row.intervention == "none")?.perplexity;
    let row = pooled.find(|row| row.intervention == intervention && row.head_set == head_set)?;
    Some(100.0 * (row.perplexity / base - 1.0))
}

/// Whether a share rose or fell with the induction heads turned down, and whether any random set did as much. A few sets
/// make no distribution: the line counts them.
fn verdict(what: &str, changes: &BTreeMap<&str, Option<Interval>>) -> String {
    let Some(Some(induction)) = changes.get("induction") else {
        return format!("{what}: nothing to compare");
    };
    let random: Vec<f64> = changes
        .iter()
        .filter(|(set, _)| **set != "induction")
        .filter_map(|(_, change)| Some((*change)?.mean))
        .collect();
    let direction = if induction.low > 0.0 {
        "more"
    } else if induction.high < 0.0 {
        "fewer"
    } else {
        return format!("no clear change of {what}");
    };
    let as_much = random.iter().filter(|change| match direction {
        "more" => **change >= induction.mean,
        _ => **change <= induction.mean,
    });
    match random.len() {
        0 => format!("{direction} {what}; no random heads to compare"),
        sets => format!("{direction} {what}; {} of {sets} random sets did as much", as_much.count()),
    }
}

fn in_points(change: Interval) -> String {
    let points = [change.mean, change.low, change.high].map(|value| 100.0 * value);
    format!("{:+.0} [{:+.0}, {:+.0}]", points[0], points[1], points[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, high: f64) -> Option<Interval> {
        Some(Interval { mean: (low + high) / 2.0, low, high })
    }

    #[test]
    fn a_verdict_claims_no_more_than_its_intervals() {
        let about = |induction, random: &[Option<Interval>]| {
            let mut changes = BTreeMap::from([("induction", induction)]);
            changes.extend(["random_1", "random_2"].into_iter().zip(random.iter().copied()));
            verdict("exact counts", &changes)
        };
        let around_zero = interval(-0.1, 0.2);
        assert_eq!(about(around_zero, &[around_zero]), "no clear change of exact counts");
        assert_eq!(
            about(interval(0.1, 0.2), &[interval(0.0, 0.1), interval(0.2, 0.3)]),
            "more exact counts; 1 of 2 random sets did as much"
        );
        // Harming less than random heads is not helping.
        assert_eq!(
            about(interval(-0.2, -0.1), &[interval(-0.5, -0.4), interval(-0.5, -0.3)]),
            "fewer exact counts; 2 of 2 random sets did as much"
        );
        assert_eq!(about(interval(-0.2, -0.1), &[]), "fewer exact counts; no random heads to compare");
        assert_eq!(about(None, &[]), "exact counts: nothing to compare");
    }
}
