//! Entropy and toxicity over generation steps, each with the share of its items that still generate.

use crate::draw::axis::Axis;
use crate::draw::drawing::Drawing;
use crate::draw::estimate::Estimate;
use crate::draw::page::{Key, Page, WIDTH};
use crate::draw::palette::{BLUE, CONTROL, Colour, DOTTED, GREY, Style, VERMILLION, category};
use crate::draw::panel::{Panel, more_lines};
use crate::entry::Figure;
use crate::error::Error;
use crate::read::about::About;
use crate::read::columns::nothing;
use crate::read::tables::Tables;
use crate::read::traces::{EVERY_STEP, Step, Trace, Traces};

const STEP: &str = "generation step t, as log₂(1 + t)";
/// The threshold of the paper, of causal toxicity.
const GAMMA: f64 = 0.65;

pub(crate) const ENTROPY: Figure = Figure {
    name: "entropy_trace",
    doc: "Entropy of the next token over generation steps: repetition beside ordinary text, without intervention",
    tables: &["trace_summary", "conditions"],
    draw: |tables, about| {
        let traces = Traces::read("entropy_trace", tables)?;
        let lines: Vec<&Trace> = baseline(&traces, |q| q == "entropy_nats");
        if lines.is_empty() {
            let wanted = "quantity = entropy_nats without intervention, and a value";
            return Err(nothing("entropy_trace", "trace_summary", wanted, "run the traces"));
        }
        let panels = vec![Strip { title: String::new(), lines, rule: None, y: NATS.0, most: NATS.1 }];
        let title = "Entropy of the next token while the model generates";
        Ok(vec![page("entropy_trace", title, &panels, kind_style, &kind_legend(&panels), "", about)])
    },
};

pub(crate) const TOXICITY: Figure = Figure {
    name: "toxicity_trace",
    doc: "Toxicity, the share of the output that comes from the induction heads, over generation steps",
    tables: &["trace_summary", "conditions"],
    draw: toxicity,
};

pub(crate) const UNDER_INTERVENTION: Figure = Figure {
    name: "entropy_under_intervention",
    doc: "Entropy of the next token in repetition under each intervention, with control sets in grey",
    tables: &["trace_summary", "conditions"],
    draw: under_intervention,
};

/// A panel with its strip of survivors.
struct Strip<'a> {
    title: String,
    lines: Vec<&'a Trace>,
    rule: Option<f64>,
    y: &'static str,
    /// What the quantity cannot be above; below 0 none of them can be.
    most: f64,
}

const NATS: (&str, f64) = ("entropy (nats)", f64::INFINITY);
const SHARE: (&str, f64) = ("toxicity τ", 1.0);

fn baseline(traces: &Traces, quantity: impl Fn(&str) -> bool) -> Vec<&Trace> {
    traces.all.iter().filter(|t| t.condition.baseline && quantity(&t.quantity)).collect()
}

fn toxicity(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    const NAME: &str = "toxicity_trace";
    let traces = Traces::read(NAME, tables)?;
    let lines = baseline(&traces, |q| q.starts_with("toxicity_"));
    let mut quantities: Vec<&str> = lines.iter().map(|t| t.quantity.as_str()).collect();
    quantities.sort_unstable();
    quantities.dedup();
    let panels: Vec<Strip<'_>> = quantities
        .into_iter()
        .map(|quantity| Strip {
            title: match (traces.measures.label(quantity), quantity) {
                (Some(label), _) => crate::draw::text::capital(label),
                (None, "toxicity_causal") => "Causal: by patching".to_owned(),
                (None, "toxicity_norm_share") => "Norm share of direct logits".to_owned(),
                (None, other) => crate::draw::text::capital(&other.replace('_', " ")),
            },
            lines: lines.iter().filter(|t| t.quantity == quantity).copied().collect(),
            rule: (quantity == "toxicity_causal").then_some(GAMMA),
            y: SHARE.0,
            most: SHARE.1,
        })
        .collect();
    if panels.is_empty() {
        let wanted = "a quantity toxicity_* without intervention, and a value";
        return Err(nothing(NAME, "trace_summary", wanted, "trace the toxicity too"));
    }
    let mut legend = kind_legend(&panels);
    if panels.iter().any(|p| p.rule.is_some()) {
        legend.push((Key::Rule, format!("γ = {GAMMA}, the published threshold")));
    }
    let title = "Toxicity: the induction heads' share of what all heads do";
    let predicted = if lines.iter().any(|t| t.quantity == "toxicity_predicted") {
        "Toxicity predicted: what log descaling should make of the causal toxicity τ at step t, τ / ((1 − τ) \
         max(1, ln(t + c)) + τ); no head was descaled here."
    } else {
        ""
    };
    Ok(vec![page(NAME, title, &panels, kind_style, &legend, predicted, about)])
}

