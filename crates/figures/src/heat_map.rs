//! Heads by layer: what patching each one does, beside what the detector says of it.

use arrow::array::{Array, RecordBatch};
use std::collections::{BTreeMap, BTreeSet};

use crate::about::About;
use crate::axis::{Axis, round_step};
use crate::canvas::{Anchor, Canvas, Text};
use crate::drawing::Drawing;
use crate::error::Error;
use crate::page::{Key, Page};
use crate::palette::{Colour, GREY, INK, WHITE, diverging, viridis};
use crate::panel::{LABEL, TICK};
use crate::table::{Table, index, label, value};
use crate::text::{number, width};

type Head = (u64, u64);

/// The scores of one panel: none where the table has a null.
type Scores = BTreeMap<Head, Option<f64>>;

/// Mean activation-patching effect of every head (left) and its prefix-matching score (right), layers upwards, with
/// the heads of H_ind outlined. Reads `head_scores`.
///
/// # Errors
/// When a column is missing or of another type, or the table has neither score.
pub fn head_heat_map(head_scores: &RecordBatch, about: &About) -> Result<Drawing, Error> {
    let table = Table::new("head_heat_map", "head_scores", head_scores)?;
    let (method, component) = (table.text("method")?, table.text("component")?);
    let (direction, metric, reason) =
        (table.text("direction")?, table.text("metric")?, table.text("reason")?);
    let (layer, head) = (table.number("layer")?, table.number("head")?);
    let (position, prompt) = (table.number("position")?, table.number("prompt")?);
    let (score, effect) = (table.number("value")?, table.number("effect")?);
    let in_set = table.flag("induction")?;

    let (mut effects, mut matching) = (Scores::new(), Scores::new());
    let (mut induction, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    for row in 0..table.rows() {
        let (Some(l), Some(h)) = (index(&layer, row), index(&head, row)) else { continue };
        if in_set.is_valid(row) && in_set.value(row) {
            induction.insert((l, h));
        }
        if value(&prompt, row).is_some() || value(&position, row).is_some() {
            continue;
        }
        let patching = label(&method, row) == "activation-patching"
            && label(&component, row) == "z"
            && matches!(label(&direction, row), "denoise" | "");
        let (scores, found) = if patching {
            (&mut effects, value(&effect, row))
        } else if label(&metric, row) == "prefix_matching" {
            (&mut matching, value(&score, row))
        } else {
            continue;
        };
        if found.is_none() {
            reasons.insert(label(&reason, row).to_owned());
        }
        scores.insert((l, h), found);
    }
    if effects.is_empty() && matching.is_empty() {
        return Err(table.nothing(
            "method = activation-patching and component = z, or metric = prefix_matching, with null prompt",
            "write the means over prompts as well as the single prompts",
        ));
    }

    let heads = effects.keys().chain(matching.keys()).chain(&induction);
    let (layers, width) = heads.fold((0, 0), |(l, h), head| (l.max(head.0 + 1), h.max(head.1 + 1)));
    let grid = Grid::new(layers, width);
    let counted = [format!("layers × heads: {layers} × {width}")];
    let both = !effects.is_empty() && !matching.is_empty();
    let page_width = (grid.panel_width() * if both { 2.0 } else { 1.0 } + 30.0).max(560.0);
    let title = match (effects.is_empty(), matching.is_empty()) {
        (false, false) => "Which heads copy: effect of patching each head, and its prefix matching",
        (false, true) => "Which heads copy: effect of patching each head",
        _ => "Which heads attend to the token to copy: prefix matching",
    };
    let mut page = Page::new(page_width, title, &about.line(&counted));
    let mut legend = vec![(
        Key::Outline(INK),
        format!("induction head, in H_ind ({} of {})", induction.len(), layers * width),
    )];
    if effects.values().chain(matching.values()).any(Option::is_none) {
        let reasons: Vec<String> = reasons.into_iter().filter(|r| !r.is_empty()).collect();
        let why = if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join("; ") };
        legend.push((Key::Hatch, format!("not measured: {why}")));
    }
    page.legend(&legend);

    let top = page.top + 34.0;
    let columns = if both { 2.0 } else { 1.0 };
    let mut left = (page.width - columns * grid.panel_width()) / 2.0 + LEFT;
    let canvas = &mut page.canvas;
    if !effects.is_empty() {
        let largest = effects.values().flatten().fold(0.05f64, |m, v| m.max(v.abs()));
        let limit = round_step(largest / 4.0) * (largest / 4.0 / round_step(largest / 4.0) * 4.0).ceil();
        let scale = Ramp { low: -limit, high: limit, colour: |t| diverging(2.0 * t - 1.0) };
        grid.draw(canvas, (left, top), &effects, &induction, &scale, "Activation patching (z)", "effect");
        left += grid.panel_width();
    }
    if !matching.is_empty() {
        let scale = Ramp { low: 0.0, high: 1.0, colour: viridis };
        grid.draw(canvas, (left, top), &matching, &induction, &scale, "Prefix matching", "attention weight");
    }
    let note = "Each cell is the mean over prompts. Effect: share of the answer's logit that the patch restores, (patched − corrupted) / \
        (clean − corrupted). Prefix matching: attention to what followed earlier occurrences of the current token.";
    Ok(page.finish(top + grid.height() + 40.0, &[note.to_owned()]))
}

