//! What an intervention costs on ordinary text.

use arrow::array::RecordBatch;
use std::collections::BTreeMap;

use crate::read::about::About;
use crate::draw::axis::Axis;
use crate::draw::canvas::{Anchor, Canvas, Text};
use crate::draw::drawing::Drawing;
use crate::entropy::{INTERVENTIONS, head_set};
use crate::error::Error;
use crate::draw::page::{Key, Page};
use crate::draw::palette::{GREY, GRID, INK, Marker, REFERENCE, RULE, Style, intervention as intervention_style};
use crate::draw::panel::{LABEL, TICK};
use crate::stats::{Estimate, bootstrap};
use crate::read::columns::{Table, index, label, value};
use crate::draw::text::number;

/// What the table says of one intervention on one head set.
#[derive(Default)]
struct Condition {
    pooled: Option<Estimate>,
    /// By text: tokens and mean negative log-likelihood.
    texts: BTreeMap<u64, (f64, f64)>,
}

/// A row of the figure.
struct Line {
    name: String,
    style: Style,
    induction: bool,
    perplexity: Estimate,
    /// Change against no intervention in per cent, paired by text.
    change: Option<Estimate>,
}

const ROW: f64 = 19.0;

/// Perplexity on held-out text under each intervention and head set, with no intervention as the reference line; to
/// the right the change in per cent, paired by text, where the table has the texts. Reads `perplexity`.
///
/// # Errors
/// When a column is missing or of another type, or no row pools the texts (`text` null).
pub fn perplexity(perplexity: &RecordBatch, about: &About) -> Result<Drawing, Error> {
    let table = Table::new("perplexity", "perplexity", perplexity)?;
    let (intervention, heads) = (table.text("intervention")?, table.text("head_set")?);
    let (text, tokens, nll) = (table.number("text")?, table.number("tokens")?, table.number("nll_nats")?);
    let (score, low, high) = (table.number("perplexity")?, table.number("ci_low")?, table.number("ci_high")?);

    let mut conditions: BTreeMap<(usize, usize, String), Condition> = BTreeMap::new();
    for row in 0..table.rows() {
        let what = INTERVENTIONS.iter().position(|(name, _)| *name == label(&intervention, row));
        let (Some(what), Some(set)) = (what, head_set(label(&heads, row))) else { continue };
        let entry = conditions.entry((what, set, label(&heads, row).to_owned())).or_default();
        match index(&text, row) {
            Some(text) => {
                if let (Some(tokens), Some(nll)) = (value(&tokens, row), value(&nll, row)) {
                    entry.texts.insert(text, (tokens, nll));
                }
            }
            None => {
                entry.pooled = value(&score, row).map(|at| Estimate {
                    at,
                    low: value(&low, row).unwrap_or(at),
                    high: value(&high, row).unwrap_or(at),
                });
            }
        }
    }
    let reference = conditions.iter().find(|(k, _)| k.0 == 0).map(|(_, c)| c);
    let lines: Vec<Line> = conditions
        .iter()
        .filter_map(|((what, set, heads), condition)| {
            let (name, _) = INTERVENTIONS[*what];
            let set = match set {
                0 => "no intervention".to_owned(),
                1 => format!("{name}, induction heads"),
                _ => format!("{name}, {}", heads.replacen('_', " heads ", 1)),
            };
            Some(Line {
                name: set,
                style: intervention_style(name),
                induction: heads == "induction" || *what == 0,
                perplexity: condition.pooled?,
                change: reference.filter(|_| *what != 0).and_then(|none| change(none, condition)),
            })
        })
        .collect();
    if lines.is_empty() {
        return Err(table.nothing(
            "text null (the pool over texts), a known intervention and head set, and a perplexity",
            "write the pooled row of each intervention as well",
        ));
    }
    Ok(draw(
        &lines,
        reference.and_then(|c| c.pooled),
        conditions.values().map(|c| c.texts.len()).max(),
        about,
    ))
}

/// Perplexity of `condition` over that of `none` on the texts that both have, in per cent of change, with the interval
/// from drawing texts: texts differ far more from each other than an intervention changes any one of them.
fn change(none: &Condition, condition: &Condition) -> Option<Estimate> {
    let pairs: Vec<(f64, f64)> = condition
        .texts
        .iter()
        .filter_map(|(text, (tokens, nll))| none.texts.get(text).map(|(_, base)| (*tokens, nll - base)))
        .collect();
    (pairs.len() > 1).then(|| {
        bootstrap(pairs.len(), |drawn| {
            let (tokens, sum) = drawn.iter().fold((0.0, 0.0), |(t, s), &i| {
                let (tokens, difference) = pairs[i];
                (t + tokens, s + tokens * difference)
            });
            ((sum / tokens).exp() - 1.0) * 100.0
        })
    })
}