fn under_intervention(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    const NAME: &str = "entropy_under_intervention";
    let traces = Traces::read(NAME, tables)?;
    let lines: Vec<&Trace> =
        traces.all.iter().filter(|t| t.prompt_kind == "repetition" && t.quantity == "entropy_nats").collect();
    let mut panels: Vec<Strip<'_>> = Vec::new();
    for kind in &traces.conditions.kinds {
        let mut own: Vec<&Trace> =
            lines.iter().filter(|t| t.condition.baseline || t.condition.kind == *kind).copied().collect();
        // Controls first, under the others.
        own.sort_by_key(|t| (!t.condition.control, !t.condition.baseline));
        if own.iter().any(|t| !t.condition.baseline) {
            let title = crate::draw::text::capital(kind);
            panels.push(Strip { title, lines: own, rule: None, y: NATS.0, most: NATS.1 });
        }
    }
    if panels.is_empty() {
        let wanted = "prompt_kind = repetition, quantity = entropy_nats and a condition with an intervention";
        return Err(nothing(NAME, "trace_summary", wanted, "trace the interventions too"));
    }
    let mut legend = Vec::new();
    let mut controls = 0;
    let mut seen = Vec::new();
    for trace in panels.iter().flat_map(|p| &p.lines) {
        let condition = &trace.condition;
        if seen.contains(&condition.order) {
            continue;
        }
        seen.push(condition.order);
        if condition.control {
            controls += 1;
        } else {
            legend
                .push((condition.order, (Key::Line(condition.style, false), named(condition.name(), trace))));
        }
    }
    legend.sort_by_key(|(order, _)| *order);
    let mut legend: Vec<(Key, String)> = legend.into_iter().map(|(_, entry)| entry).collect();
    if controls > 0 {
        legend.push((Key::Line(CONTROL, false), format!("the same on control sets ({controls})")));
    }
    let title = "Entropy of the next token in repetition, under intervention";
    let own_text = "Each line is on the text that the model generated under that condition: differences mix the \
        intervention's effect with that of the different text.";
    Ok(vec![page(NAME, title, &panels, |t| t.condition.style, &legend, own_text, about)])
}

/// Repetition is the warm colour in every trace, ordinary text the cool one.
fn kind_style(trace: &Trace) -> Style {
    let colour = |colour: Colour, dash| Style { colour, dash, ..category(0) };
    match trace.prompt_kind.as_str() {
        "repetition" => colour(VERMILLION, &[]),
        "ordinary" => colour(BLUE, category(1).dash),
        _ => category(2),
    }
}