/// Room left of the cells for the ticks and the axis label.
const LEFT: f64 = 48.0;
/// Room right of the cells for the colour bar and its labels.
const RIGHT: f64 = 92.0;

struct Grid {
    layers: u64,
    heads: u64,
    cell: (f64, f64),
}

/// How scores become colours.
struct Ramp {
    low: f64,
    high: f64,
    colour: fn(f64) -> Colour,
}

impl Ramp {
    fn of(&self, v: f64) -> Colour {
        (self.colour)(((v - self.low) / (self.high - self.low)).clamp(0.0, 1.0))
    }
}

impl Grid {
    fn new(layers: u64, heads: u64) -> Self {
        let w = (340.0 / heads as f64).clamp(11.0, 52.0);
        let h = (340.0 / layers as f64).clamp(11.0, 44.0).min(w * 1.1);
        Self { layers, heads, cell: (w, h) }
    }

    /// A panel of few layers is still as high as its colour bar needs.
    fn height(&self) -> f64 {
        (self.cell.1 * self.layers as f64).max(90.0)
    }

    fn panel_width(&self) -> f64 {
        // Titles stand over the cells and the bar.
        LEFT + (self.cell.0 * self.heads as f64).max(120.0) + RIGHT
    }

    /// How a score is printed in its cell: none when it would not be readable.
    fn print(&self, v: f64) -> Option<(String, f64)> {
        let size = (self.cell.0 * 0.36).min(self.cell.1 * 0.5).min(10.0);
        if self.layers > 16 || self.heads > 16 {
            return None;
        }
        // Without the zero before the point, two decimals fit where four characters would not.
        let text = number(v, 2).replacen("0.", ".", 1);
        let text = if text == ".00" { "0".to_owned() } else { text };
        let size = size.min(size * (self.cell.0 - 2.5) / width(&text, size, false));
        (size > 5.5).then_some((text, size))
    }

