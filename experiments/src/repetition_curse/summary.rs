//! What a run found, as found.

use std::collections::BTreeSet;

use anyhow::Result;
use refrain_entropy::table::{
    ConditionRow, Conditions, ContrastQuantity, ContrastRow, Contrasts, CountQuantity, CountSummary,
    CountSummaryRow, GateRow, Gates, TraceKind, TraceQuantity, TraceWindowRow, TraceWindows,
};
use refrain_entropy::toxicity::GAMMA;
use refrain_patching::detect::Detector;
use refrain_patching::table::{HeadScoreRow, HeadScores};
use refrain_runner::Head;

use crate::lab::report::{Align, interval, number, percent};
use crate::lab::{Finished, Report};
use crate::measure::gates::{COUNTING, gate_notes};
use crate::measure::induction::{effect_on, head_of, selected};

/// Writes the summary.
///
/// # Errors
/// If a table does not have the columns that it should.
pub fn summary(run: &Finished, report: &mut Report) -> Result<()> {
    let facts = &run.manifest.facts;
    let fact = |name: &str| facts.get(name);
    let task = fact("selected_on").and_then(toml::Value::as_str).unwrap_or("copy");
    let scores = run.rows_if_any::<HeadScores>()?;
    let gates = run.rows::<Gates>()?;
    let (followed, gates): (Vec<GateRow>, Vec<GateRow>) =
        gates.into_iter().partition(|gate| gate.subject == COUNTING);
    if !scores.is_empty() {
        about_heads(report, &scores, &gates, task);
    }
    about_asking(report, facts);
    let prefill = fact("prefill").and_then(toml::Value::as_integer).unwrap_or(0);
    about_counts(report, &run.rows::<CountSummary>()?, prefill, &followed);
    let windows = run.rows_if_any::<TraceWindows>()?;
    if !windows.is_empty() {
        about_entropy(report, &windows);
    }
    let conditions = run.rows::<Conditions>()?;
    about_conditions(report, &conditions, &run.rows_if_any::<Contrasts>()?, prefill);
    let neighbours = fact("controls_from_neighbours_of").and_then(toml::Value::as_array);
    about_controls(report, &conditions, neighbours.map_or(&[], Vec::as_slice));
    Ok(())
}

/// How the model is asked, and what ends its answers.
fn about_asking(report: &mut Report, facts: &toml::Table) {
    let text = |name: &str| facts.get(name).and_then(toml::Value::as_str);
    if let Some(template) = text("template") {
        let chat = text("chat_template").is_some_and(|chat| chat != "none");
        let how = if chat { ", in the model's chat template" } else { "" };
        report.line(format_args!("Asked: {template:?}{how}"));
    }
    if let Some(ends) = facts.get("end_tokens").and_then(toml::Value::as_array) {
        let ends: Vec<&str> = ends.iter().filter_map(toml::Value::as_str).collect();
        match ends.is_empty() {
            false => report.line(format_args!("Answers end at {}", ends.join(" or "))),
            true => report.note("NO END TOKEN is named by the model's files: no answer can end by itself"),
        }
    }
    report.gap();
}