fn kind_legend(panels: &[Strip<'_>]) -> Vec<(Key, String)> {
    let mut legend: Vec<(Key, String)> = Vec::new();
    for trace in panels.iter().flat_map(|p| &p.lines) {
        let kind = if trace.prompt_kind == "ordinary" { "ordinary text" } else { &trace.prompt_kind };
        let name = named(kind.to_owned(), trace);
        if !legend.iter().any(|(_, known)| *known == name) {
            legend.push((Key::Line(kind_style(trace), false), name));
        }
    }
    legend
}

fn named(name: String, trace: &Trace) -> String {
    format!("{name} ({} items)", trace.begun())
}

fn page(
    name: &str,
    title: &str,
    panels: &[Strip<'_>],
    style: impl Fn(&Trace) -> Style,
    legend: &[(Key, String)],
    meaning: &str,
    about: &About,
) -> Drawing {
    let mut page = Page::new(WIDTH, title, &about.line(&[]));
    page.legend(legend);
    let lines = || panels.iter().flat_map(|p| p.lines.iter().copied());
    let estimates = || lines().flat_map(|t| &t.steps).filter_map(|s| s.estimate);
    let last = lines().filter_map(|t| t.steps.last()).map(|s| s.step).fold(1.0, f64::max);
    let high = estimates().map(|e| e.high()).fold(0.1f64, f64::max);
    let per_row = if panels.len() == 1 { 1 } else { 2 };
    let (left, gap) = (64.0, 24.0);
    let width = (WIDTH - 22.0 - left - gap * (per_row as f64 - 1.0)) / per_row as f64;
    let (height, strip) = (if per_row == 1 { 240.0 } else { 170.0 }, 38.0);
    let more = more_lines(panels.iter().map(|p| p.title.as_str()), width);
    let mut bottom = page.top;
    for (i, of) in panels.iter().enumerate() {
        let (row, column) = (i / per_row, i % per_row);
        let left = left + column as f64 * (width + gap);
        let top = page.top + 26.0 + more + row as f64 * (height + strip + 84.0 + more);
        let x = Axis::steps(last, STEP);
        // From 0: how near a line comes to it is the point, and below it nothing can be.
        let y = if of.most == 1.0 { Axis::unit(of.y) } else { Axis::linear(0.0, high * 1.02, of.y) };
        let panel = Panel { left, right: left + width, top, bottom: top + height, x: x.clone(), y };
        panel.frame(&mut page.canvas, &of.title, false, column == 0);
        if let Some(rule) = of.rule {
            panel.rule(&mut page.canvas, rule);
        }
        let mut y = Axis::share("left");
        y.ticks.retain(|(v, _)| [0.0, 1.0].contains(v));
        let top = panel.bottom + 14.0;
        let below = Panel { left, right: left + width, top, bottom: top + strip, x, y };
        below.frame(&mut page.canvas, "", true, column == 0);
        for trace in &of.lines {
            draw_trace(&mut page, &panel, &below, trace, (style(trace), of.most));
        }
        bottom = f64::max(bottom, below.bottom + 38.0);
    }
    let thinned = lines().any(|t| t.steps.iter().any(|s| s.step > EVERY_STEP));
    let thinned = if thinned {
        format!(" Beyond step {EVERY_STEP}, eight steps an octave are drawn.")
    } else {
        String::new()
    };
    let band =
        if estimates().any(|e| e.interval.is_some()) { " Band: 95 % interval of the table." } else { "" };
    let in_part = if lines().any(Trace::is_measured_in_part) {
        " Dotted there: the share that has a value, where that is smaller."
    } else {
        ""
    };
    let note = format!(
        "Line: mean over the items that have a value; below, the share of items that still \
         generate.{in_part}{band} Thin and pale where fewer than a quarter, or fewer than three, have a value: \
         there a change may only mean that others have stopped.{thinned}"
    );
    page.finish(&[name], bottom, &[meaning.to_owned(), note])
}

fn draw_trace(page: &mut Page, panel: &Panel, below: &Panel, trace: &Trace, (style, most): (Style, f64)) {
    // An interval may reach where no value can be.
    let within = |e: Estimate| {
        let interval = e.interval.map(|(low, high)| (low.clamp(0.0, most), high.clamp(0.0, most)));
        Estimate { interval, ..e }
    };
    let enough = |s: &Step| s.items >= (s.begun / 4.0).max(3.0).min(s.begun);
    let steps: Vec<(f64, Estimate, bool)> =
        trace.steps.iter().filter_map(|s| Some((s.step, within(s.estimate?), enough(s)))).collect();
    if !trace.condition.control {
        let band: Vec<(f64, Estimate)> = steps.iter().filter(|s| s.2).map(|s| (s.0, s.1)).collect();
        panel.band(&mut page.canvas, &band, style.colour);
    }
    // Where the mean is over enough items and where not, in turn; runs share the point between them.
    for pair in steps.chunk_by(|a, b| a.2 == b.2) {
        let enough = pair[0].2;
        let mut points: Vec<(f64, f64)> = pair.iter().map(|s| (s.0, s.1.at)).collect();
        let before = steps.iter().rev().find(|s| s.0 < pair[0].0);
        if let Some(before) = before {
            points.insert(0, (before.0, before.1.at));
        }
        let pale = Style { colour: style.colour.alpha(0.45), width: 0.9, ..style };
        panel.line(&mut page.canvas, &points, if enough { style } else { pale });
        if steps.len() <= 16 {
            for at in pair.iter().filter(|s| s.2).map(|s| (s.0, s.1.at)) {
                let radius = if trace.condition.control { 1.8 } else { 3.0 };
                panel.marker(&mut page.canvas, at, style.marker, radius, style.colour);
            }
        }
    }
    let share = |of: fn(&Step) -> f64| -> Vec<(f64, f64)> {
        trace.steps.iter().filter(|s| s.begun > 0.0).map(|s| (s.step, of(s) / s.begun)).collect()
    };
    let colour = if trace.condition.control { GREY.alpha(0.5) } else { style.colour };
    let left = Style { colour, width: style.width.min(1.3), ..style };
    below.line(&mut page.canvas, &share(|s| s.alive), left);
    if trace.is_measured_in_part() {
        below.line(&mut page.canvas, &share(|s| s.items), Style { dash: DOTTED, width: 1.0, ..left });
    }
}
