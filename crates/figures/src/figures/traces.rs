//! Entropy of the next-token distribution over generation steps, and under intervention.

use arrow::array::RecordBatch;
use std::collections::BTreeMap;

use crate::read::about::About;
use crate::draw::axis::Axis;
use crate::draw::drawing::Drawing;
use crate::error::Error;
use crate::draw::page::{Key, Page};
use crate::draw::palette::{Colour, Style, category, intervention as intervention_style};
use crate::draw::panel::Panel;
use crate::read::columns::{Table, label};
use crate::trace_table::Rows;
use crate::traces::{BAND, Trace, footnote};

const STEP: &str = "generation step t (on a scale of log₂(1 + t))";
const NATS: &str = "entropy (nats)";
const HINT: &str = "run the trace experiment, which writes every quantity of docs/tables.md";
/// Order in which interventions are listed.
pub(crate) const INTERVENTIONS: [(&str, &str); 4] = [
    ("none", "no intervention"),
    ("log", "log: 1/ln(t + c)"),
    ("linear", "linear: 1/t"),
    ("constant", "constant: 0.5"),
];

const CONDITIONS: [(&str, &str); 2] = [("repetition", "repetition"), ("ordinary", "ordinary text")];

fn condition_of(rows: &Rows, row: usize) -> Option<usize> {
    if label(&rows.intervention, row) != "none" {
        return None;
    }
    CONDITIONS.iter().position(|(name, _)| *name == label(&rows.condition, row))
}

/// Repetition is the warm colour in every trace, ordinary text the cool one.
fn condition_style(condition: usize) -> Style {
    match condition {
        0 => Style { dash: &[], ..category(1) },
        _ => Style { dash: category(1).dash, ..category(0) },
    }
}

/// Entropy of the next token over generation steps, repetition against ordinary text, without intervention; below it,
/// the share of prompts that still generate. Reads `entropy_trace`.
///
/// # Errors
/// When a column is missing or of another type, or nothing was measured without intervention.
pub fn entropy_trace(entropy_trace: &RecordBatch, about: &About) -> Result<Drawing, Error> {
    let table = Table::new("entropy_trace", "entropy_trace", entropy_trace)?;
    let rows = Rows::read(&table)?;
    let series = rows.series(table.rows(), "entropy_nats", condition_of);
    if series.is_empty() {
        return Err(table.nothing("quantity = entropy_nats with intervention = none and a value", HINT));
    }
    let traces: Vec<(usize, Trace)> = series.iter().map(|(c, s)| (*c, s.trace())).collect();
    let title = "Entropy of the next token while the model generates";
    let mut page = Page::new(720.0, title, &about.line(&rows.asked()));
    let named: Vec<_> = traces.iter().map(|(c, t)| (condition_style(*c), CONDITIONS[*c].1, t)).collect();
    let marked = marked(traces.iter().map(|t| &t.1));
    page.legend(&legend(&named, marked));
    let top = page.top + 14.0;
    let x = Axis::steps(last_step(traces.iter().map(|t| &t.1)), STEP);
    let y = entropy_axis(traces.iter().map(|t| &t.1));
    let (left, right) = (76.0, page.width - 24.0);
    let panel = Panel { left, right, top, bottom: top + 280.0, x: x.clone(), y };
    panel.frame(&mut page.canvas, "", false, true);
    for (condition, trace) in &traces {
        draw(&mut page, &panel, trace, condition_style(*condition), marked);
    }
    let top = panel.bottom + 18.0;
    let mut y = Axis::share("prompts left");
    y.ticks.retain(|(v, _)| [0.0, 0.5, 1.0].contains(v));
    let below = Panel { left, right, top, bottom: top + 62.0, x, y };
    below.frame(&mut page.canvas, "", true, true);
    for (condition, trace) in &traces {
        let left: Vec<(f64, f64)> = trace.places.iter().map(|p| (p.step, p.alive)).collect();
        below.line(&mut page.canvas, &left, condition_style(*condition));
    }
    Ok(page.finish(below.bottom + 38.0, &[footnote(BAND)]))
}

