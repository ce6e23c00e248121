//! Scores as coloured cells, rows upwards.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::axis::{Axis, round_step};
use crate::draw::canvas::{Anchor, Canvas, Text};
use crate::draw::palette::{Colour, GREY, INK, WHITE, diverging};
use crate::draw::panel::{LABEL, TICK};
use crate::draw::text::{number, width};

/// Row and column, such as layer and head.
pub(crate) type Cell = (u64, u64);

/// The scores of one panel: none where the table has a null.
pub(crate) type Scores = BTreeMap<Cell, Option<f64>>;

/// Room left of the cells for the ticks and the axis label.
pub(crate) const LEFT: f64 = 48.0;
/// Room right of the cells for the colour bar and its labels.
const RIGHT: f64 = 92.0;

pub(crate) struct Grid {
    rows: u64,
    columns: u64,
    cell: (f64, f64),
    /// What rows and columns are.
    axes: (&'static str, &'static str),
    /// A cell is a place where there may be nothing to measure.
    sparse: bool,
}

/// How scores become colours.
pub(crate) struct Ramp {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) colour: fn(f64) -> Colour,
}

impl Ramp {
    /// White at `middle`, and as far to both sides as `values` go.
    pub(crate) fn around(middle: f64, values: impl Iterator<Item = f64>) -> Self {
        let largest = values.fold(0.05f64, |m, v| m.max((v - middle).abs()));
        let limit = round_step(largest / 4.0) * (largest / 4.0 / round_step(largest / 4.0) * 4.0).ceil();
        Ramp { low: middle - limit, high: middle + limit, colour: |t| diverging(2.0 * t - 1.0) }
    }

    fn of(&self, v: f64) -> Colour {
        (self.colour)(((v - self.low) / (self.high - self.low)).clamp(0.0, 1.0))
    }
}

impl Grid {
    /// Layers and heads.
    pub(crate) fn new(layers: u64, heads: u64) -> Self {
        let w = (340.0 / heads as f64).clamp(11.0, 52.0);
        let h = (340.0 / layers as f64).clamp(11.0, 44.0).min(w * 1.1);
        Self { rows: layers, columns: heads, cell: (w, h), axes: ("layer", "head"), sparse: false }
    }

    /// The same with heads of another name.
    pub(crate) fn of(self, heads: &'static str) -> Self {
        Self { axes: (self.axes.0, heads), ..self }
    }

    /// Layers alone.
    pub(crate) fn column(layers: u64) -> Self {
        let h = (340.0 / layers as f64).clamp(11.0, 30.0);
        Self { rows: layers, columns: 1, cell: (120.0, h), axes: ("layer", ""), sparse: false }
    }

    /// Something by position: many columns, and rows of any kind. Where `sparse`, cells without a score are left white.
    pub(crate) fn wide(rows: u64, columns: u64, axes: (&'static str, &'static str), sparse: bool) -> Self {
        let w = (680.0 / columns as f64).clamp(0.5, 26.0);
        let h = (340.0 / rows as f64).clamp(if rows > 64 { 0.5 } else { 9.0 }, 22.0);
        Self { rows, columns, cell: (w, h), axes, sparse }
    }

    /// A panel of few layers is still as high as its colour bar needs.
    pub(crate) fn height(&self) -> f64 {
        (self.cell.1 * self.rows as f64).max(90.0)
    }

    pub(crate) fn panel_width(&self) -> f64 {
        // Titles stand over the cells and the bar.
        LEFT + (self.cell.0 * self.columns as f64).max(120.0) + RIGHT
    }

    /// How a score is printed in its cell: none when it would not be readable.
    fn print(&self, v: f64) -> Option<(String, f64)> {
        let size = (self.cell.0 * 0.36).min(self.cell.1 * 0.5).min(10.0);
        if self.rows > 16 || self.columns > 16 {
            return None;
        }
        // Without the zero before the point, two decimals fit where four characters would not.
        let text = number(v, 2).replacen("0.", ".", 1);
        let text = if text == ".00" { "0".to_owned() } else { text };
        let size = size.min(size * (self.cell.0 - 2.5) / width(&text, size, false));
        (size > 5.5).then_some((text, size))
    }

    #[allow(clippy::too_many_arguments, reason = "one call each, of unlike things")]
    pub(crate) fn draw(
        &self,
        canvas: &mut Canvas,
        (left, top): (f64, f64),
        scores: &Scores,
        marked: &BTreeSet<Cell>,
        ramp: &Ramp,
        title: &str,
        bar: &str,
    ) {
        let (w, h) = self.cell;
        let bottom = top + h * self.rows as f64;
        let right = left + w * self.columns as f64;
        let corner = |(l, i): Cell| (left + i as f64 * w, bottom - (l + 1) as f64 * h);
        let middle = (left + right) / 2.0;
        canvas.text(Text::new((left, top - 9.0), Anchor::Start, LABEL + 1.0, INK, title).bold());
        for head in (0..self.rows).flat_map(|l| (0..self.columns).map(move |i| (l, i))) {
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
                None if self.sparse && !scores.contains_key(&head) => {}
                None => {
                    canvas.rect((x, y), (x + w, y + h), Colour::hex(0xededed));
                    canvas.hatch((x, y), (x + w, y + h), Colour::hex(0xa0a0a0));
                }
            }
        }
        // Thin white lines part cells of equal colour, and the frame closes a map that is white at its edge.
        for i in (1..self.columns).filter(|_| w >= 6.0) {
            let x = left + i as f64 * w;
            canvas.line(&[(x, top), (x, bottom)], &[], WHITE, 0.6);
        }
        for l in (1..self.rows).filter(|_| h >= 6.0) {
            let y = top + l as f64 * h;
            canvas.line(&[(left, y), (right, y)], &[], WHITE, 0.6);
        }
        canvas.outline((left, top), (right, bottom), GREY, 0.8);
        for head in marked {
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
            [1, 2, 4, 5, 10, 20, 50, 100, 200, 500]
                .into_iter()
                .find(|k| *k as f64 * size >= need)
                .unwrap_or(count)
        };
        let columns = if self.axes.1.is_empty() { 0 } else { self.columns };
        for i in (0..columns).step_by(every(self.columns, w, 20.0) as usize) {
            let at = (left + (i as f64 + 0.5) * w, bottom + 14.0);
            canvas.text(Text::new(at, Anchor::Middle, TICK, INK, i.to_string()));
        }
        for l in (0..self.rows).step_by(every(self.rows, h, 14.0) as usize) {
            let at = (left - 6.0, bottom - (l as f64 + 0.5) * h + TICK * 0.36);
            canvas.text(Text::new(at, Anchor::End, TICK, INK, l.to_string()));
        }
        canvas.text(Text::new((middle, bottom + 31.0), Anchor::Middle, LABEL, INK, self.axes.1));
        canvas.text(
            Text::new((left - 31.0, (top + bottom) / 2.0), Anchor::Middle, LABEL, INK, self.axes.0).upwards(),
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