    #[allow(clippy::too_many_arguments, reason = "one call each, of unlike things")]
    fn draw(
        &self,
        canvas: &mut Canvas,
        (left, top): (f64, f64),
        scores: &Scores,
        induction: &BTreeSet<Head>,
        ramp: &Ramp,
        title: &str,
        bar: &str,
    ) {
        let (w, h) = self.cell;
        let bottom = top + h * self.layers as f64;
        let right = left + w * self.heads as f64;
        let corner = |(l, i): Head| (left + i as f64 * w, bottom - (l + 1) as f64 * h);
        let middle = (left + right) / 2.0;
        canvas.text(Text::new((left, top - 9.0), Anchor::Start, LABEL + 1.0, INK, title).bold());
        for head in (0..self.layers).flat_map(|l| (0..self.heads).map(move |i| (l, i))) {
            let (x, y) = corner(head);
            match scores.get(&head).copied().flatten() {
                Some(v) => {
                    let colour = ramp.of(v);
                    canvas.rect((x, y), (x + w, y + h), colour);
                    if let Some((text, size)) = self.print(v) {
                        let ink = if colour.luminance() > 0.25 { INK } else { WHITE };
                        let at = (x + w / 2.0, y + h / 2.0 + size * 0.36);
                        canvas.text(Text::new(at, Anchor::Middle, size, ink, text));
                    }
                }
                None => {
                    canvas.rect((x, y), (x + w, y + h), Colour::hex(0xededed));
                    canvas.hatch((x, y), (x + w, y + h), Colour::hex(0xa0a0a0));
                }
            }
        }
        // Thin white lines part cells of equal colour, and the frame closes a map that is white at its edge.
        for i in 1..self.heads {
            let x = left + i as f64 * w;
            canvas.line(&[(x, top), (x, bottom)], &[], WHITE, 0.6);
        }
        for l in 1..self.layers {
            let y = top + l as f64 * h;
            canvas.line(&[(left, y), (right, y)], &[], WHITE, 0.6);
        }
        canvas.outline((left, top), (right, bottom), GREY, 0.8);
        for head in induction {
            let (x, y) = corner(*head);
            if w.min(h) < 16.0 {
                canvas.outline((x + 0.2, y + 0.2), (x + w - 0.2, y + h - 0.2), INK, 1.6);
                continue;
            }
            // A white line inside the dark one: seen on a dark cell and on a light one.
            canvas.outline((x + 1.9, y + 1.9), (x + w - 1.9, y + h - 1.9), WHITE, 1.0);
            canvas.outline((x + 0.6, y + 0.6), (x + w - 0.6, y + h - 0.6), INK, 1.8);
        }
        let every = |count: u64, size: f64, need: f64| {
            [1, 2, 4, 5, 10, 20, 50].into_iter().find(|k| *k as f64 * size >= need).unwrap_or(count)
        };
        for i in (0..self.heads).step_by(every(self.heads, w, 20.0) as usize) {
            let at = (left + (i as f64 + 0.5) * w, bottom + 14.0);
            canvas.text(Text::new(at, Anchor::Middle, TICK, INK, i.to_string()));
        }
        for l in (0..self.layers).step_by(every(self.layers, h, 14.0) as usize) {
            let at = (left - 6.0, bottom - (l as f64 + 0.5) * h + TICK * 0.36);
            canvas.text(Text::new(at, Anchor::End, TICK, INK, l.to_string()));
        }
        canvas.text(Text::new((middle, bottom + 31.0), Anchor::Middle, LABEL, INK, "head"));
        canvas.text(
            Text::new((left - 31.0, (top + bottom) / 2.0), Anchor::Middle, LABEL, INK, "layer").upwards(),
        );
        self.bar(canvas, (right + 16.0, top), ramp, bar);
    }

    fn bar(&self, canvas: &mut Canvas, (x, top): (f64, f64), ramp: &Ramp, name: &str) {
        const STEPS: usize = 64;
        let height = self.height().min(220.0).max(self.height() * 0.7);
        let at = |t: f64| top + height * (1.0 - t);
        for i in 0..STEPS {
            let (t0, t1) = (i as f64 / STEPS as f64, (i + 1) as f64 / STEPS as f64);
            canvas.rect((x, at(t1)), (x + 12.0, at(t0)), (ramp.colour)((t0 + t1) / 2.0));
        }
        canvas.outline((x, top), (x + 12.0, top + height), GREY, 0.8);
        let axis = Axis::tight(ramp.low, ramp.high, name);
        let mut widest = 0f64;
        for (v, text) in &axis.ticks {
            let y = at(axis.position(*v));
            canvas.line(&[(x + 12.0, y), (x + 15.0, y)], &[], GREY, 0.8);
            canvas.text(Text::new((x + 18.0, y + TICK * 0.36), Anchor::Start, TICK, INK, text.clone()));
            widest = widest.max(width(text, TICK, false));
        }
        // Too long for a short bar: the label may run on below it, never over the panel's title.
        let half = (width(name, TICK, false) / 2.0).max(height / 2.0);
        canvas.text(
            Text::new((x + 18.0 + widest + 14.0, top + half), Anchor::Middle, TICK, INK, name).upwards(),
        );
    }
}