/// Toxicity, the share of what the model says that its induction heads say, over generation steps: measured by
/// patching (left) and by the norm of direct logits (right), against the threshold of 0.65. Reads `entropy_trace`.
///
/// # Errors
/// When a column is missing or of another type, or toxicity was not measured.
pub fn toxicity_trace(entropy_trace: &RecordBatch, about: &About) -> Result<Drawing, Error> {
    const GAMMA: f64 = 0.65;
    let table = Table::new("toxicity_trace", "entropy_trace", entropy_trace)?;
    let rows = Rows::read(&table)?;
    let panels: Vec<(&str, Vec<(usize, Trace)>)> = [
        ("toxicity_causal", "Causal: share of the patching effects"),
        ("toxicity_norm_share", "Norm share: of the direct logits"),
    ]
    .into_iter()
    .map(|(quantity, title)| {
        let series = rows.series(table.rows(), quantity, condition_of);
        (title, series.iter().map(|(c, s)| (*c, s.trace())).collect::<Vec<_>>())
    })
    .filter(|(_, traces)| !traces.is_empty())
    .collect();
    if panels.is_empty() {
        return Err(table.nothing(
            "quantity = toxicity_causal or toxicity_norm_share with intervention = none and a value",
            HINT,
        ));
    }
    let title = "Toxicity: how much of the output comes from the induction heads";
    let mut page = Page::new(if panels.len() > 1 { 900.0 } else { 560.0 }, title, &about.line(&rows.asked()));
    let first = |c: usize| panels.iter().flat_map(|p| &p.1).find(move |(condition, _)| *condition == c);
    let named: Vec<_> = (0..CONDITIONS.len())
        .filter_map(first)
        .map(|(c, t)| (condition_style(*c), CONDITIONS[*c].1, t))
        .collect();
    let marked = marked(panels.iter().flat_map(|p| p.1.iter().map(|t| &t.1)));
    let mut entries = legend(&named, marked);
    entries.push((Key::Rule, "γ = 0.65: toxic from here on".to_owned()));
    page.legend(&entries);
    let top = page.top + 30.0;
    let x = Axis::steps(last_step(panels.iter().flat_map(|p| p.1.iter().map(|t| &t.1))), STEP);
    let (left, gap) = (66.0, 30.0);
    let count = panels.len() as f64;
    let width = (page.width - 24.0 - left - gap * (count - 1.0)) / count;
    for (column, (title, traces)) in panels.iter().enumerate() {
        let left = left + column as f64 * (width + gap);
        let y = Axis::unit("toxicity τ (0 to 1)");
        let panel = Panel { left, right: left + width, top, bottom: top + 290.0, x: x.clone(), y };
        panel.frame(&mut page.canvas, title, true, column == 0);
        panel.rule(&mut page.canvas, GAMMA);
        for (condition, trace) in traces {
            draw(&mut page, &panel, trace, condition_style(*condition), marked);
        }
    }
    Ok(page.finish(top + 290.0 + 38.0, &[footnote(BAND)]))
}

/// Entropy of the next token in repetition under each intervention: on the induction heads, and on as many random
/// heads, with the same undescaled line in both panels. Reads `entropy_trace`.
///
/// # Errors
/// When a column is missing or of another type, or no intervention was measured.
pub fn entropy_under_intervention(entropy_trace: &RecordBatch, about: &About) -> Result<Drawing, Error> {
    let table = Table::new("entropy_under_intervention", "entropy_trace", entropy_trace)?;
    let rows = Rows::read(&table)?;
    // Panel 0 is both panels' reference.
    let series = rows.series(table.rows(), "entropy_nats", |rows, row| {
        if label(&rows.condition, row) != "repetition" {
            return None;
        }
        let what = INTERVENTIONS.iter().position(|(name, _)| *name == label(&rows.intervention, row))?;
        head_set(label(&rows.head_set, row)).filter(|set| (*set == 0) == (what == 0)).map(|set| (set, what))
    });
    let traces: BTreeMap<(usize, usize), Trace> = series.iter().map(|(k, s)| (*k, s.trace())).collect();
    let sets: Vec<usize> = [1, 2].into_iter().filter(|set| traces.keys().any(|k| k.0 == *set)).collect();
    if sets.is_empty() {
        return Err(table.nothing(
            "condition = repetition, quantity = entropy_nats and an intervention on induction or random heads",
            "trace the interventions too",
        ));
    }
    let title = "Entropy of the next token in repetition, with heads scaled down";
    let mut page = Page::new(if sets.len() > 1 { 900.0 } else { 560.0 }, title, &about.line(&rows.asked()));
    let whats: Vec<usize> = (0..4).filter(|what| traces.keys().any(|k| k.1 == *what)).collect();
    let named: Vec<_> = whats
        .iter()
        .filter_map(|what| {
            let (_, trace) = traces.iter().find(|(k, _)| k.1 == *what)?;
            Some((intervention_style(INTERVENTIONS[*what].0), INTERVENTIONS[*what].1, trace))
        })
        .collect();
    let marked = marked(traces.values());
    page.legend(&legend(&named, marked));
    let top = page.top + 30.0;
    let (x, y) = (Axis::steps(last_step(traces.values()), STEP), entropy_axis(traces.values()));
    let (left, gap) = (66.0, 30.0);
    let count = sets.len() as f64;
    let width = (page.width - 24.0 - left - gap * (count - 1.0)) / count;
    for (column, &set) in sets.iter().enumerate() {
        let left = left + column as f64 * (width + gap);
        let panel = Panel { left, right: left + width, top, bottom: top + 290.0, x: x.clone(), y: y.clone() };
        panel.frame(&mut page.canvas, SETS[set], true, column == 0);
        for ((of, what), trace) in &traces {
            if *of == 0 || *of == set {
                draw(&mut page, &panel, trace, intervention_style(INTERVENTIONS[*what].0), marked);
            }
        }
    }
    let pooled =
        if sets.contains(&2) { " Random heads: each prompt's mean over the random sets." } else { "" };
    Ok(page.finish(top + 290.0 + 38.0, &[footnote(BAND) + pooled]))
}