fn about_heads(report: &mut Report, rows: &[HeadScoreRow], gates: &[GateRow], task: &str) {
    let induction = selected(rows);
    let means: Vec<&HeadScoreRow> = rows.iter().filter(|row| row.prompt.is_none()).collect();
    let matching = |head: Option<Head>| {
        means
            .iter()
            .find(|row| row.metric == Detector::PrefixMatching.into() && head_of(row) == head)
            .and_then(|row| row.value)
    };
    let heads: BTreeSet<Head> = means.iter().filter_map(|row| head_of(row)).collect();
    report.line(format_args!(
        "Induction heads (H_ind): {} of {}, by activation patching on the task {task}",
        induction.len(),
        heads.len()
    ));
    // The published task is the first; where it is not solved, the heads are selected on another, and both are shown.
    let mut tasks: Vec<&str> = gates.iter().map(|gate| gate.subject.as_str()).collect();
    tasks.dedup();
    let first = tasks.first().copied().filter(|first| *first != task);
    let row = |head: &Head| {
        let effect = effect_on(rows, task, *head);
        let mut cells = vec![
            head.to_string(),
            number(effect.and_then(|row| row.effect)),
            interval(effect.and_then(|row| row.ci_low), effect.and_then(|row| row.ci_high)),
        ];
        cells.extend(first.map(|first| number(effect_on(rows, first, *head).and_then(|row| row.effect))));
        cells.push(number(matching(Some(*head))));
        cells
    };
    let other = first.map(|first| format!("on {first}"));
    let mut columns = vec![("head", Align::Left), ("effect", Align::Right), ("95 % interval", Align::Left)];
    columns.extend(other.as_deref().map(|name| (name, Align::Right)));
    columns.push(("prefix matching", Align::Right));
    report.table(&columns, induction.iter().map(row));
    gate_notes(report, gates);
    if gates.iter().any(|gate| gate.subject == task && !gate.passed) {
        report.note(
            "  The model solves none of these tasks: H_ind may be wrong, and every verdict on it is \
            undecided.",
        );
    } else if let Some(first) = first {
        report.note(&format!(
            "  The model does not solve {first}: H_ind is selected on {task}, which it solves."
        ));
    }
    report.note("  Intervals are over the trials; where a task's effects are skewed, they are too narrow.");
    let others: Vec<String> =
        heads.iter().filter(|head| matching(Some(**head)) > Some(0.6)).map(ToString::to_string).collect();
    let named = if others.is_empty() { "none".to_owned() } else { shortened(&others, 6) };
    report.note(&format!("  heads with prefix matching above 0.6: {named}"));
    report.gap();
}

fn about_counts(report: &mut Report, rows: &[CountSummaryRow], prefill: i64, gates: &[GateRow]) {
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
            {
                let exact = of(*n, CountQuantity::ExactShare);
                let feasible = exact.map_or(0, |row| row.n_runs);
                format!("{} ({feasible})", percent(exact.and_then(|row| row.value)))
            },
            share(*n, CountQuantity::CleanStopShare),
            share(*n, CountQuantity::BrokeOffStoppedShare),
            share(*n, CountQuantity::BrokeOffEndlessShare),
            share(*n, CountQuantity::PhraseLoopShare),
            share(*n, CountQuantity::NoAttemptShare),
            format!("{bound}{}", number(median.and_then(|row| row.value))),
        ]
    };
    let columns =
        ["N", "runs", "exact (of)", "clean stop", "broke, stop", "broke, on", "loop", "none", "median/N"];
    report.table(&columns.map(|name| (name, Align::Right)), counts.iter().map(row));
    report.note("  exact: over the runs where N copies fit, of so many. clean stop: only copies, then the end. broke: \
        something else after copies; stop: ended, on: did not end. loop: copies to the window or the limit. none: \
        fewer than two copies generated.");
    if prefill > 0 {
        report.note(&format!(
            "  Where N > {prefill}, the prompt already holds {prefill} copies. They count towards N, \
            but not as an attempt."
        ));
    }
    gate_notes(report, gates);
    if gates.iter().any(|gate| gate.value.is_some() && !gate.passed) {
        report.note(
            "  The model hardly follows this wording: no verdict on how it counts. Read the table `responses`, and try \
            another --template.",
        );
    }
    report.gap();
}

