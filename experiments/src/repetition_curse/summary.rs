//! What a run found, as found.

use std::collections::BTreeMap;

use anyhow::Result;
use refrain_entropy::stats::pearson;
use refrain_entropy::table::{
    ConditionRow, Conditions, ContrastQuantity, ContrastRow, Contrasts, CountQuantity, CountSummary,
    CountSummaryRow, EntropyTrace, GateRow, Gates, TraceKind, TraceQuantity, TraceRow,
};
use refrain_entropy::toxicity::GAMMA;
use refrain_patching::table::{HeadScoreRow, HeadScores};

use super::{head_of, selected};
use crate::lab::report::{Align, interval, number, percent};
use crate::lab::{Finished, Report};

/// Writes the summary.
///
/// # Errors
/// If a table does not have the columns that it should.
pub fn summary(run: &Finished, report: &mut Report) -> Result<()> {
    about_heads(report, &run.rows::<HeadScores>()?, &run.rows::<Gates>()?);
    if run.manifest.facts.get("ends_by_itself").and_then(toml::Value::as_bool) == Some(false) {
        report.note("config.json names no end token: no run can end by itself");
        report.gap();
    }
    about_counts(report, &run.rows::<CountSummary>()?);
    about_entropy(report, &run.rows::<EntropyTrace>()?);
    about_conditions(report, &run.rows::<Conditions>()?, &run.rows::<Contrasts>()?);
    Ok(())
}

fn about_heads(report: &mut Report, rows: &[HeadScoreRow], gates: &[GateRow]) {
    let induction = selected(rows);
    let means: Vec<&HeadScoreRow> = rows.iter().filter(|row| row.prompt.is_none()).collect();
    let all = means.iter().filter(|row| row.component == "z").count();
    report.line(format_args!(
        "Induction heads (H_ind): {} of {all}, by activation patching on the copy task",
        induction.len()
    ));
    let mean =
        |head, metric: &str| means.iter().find(|row| row.metric == metric && head_of(row) == Some(head));
    let row = |head: &refrain_runner::Head| {
        let effect = mean(*head, "logit");
        vec![
            head.to_string(),
            number(effect.and_then(|row| row.effect)),
            interval(effect.and_then(|row| row.ci_low), effect.and_then(|row| row.ci_high)),
            number(mean(*head, "prefix_matching").and_then(|row| row.value)),
        ]
    };
    let columns = [
        ("head", Align::Left),
        ("effect", Align::Right),
        ("95 % interval", Align::Left),
        ("prefix matching", Align::Right),
    ];
    report.table(&columns, induction.iter().map(row));
    gate_notes(report, gates);
    let matching: Vec<String> = means
        .iter()
        .filter(|row| row.metric == "prefix_matching" && row.value > Some(0.6))
        .filter_map(|row| Some(head_of(row)?.to_string()))
        .collect();
    let named = if matching.is_empty() { "none".to_owned() } else { shortened(&matching, 6) };
    report.note(&format!("  heads with prefix matching above 0.6: {named}"));
    report.gap();
}

/// Says of each gate how it stands, and what it means if it is not passed.
pub fn gate_notes(report: &mut Report, gates: &[GateRow]) {
    for gate in gates {
        let state = if gate.passed { "passed" } else { "NOT passed" };
        report.note(&format!(
            "  gate `{}` {state}: {} (needs {}, {} pairs)",
            gate.gate, gate.message, gate.threshold, gate.n
        ));
    }
    if gates.iter().any(|gate| !gate.passed) {
        report.note("  The model hardly solves this task: scores on it describe what little it does, and may rank heads wrongly.");
    }
}

fn about_counts(report: &mut Report, rows: &[CountSummaryRow]) {
    report.line(format_args!("Asked to repeat a phrase N times (greedy and sampled, no intervention)"));
    let none: Vec<&CountSummaryRow> =
        rows.iter().filter(|row| row.condition == "none" && row.pool.is_none()).collect();
    let mut counts: Vec<u32> = none.iter().map(|row| row.n).collect();
    counts.dedup();
    let of = |n: u32, quantity: CountQuantity| none.iter().find(|row| row.n == n && row.quantity == quantity);
    let share = |n, quantity| percent(of(n, quantity).and_then(|row| row.value));
    let row = |n: &u32| {
        let median = of(*n, CountQuantity::MedianOvershoot);
        let bound = if median.is_some_and(|row| row.lower_bound) { ">=" } else { "" };
        vec![
            n.to_string(),
            median.map_or(0, |row| row.n_runs).to_string(),
            share(*n, CountQuantity::ExactShare),
            share(*n, CountQuantity::CleanStopShare),
            share(*n, CountQuantity::BrokeOffStoppedShare),
            share(*n, CountQuantity::BrokeOffEndlessShare),
            share(*n, CountQuantity::PhraseLoopShare),
            share(*n, CountQuantity::NoAttemptShare),
            format!("{bound}{}", number(median.and_then(|row| row.value))),
        ]
    };
    let columns =
        ["N", "runs", "exact", "clean stop", "broke, stop", "broke, on", "loop", "none", "median/N"];
    report.table(&columns.map(|name| (name, Align::Right)), counts.iter().map(row));
    report.note("  exact: over the runs where N copies fit. clean stop: only copies, then the end. broke: something else after copies; stop: ended, on: never. loop: copies to the window or the limit. none: fewer than two copies.");
    report.gap();
}