/// Titles of the panels by head set; see [`head_set`].
pub(crate) const SETS: [&str; 3] = ["", "Induction heads scaled down", "As many random heads scaled down"];

/// 0 no heads, 1 the induction heads, 2 any of the random sets, none for another set.
pub(crate) fn head_set(name: &str) -> Option<usize> {
    match name {
        "none" | "" => Some(0),
        "induction" => Some(1),
        _ if name.starts_with("random") => Some(2),
        _ => None,
    }
}

/// An entry each, with its number of prompts where these differ; the sign of the band, where there is one, says it
/// where they do not.
fn legend(traces: &[(Style, &str, &Trace)], marked: bool) -> Vec<(Key, String)> {
    let banded = traces.iter().any(|t| t.2.prompts >= BAND_NEEDS);
    let own = !banded || traces.iter().any(|t| t.2.prompts != traces[0].2.prompts);
    let mut entries: Vec<(Key, String)> = traces
        .iter()
        .map(|(style, name, trace)| {
            let prompts = if trace.prompts == 1 { "prompt" } else { "prompts" };
            let of = if own { format!(" ({} {prompts})", trace.prompts) } else { String::new() };
            (Key::Line(*style, marked), format!("{name}{of}"))
        })
        .collect();
    if banded {
        let over = if own { "prompts".to_owned() } else { format!("{} prompts each", traces[0].2.prompts) };
        entries.push((Key::Band(Colour::hex(0x808080)), format!("95 % band over {over}")));
    }
    entries
}

/// Fewer prompts get no band: their bootstrap only repeats them.
const BAND_NEEDS: usize = 3;

/// Whether places get markers: in all traces of a figure or in none.
fn marked<'a>(mut traces: impl Iterator<Item = &'a Trace>) -> bool {
    traces.all(Trace::sparse)
}

fn draw(page: &mut Page, panel: &Panel, trace: &Trace, style: Style, marked: bool) {
    if trace.prompts >= BAND_NEEDS {
        panel.band(&mut page.canvas, &trace.band(), style.colour);
    }
    let line = trace.line();
    panel.line(&mut page.canvas, &line, style);
    if marked {
        for at in line {
            panel.marker(&mut page.canvas, at, style.marker, 3.2, style.colour);
        }
    }
}

fn last_step<'a>(traces: impl Iterator<Item = &'a Trace>) -> f64 {
    traces.filter_map(|t| t.places.last()).map(|p| p.step).fold(1.0, f64::max)
}

/// From 0: entropy has a true zero, and how near a line comes to it is the point.
fn entropy_axis<'a>(traces: impl Iterator<Item = &'a Trace>) -> Axis {
    let high = traces.flat_map(|t| &t.places).map(|p| p.estimate.high).fold(0.1, f64::max);
    Axis::linear(0.0, high * 1.02, NATS)
}
