//! The summary that a run ends with: what was found, as found, in 80 columns.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use refrain_entropy::schema::Table;
use refrain_entropy::stats::{Interval, bootstrap_ratio, pearson};
use refrain_entropy::table::{CountRow, CountSweep, EntropyTrace, Perplexity, PerplexityRow, TraceRow};
use refrain_entropy::toxicity::GAMMA;
use refrain_patching::table::{HeadScoreRow, HeadScores};

use super::settings::Settings;
use super::subject::Subject;
use super::{Tables, heads};
use crate::folder::RunFolder;

/// The whole text.
///
/// # Errors
/// If a table does not have the columns that it should.
pub fn summary(
    tables: &Tables,
    subject: &Subject,
    settings: &Settings,
    folder: &RunFolder,
    figures: &[PathBuf],
) -> Result<String> {
    let head_rows = HeadScores::rows(&tables.head_scores)?;
    let counts = CountSweep::rows(&tables.count_sweep)?;
    let traces = EntropyTrace::rows(&tables.entropy_trace)?;
    let perplexities = Perplexity::rows(&tables.perplexity)?;
    let mut text = String::new();
    writeln!(text, "repetition-curse on {}, seed {}\n", subject.name, settings.seed)?;
    about_heads(&mut text, &head_rows, subject)?;
    about_counts(&mut text, &counts, settings)?;
    about_entropy(&mut text, &traces)?;
    about_interventions(&mut text, &counts, &perplexities, settings)?;
    about_files(&mut text, folder, figures)?;
    Ok(text)
}

fn about_heads(text: &mut String, rows: &[HeadScoreRow], subject: &Subject) -> Result<()> {
    let induction = heads::induction_heads(rows);
    writeln!(
        text,
        "Induction heads: {} of {} by patching effect on the copy task",
        induction.len(),
        subject.model.heads().len()
    )?;
    for head in &induction {
        let effect = heads::mean_row(rows, *head, "logit");
        let matching = heads::mean_row(rows, *head, "prefix_matching").and_then(|row| row.value);
        writeln!(
            text,
            "  {:<7} effect {} [{}, {}], prefix matching {}",
            head.to_string(),
            number(effect.and_then(|row| row.effect)),
            number(effect.and_then(|row| row.ci_low)),
            number(effect.and_then(|row| row.ci_high)),
            number(matching)
        )?;
    }
    let strong = |head: &&refrain_runner::Head| {
        heads::mean_row(rows, **head, "prefix_matching")
            .and_then(|row| row.value)
            .is_some_and(|value| value > 0.6)
    };
    let all = subject.model.heads();
    let matching: Vec<String> = all.iter().filter(strong).map(ToString::to_string).collect();
    let named = if matching.is_empty() { "none".to_owned() } else { shortened(&matching, 6) };
    writeln!(text, "  heads with prefix matching above 0.6: {named}\n")?;
    Ok(())
}

fn about_counts(text: &mut String, rows: &[CountRow], settings: &Settings) -> Result<()> {
    writeln!(text, "Asked to repeat a phrase N times (greedy and sampled, no intervention)")?;
    writeln!(
        text,
        "  {:>5}  {:>6}  {:>12}  {:>12}  {:>14}",
        "N", "runs", "exactly N", "never ends", "median / N"
    )?;
    for n in &settings.counts {
        let runs: Vec<&CountRow> =
            rows.iter().filter(|row| row.n == *n && row.intervention == "none").collect();
        let mut overshoot: Vec<f64> = runs.iter().map(|row| row.overshoot).collect();
        overshoot.sort_by(f64::total_cmp);
        writeln!(
            text,
            "  {n:>5}  {:>6}  {:>11.0}%  {:>11.0}%  {:>14.2}",
            runs.len(),
            100.0 * share(&runs, |row| row.exact),
            100.0 * share(&runs, |row| row.outcome != "stopped"),
            median(&overshoot)
        )?;
    }
    writeln!(text)?;
    Ok(())
}