fn about_entropy(report: &mut Report, rows: &[TraceWindowRow]) {
    let of = |kind: TraceKind, quantity: TraceQuantity, first: u32, last: Option<u32>| {
        rows.iter().find(|row| {
            row.condition == "none"
                && (row.prompt_kind, row.quantity) == (kind, quantity)
                && (row.first_step, row.last_step) == (first, last)
        })
    };
    report.line(format_args!(
        "Next-token entropy and toxicity, mean over items (how many; toxic from {GAMMA})"
    ));
    let cell = |row: Option<&TraceWindowRow>| {
        let value = row.and_then(|row| Some(format!("{:.2} ({})", row.value?, row.n_items)));
        value.unwrap_or_else(|| "-".to_owned())
    };
    let row = |(label, quantity): &(&str, TraceQuantity)| {
        vec![
            (*label).to_owned(),
            cell(of(TraceKind::Ordinary, *quantity, 0, Some(32))),
            cell(of(TraceKind::Repetition, *quantity, 0, Some(32))),
            cell(of(TraceKind::Repetition, *quantity, 64, Some(512))),
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
    let correlation = |kind: TraceKind| {
        let row = of(kind, TraceQuantity::ToxicityCorrelation, 0, None);
        let value = row
            .filter(|row| row.ci_low.is_some())
            .map(|row| format!("{} {}", number(row.value), interval(row.ci_low, row.ci_high)));
        let n = row.map_or(0, |row| row.n_items);
        format!("{kind} {} ({n} items)", value.unwrap_or_else(|| "not given".to_owned()))
    };
    report.note(&format!(
        "  correlation of the two toxicities over items: {}, {}",
        correlation(TraceKind::Repetition),
        correlation(TraceKind::Ordinary)
    ));
    report.gap();
}

fn about_conditions(
    report: &mut Report,
    conditions: &[ConditionRow],
    contrasts: &[ContrastRow],
    prefill: i64,
) {
    if contrasts.is_empty() {
        return;
    }
    report.line(format_args!("Does scaling heads down help? Change from no intervention, N > {prefill}"));
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
        ("endless", Align::Right),
        ("nats", Align::Right),
    ];
    report.table(&columns, changed.iter().map(row));
    let phrases = contrasts.iter().find(|row| row.quantity == ContrastQuantity::ExactShare);
    let texts = contrasts.iter().find(|row| row.quantity == ContrastQuantity::NllNats);
    report.note(&format!(
        "  exact, clean stop, endless: percentage points, over {} phrases, in runs where N copies fit. nats: loss per \
            token of ordinary text, over {} texts. Brackets: 95 % intervals over items; no correction for the number \
            of tests.",
        phrases.map_or(0, |row| row.n_items),
        texts.map_or(0, |row| row.n_items)
    ));
    for condition in changed.iter().filter(|condition| !condition.control) {
        for (quantity, name) in [
            (ContrastQuantity::ExactShare, "exact counts"),
            (ContrastQuantity::CleanStopShare, "clean stops"),
            (ContrastQuantity::EndlessShare, "endless runs"),
            (ContrastQuantity::NllNats, "loss"),
        ] {
            if let Some(row) = of(&condition.condition, quantity) {
                report.note(&format!("  {}, {name}: {}", condition.condition, row.verdict));
            }
        }
    }
    report.note("  Fewer endless runs are no success by themselves: a run may have broken off. Clean stops say which.");
    report.gap();
}

/// The random sets, and where they are from.
fn about_controls(report: &mut Report, conditions: &[ConditionRow], neighbours: &[toml::Value]) {
    let mut sets: Vec<(&str, &str)> = conditions
        .iter()
        .filter(|condition| condition.control)
        .map(|condition| (condition.target_set.as_str(), condition.components.as_str()))
        .collect();
    sets.sort_unstable();
    sets.dedup();
    if sets.is_empty() {
        return;
    }
    report.line(format_args!("Control sets: random other heads, as many in each layer as H_ind has"));
    for (set, heads) in sets {
        report.note(&format!("  {set}: {heads}"));
    }
    if !neighbours.is_empty() {
        let layers: Vec<&str> = neighbours.iter().filter_map(toml::Value::as_str).collect();
        report.note(&format!(
            "  {} has too few other heads, so heads of the nearest layers stand in: what the sets do differently may \
                be due to the layer and not to induction.",
            layers.join(", ")
        ));
    }
    report.gap();
}

fn shortened(names: &[String], most: usize) -> String {
    let shown = names[..names.len().min(most)].join(" ");
    if names.len() > most { format!("{shown} and {} more", names.len() - most) } else { shown }
}