fn about_entropy(report: &mut Report, rows: &[TraceRow]) {
    let rows: Vec<&TraceRow> = rows.iter().filter(|row| row.condition == "none").collect();
    // Means of each item's mean, so that long generations do not count for more; with the number of items.
    let mean = |kind: TraceKind, quantity: TraceQuantity, steps: std::ops::RangeInclusive<u32>| {
        let mut by_item = BTreeMap::<_, Vec<f64>>::new();
        for row in rows.iter().filter(|row| row.prompt_kind == kind && row.quantity == quantity) {
            if let (true, Some(value)) = (steps.contains(&row.step), row.value) {
                by_item.entry((row.pool, row.item)).or_default().push(value);
            }
        }
        let means: Vec<f64> =
            by_item.values().map(|values| values.iter().sum::<f64>() / values.len() as f64).collect();
        match means.len() {
            0 => "-".to_owned(),
            n => format!("{:.2} ({n})", means.iter().sum::<f64>() / n as f64),
        }
    };
    report.line(format_args!(
        "Next-token entropy and toxicity, mean over items (how many; toxic from {GAMMA})"
    ));
    let row = |(label, quantity): &(&str, TraceQuantity)| {
        vec![
            (*label).to_owned(),
            mean(TraceKind::Ordinary, *quantity, 0..=32),
            mean(TraceKind::Repetition, *quantity, 0..=32),
            mean(TraceKind::Repetition, *quantity, 64..=512),
        ]
    };
    let quantities = [
        ("entropy, nats", TraceQuantity::EntropyNats),
        ("toxicity, causal", TraceQuantity::ToxicityCausal),
        ("toxicity, norm share", TraceQuantity::ToxicityNormShare),
    ];
    let columns = [
        ("", Align::Left),
        ("ordinary, steps 0-32", Align::Right),
        ("repetition, 0-32", Align::Right),
        ("repetition, 64-512", Align::Right),
    ];
    report.table(&columns, quantities.iter().map(row));
    // Within a kind of text: pooled, the difference between the kinds would pass for a correlation. Items as units: steps of one
    // generation are not independent.
    let correlation = |kind: TraceKind| {
        let of = |quantity: TraceQuantity| {
            let mut by_item = BTreeMap::<_, Vec<f64>>::new();
            for row in rows.iter().filter(|row| row.prompt_kind == kind && row.quantity == quantity) {
                by_item.entry((row.pool, row.item)).or_default().extend(row.value);
            }
            by_item.into_iter().filter(|(_, values)| !values.is_empty()).collect::<BTreeMap<_, _>>()
        };
        let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let (causal, norm) = (of(TraceQuantity::ToxicityCausal), of(TraceQuantity::ToxicityNormShare));
        let pairs: Vec<(f64, f64)> =
            causal.iter().filter_map(|(item, values)| Some((mean(values), mean(norm.get(item)?)))).collect();
        format!("{} in {kind} ({} items)", number(pearson(&pairs)), pairs.len())
    };
    report.note(&format!(
        "  correlation of the two toxicities over items: {}, {}",
        correlation(TraceKind::Repetition),
        correlation(TraceKind::Ordinary)
    ));
    report.gap();
}

fn about_conditions(report: &mut Report, conditions: &[ConditionRow], contrasts: &[ContrastRow]) {
    if contrasts.is_empty() {
        return;
    }
    report.line(format_args!(
        "Does turning heads down help? Change beside no intervention, where N copies fit"
    ));
    let of = |condition: &str, quantity: ContrastQuantity| {
        contrasts.iter().find(|row| row.condition == condition && row.quantity == quantity)
    };
    let points = |row: Option<&ContrastRow>| {
        let Some(estimate) = row.and_then(|row| row.estimate) else { return "-".to_owned() };
        let ends = row.and_then(|row| Some((row.ci_low?, row.ci_high?)));
        let ends =
            ends.map_or(String::new(), |(low, high)| format!(" [{:+.0}, {:+.0}]", 100.0 * low, 100.0 * high));
        format!("{:+.0}{ends}", 100.0 * estimate)
    };
    let changed: Vec<&ConditionRow> =
        conditions.iter().filter(|condition| condition.target_set != "none").collect();
    let row = |condition: &&ConditionRow| {
        let id = condition.condition.as_str();
        let cost = of(id, ContrastQuantity::NllNats).and_then(|row| row.estimate);
        vec![
            id.to_owned(),
            points(of(id, ContrastQuantity::ExactShare)),
            points(of(id, ContrastQuantity::CleanStopShare)),
            points(of(id, ContrastQuantity::EndlessShare)),
            cost.map_or("-".into(), |nats| format!("{nats:+.2}")),
        ]
    };
    let columns = [
        ("condition", Align::Left),
        ("exact", Align::Right),
        ("clean stop", Align::Right),
        ("never ends", Align::Right),
        ("nats", Align::Right),
    ];
    report.table(&columns, changed.iter().map(row));
    for condition in changed
        .iter()
        .filter(|condition| condition.control && condition.intervention == changed[0].intervention)
    {
        report.note(&format!("  {}: {}", condition.target_set, condition.components));
    }
    for condition in changed.iter().filter(|condition| !condition.control) {
        for (quantity, name) in [
            (ContrastQuantity::ExactShare, "exact counts"),
            (ContrastQuantity::CleanStopShare, "clean stops"),
            (ContrastQuantity::EndlessShare, "endless runs"),
        ] {
            if let Some(row) = of(&condition.condition, quantity) {
                report.note(&format!("  {}, {name}: {}", condition.condition, row.verdict));
            }
        }
    }
    report.note("  Fewer endless runs are no success by themselves: a run may have broken off. Clean stops say which.");
    report.gap();
}

fn shortened(names: &[String], most: usize) -> String {
    let shown = names[..names.len().min(most)].join(" ");
    if names.len() > most { format!("{shown} and {} more", names.len() - most) } else { shown }
}