fn about_entropy(text: &mut String, rows: &[TraceRow]) -> Result<()> {
    let mean = |condition: &str, quantity: &str, steps: std::ops::RangeInclusive<u32>| {
        let values: Vec<f64> = rows
            .iter()
            .filter(|row| row.intervention == "none" && row.condition == condition)
            .filter(|row| row.quantity == quantity && steps.contains(&row.step))
            .filter_map(|row| row.value)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    writeln!(text, "Entropy of the next token and toxicity, means over prompts (toxic from {GAMMA})")?;
    writeln!(text, "  {:<34}{:>12}{:>12}{:>12}", "", "repetition", "repetition", "ordinary")?;
    writeln!(text, "  {:<34}{:>12}{:>12}{:>12}", "step", "0-8", "32-128", "0-32")?;
    for (label, quantity) in [
        ("entropy, nats", "entropy_nats"),
        ("toxicity, causal", "toxicity_causal"),
        ("toxicity, norm share", "toxicity_norm_share"),
    ] {
        writeln!(
            text,
            "  {label:<34}{:>12}{:>12}{:>12}",
            number(mean("repetition", quantity, 0..=8)),
            number(mean("repetition", quantity, 32..=128)),
            number(mean("ordinary", quantity, 0..=32))
        )?;
    }
    let key = |row: &TraceRow| (row.condition.clone(), row.pool.clone(), row.prompt, row.step);
    let of = |quantity: &str| {
        rows.iter()
            .filter(|row| row.intervention == "none" && row.quantity == quantity)
            .filter_map(|row| Some((key(row), row.value?)))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let (causal, share) = (of("toxicity_causal"), of("toxicity_norm_share"));
    let pairs: Vec<(f64, f64)> =
        causal.iter().filter_map(|(key, value)| Some((*value, *share.get(key)?))).collect();
    writeln!(
        text,
        "  correlation of the two toxicities: {} over {} steps\n",
        number(pearson(&pairs)),
        pairs.len()
    )?;
    Ok(())
}

fn about_interventions(
    text: &mut String,
    counts: &[CountRow],
    perplexities: &[PerplexityRow],
    settings: &Settings,
) -> Result<()> {
    let large: Vec<u32> = settings.counts.iter().copied().filter(|n| *n > settings.prefill).collect();
    writeln!(text, "Does turning heads down help? Change against no intervention, N > {}", settings.prefill)?;
    writeln!(text, "  {:<10}{:<12}{:>25}{:>25}", "", "", "exactly N, points", "perplexity, %")?;
    let mut verdicts = Vec::new();
    for name in &settings.interventions {
        let induction = exact_change(counts, name, "induction", &large, settings);
        let random = exact_change(counts, name, "random", &large, settings);
        for (heads, change) in [("induction", &induction), ("random", &random)] {
            writeln!(
                text,
                "  {name:<10}{heads:<12}{:>25}{:>25}",
                change.as_ref().map_or("-".into(), |change| in_points(*change)),
                number(perplexity_change(perplexities, name, heads))
            )?;
        }
        verdicts.push(verdict(name, induction, random));
    }
    for verdict in verdicts {
        writeln!(text, "  {verdict}")?;
    }
    writeln!(text)?;
    Ok(())
}

/// Change of the share of exact counts, as a fraction, by `intervention` on the head sets that start with `heads`,
/// paired with the undescaled run of the same prompt and draw; resampled by phrase.
fn exact_change(
    rows: &[CountRow],
    intervention: &str,
    heads: &str,
    large: &[u32],
    settings: &Settings,
) -> Option<Interval> {
    let key = |row: &CountRow| (row.n, row.pool.clone(), row.prompt, row.decoding.clone(), row.draw);
    let base: std::collections::BTreeMap<_, bool> =
        rows.iter().filter(|row| row.intervention == "none").map(|row| (key(row), row.exact)).collect();
    let mut by_phrase = std::collections::BTreeMap::<(String, u32), (f64, f64)>::new();
    for row in rows {
        if row.intervention != intervention || !row.head_set.starts_with(heads) || !large.contains(&row.n) {
            continue;
        }
        let Some(before) = base.get(&key(row)) else { continue };
        let sum = by_phrase.entry((row.pool.clone(), row.prompt)).or_default();
        sum.0 += f64::from(u8::from(row.exact)) - f64::from(u8::from(*before));
        sum.1 += 1.0;
    }
    let pairs: Vec<(f64, f64)> = by_phrase.into_values().collect();
    bootstrap_ratio(&pairs, settings.resamples, settings.seed, "exact-change")
}

/// Percent change of the pooled perplexity, mean over the head sets that start with `heads`.
fn perplexity_change(rows: &[PerplexityRow], intervention: &str, heads: &str) -> Option<f64> {
    let pooled = |row: &&PerplexityRow| row.text.is_none();
    let base = rows.iter().filter(pooled).find(|row| row.intervention == "none")?.perplexity;
    let found: Vec<f64> = rows
        .iter()
        .filter(pooled)
        .filter(|row| row.intervention == intervention && row.head_set.starts_with(heads))
        .map(|row| 100.0 * (row.perplexity / base - 1.0))
        .collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
}

/// What the intervals say, and no more.
fn verdict(name: &str, induction: Option<Interval>, random: Option<Interval>) -> String {
    let Some(induction) = induction else { return format!("{name}: nothing to compare") };
    let effect = if induction.low > 0.0 {
        "it helps"
    } else if induction.high < 0.0 {
        "it harms"
    } else {
        "no clear difference"
    };
    let beside = match random {
        Some(random) if induction.low > random.high => "better than with random heads",
        Some(random) if induction.high < random.low => "worse than with random heads",
        Some(_) => "not clearly apart from random heads",
        None => "no random heads to compare",
    };
    format!("{:<10}{effect}; {beside}", format!("{name}:"))
}

fn about_files(text: &mut String, folder: &RunFolder, figures: &[PathBuf]) -> Result<()> {
    writeln!(text, "Tables    {}", folder.table_path::<HeadScores>().display())?;
    for path in [
        folder.table_path::<CountSweep>(),
        folder.table_path::<EntropyTrace>(),
        folder.table_path::<Perplexity>(),
    ] {
        writeln!(text, "          {}", path.display())?;
    }
    if let Some(parent) = figures.first().and_then(|path| path.parent()) {
        let names: Vec<String> = figures
            .iter()
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .collect();
        writeln!(text, "Figures   {}", parent.join("").display())?;
        for pair in names.chunks(2) {
            writeln!(text, "          {} (.png, .svg)", pair.join(", "))?;
        }
    }
    writeln!(text, "Manifest  {}", folder.manifest_path().display())?;
    Ok(())
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.2}"))
}

fn in_points(change: Interval) -> String {
    let points = [change.mean, change.low, change.high].map(|value| 100.0 * value);
    format!("{:+.1} [{:+.1}, {:+.1}]", points[0], points[1], points[2])
}

fn share(rows: &[&CountRow], counts: impl Fn(&CountRow) -> bool) -> f64 {
    rows.iter().filter(|row| counts(row)).count() as f64 / (rows.len() as f64).max(1.0)
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

fn shortened(names: &[String], most: usize) -> String {
    let shown = names[..names.len().min(most)].join(" ");
    if names.len() > most { format!("{shown} and {} more", names.len() - most) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, high: f64) -> Option<Interval> {
        Some(Interval { mean: (low + high) / 2.0, low, high })
    }

    #[test]
    fn a_verdict_claims_no_more_than_its_intervals() {
        let about = |induction, random| verdict("log", induction, random);
        assert!(
            about(interval(0.1, 0.2), interval(-0.1, 0.05)).contains("helps; better than with random heads")
        );
        assert!(about(interval(0.1, 0.2), interval(0.0, 0.15)).contains("helps; not clearly apart"));
        assert!(about(interval(-0.1, 0.2), interval(0.0, 0.15)).contains("no clear difference"));
        assert!(
            about(interval(-0.3, -0.2), interval(0.0, 0.1)).contains("harms; worse than with random heads")
        );
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[1.0, 3.0, 9.0]), 3.0);
        assert_eq!(median(&[1.0, 3.0]), 2.0);
    }
}