fn draw(lines: &[Line], reference: Option<Estimate>, texts: Option<usize>, about: &About) -> Drawing {
    let counted: Vec<String> = texts.filter(|t| *t > 0).map(|t| format!("{t} texts")).into_iter().collect();
    let paired = lines.iter().any(|l| l.change.is_some());
    let title = "Cost of the interventions on ordinary text";
    let mut page = Page::new(if paired { 940.0 } else { 640.0 }, title, &about.line(&counted));
    let mut legend = Vec::new();
    for (key, name, any) in [
        (Key::Filled(Marker::Circle, INK), "on the induction heads", lines.iter().any(|l| l.induction)),
        (Key::Open(Marker::Circle, INK), "on as many random heads", lines.iter().any(|l| !l.induction)),
    ] {
        if any {
            legend.push((key, name.to_owned()));
        }
    }
    if reference.is_some() {
        legend.push((Key::Rule, "no intervention".to_owned()));
    }
    page.legend(&legend);

    let names = lines.iter().map(|l| crate::text::width(&l.name, TICK + 0.5, false)).fold(0.0, f64::max);
    let (left, right, numbers) = (18.0 + names + 12.0, page.width - 18.0, 52.0);
    let middle = if paired { left + (right - left - 30.0) * 0.5 } else { right };
    let top = page.top + 32.0;
    let bottom = top + ROW * (lines.len() as f64 + 0.4);
    let columns = [
        Some(Column {
            left,
            right: middle - numbers,
            title: "Perplexity",
            axis: axis(lines.iter().map(|l| l.perplexity).chain(reference), "perplexity of held-out text"),
            rule: reference.map(|r| r.at),
            decimals: 2,
            unit: "",
        }),
        paired.then(|| Column {
            left: middle + 30.0,
            right: right - numbers,
            title: "Change, paired by text",
            axis: axis(
                lines.iter().filter_map(|l| l.change).chain([Estimate { at: 0.0, low: 0.0, high: 0.0 }]),
                "change of perplexity (%)",
            ),
            rule: Some(0.0),
            decimals: 2,
            unit: " %",
        }),
    ];
    for (i, column) in columns.iter().enumerate() {
        let Some(column) = column else { continue };
        column.frame(&mut page.canvas, top, bottom);
        for (row, line) in lines.iter().enumerate() {
            let y = top + ROW * (row as f64 + 0.7);
            let estimate = if i == 0 { Some(line.perplexity) } else { line.change };
            if let Some(estimate) = estimate {
                column.point(&mut page.canvas, y, estimate, line);
            }
        }
    }
    for (row, line) in lines.iter().enumerate() {
        let at = (left - 12.0, top + ROW * (row as f64 + 0.7) + TICK * 0.36);
        let text = Text::new(at, Anchor::End, TICK + 0.5, INK, line.name.clone());
        page.canvas.text(text);
    }
    let notes = [
        "Bars: 95 % bootstrap intervals over texts. An axis need not start at 0.".to_owned(),
        if paired {
            "Right: the same texts with and without the intervention, whole texts drawn (1000 resamples)."
                .to_owned()
        } else {
            String::new()
        },
    ];
    page.finish(bottom + 38.0, &notes)
}

/// Limits around all intervals, with some room on both sides.
fn axis(estimates: impl Iterator<Item = Estimate>, name: &str) -> Axis {
    let (low, high) = estimates.fold((f64::MAX, f64::MIN), |(l, h), e| (l.min(e.low), h.max(e.high)));
    let room = ((high - low) * 0.06).max(1e-3 * high.abs().max(1e-3));
    Axis::tight(low - room, high + room, name)
}

/// One of the two panels: rows are shared, the horizontal axis is its own.
struct Column {
    left: f64,
    right: f64,
    title: &'static str,
    axis: Axis,
    rule: Option<f64>,
    decimals: usize,
    unit: &'static str,
}

impl Column {
    fn px(&self, v: f64) -> f64 {
        self.left + self.axis.position(v) * (self.right - self.left)
    }

    fn frame(&self, canvas: &mut Canvas, top: f64, bottom: f64) {
        canvas.text(Text::new((self.left, top - 9.0), Anchor::Start, LABEL, INK, self.title).bold());
        let mut taken = f64::MIN;
        for (v, text) in &self.axis.ticks {
            let x = self.px(*v);
            canvas.line(&[(x, top), (x, bottom)], &[], GRID, 0.8);
            canvas.line(&[(x, bottom), (x, bottom + 3.5)], &[], GREY, 0.8);
            let half = crate::text::width(text, TICK, false) / 2.0;
            if x - half > taken + 4.0 {
                canvas.text(Text::new((x, bottom + 14.5), Anchor::Middle, TICK, INK, text.clone()));
                taken = x + half;
            }
        }
        canvas.line(&[(self.left, top), (self.left, bottom), (self.right, bottom)], &[], GREY, 1.0);
        if let Some(rule) = self.rule {
            canvas.line(&[(self.px(rule), top), (self.px(rule), bottom)], RULE, INK, 1.0);
        }
        let at = ((self.left + self.right) / 2.0, bottom + 30.0);
        canvas.text(Text::new(at, Anchor::Middle, LABEL, INK, self.axis.label.clone()));
    }

    fn point(&self, canvas: &mut Canvas, y: f64, e: Estimate, line: &Line) {
        let colour = line.style.colour;
        let (low, high) = (self.px(e.low), self.px(e.high));
        canvas.line(&[(low, y), (high, y)], &[], colour, 1.4);
        for end in [low, high] {
            canvas.line(&[(end, y - 3.0), (end, y + 3.0)], &[], colour, 1.2);
        }
        let at = (self.px(e.at), y);
        if line.induction {
            canvas.marker(at, line.style.marker, 4.0, colour);
        } else {
            canvas.open_marker(at, line.style.marker, 4.0, colour);
        }
        let sign = if self.unit.is_empty() || e.at < 0.0 { "" } else { "+" };
        let text = format!("{sign}{}{}", number(e.at, self.decimals), self.unit);
        let ink = if colour == REFERENCE { GREY } else { INK };
        canvas.text(Text::new((self.right + 8.0, y + TICK * 0.36), Anchor::Start, TICK, ink, text));
    }
}
