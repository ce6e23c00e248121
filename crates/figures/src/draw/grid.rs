//! Scores as coloured cells, rows upwards.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::canvas::{Anchor, Canvas, Point, Text};
use crate::draw::palette::{Colour, GREY, INK, NO_VALUE, WHITE};
use crate::draw::panel::{LABEL, TICK};
use crate::draw::ramp::Ramp;
use crate::draw::text::{number, width, wrap};

/// Row and column, such as layer and head.
pub(crate) type Cell = (u64, u64);

/// The scores of one panel: none where the table has a null. A cell that is not here was not scored at all.
pub(crate) type Scores = BTreeMap<Cell, Option<f64>>;

/// Room left of the cells for the ticks and the axis label.
pub(crate) const LEFT: f64 = 40.0;
/// Room right of the cells for the colour bar and its labels.
pub(crate) const RIGHT: f64 = 66.0;
/// Room under the cells for numbers and the axis label.
const BOTTOM: f64 = 34.0;
/// Longest token on an axis, in characters.
pub(crate) const LONGEST_TOKEN: usize = 12;

/// The layout of a panel of cells.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) rows: u64,
    pub(crate) columns: u64,
    /// Width and height of a cell.
    pub(crate) cell: (f64, f64),
    pub(crate) row_axis: String,
    pub(crate) column_axis: String,
    /// A label for each column, written upwards; without them columns are numbered from 0.
    pub(crate) column_labels: Vec<String>,
    /// Columns counted from the last, which is 1.
    pub(crate) from_end: bool,
    /// A cell without a score is a place where there is nothing to measure, and stays white.
    pub(crate) sparse: bool,
    /// One of many: without names of the axes, and closer to its neighbours.
    pub(crate) compact: bool,
}

/// What one panel shows.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) scores: Scores,
    /// Cells with an outline.
    pub(crate) outlined: BTreeSet<Cell>,
    /// The outlined cells are those that the table selected, rather than the first of a ranking.
    pub(crate) selection: bool,
    /// Cells with a cut corner.
    pub(crate) cut: BTreeSet<Cell>,
    pub(crate) title: String,
    /// The second line of the title, in grey.
    pub(crate) subtitle: String,
}

impl Grid {
    /// Rows (layers, mostly) by columns in an area of this width and height at most.
    pub(crate) fn fit(rows: u64, columns: u64, area: (f64, f64), axes: (&str, &str)) -> Self {
        let w = (area.0 / columns as f64).min(44.0);
        let h = (area.1 / rows as f64).min(32.0).min((w * 1.2).max(9.0));
        Self {
            rows,
            columns,
            cell: (if columns == 1 { area.0.min(56.0) } else { w }, h),
            row_axis: axes.0.to_owned(),
            column_axis: axes.1.to_owned(),
            column_labels: Vec::new(),
            from_end: false,
            sparse: false,
            compact: false,
        }
    }

    /// Width of the cells.
    pub(crate) fn across(&self) -> f64 {
        self.cell.0 * self.columns as f64
    }

    /// Height of the cells, or of the colour bar where that needs more.
    pub(crate) fn height(&self) -> f64 {
        (self.cell.1 * self.rows as f64).max(56.0)
    }

    /// Width with everything around.
    pub(crate) fn panel_width(&self) -> f64 {
        self.left() + self.across() + self.right()
    }

    /// Room left of the cells.
    pub(crate) fn left(&self) -> f64 {
        if self.compact { 22.0 } else { LEFT }
    }

    fn right(&self) -> f64 {
        if self.compact { 52.0 } else { RIGHT }
    }

    /// Height of what stands under the cells.
    pub(crate) fn under(&self) -> f64 {
        let longest =
            self.shown_columns().map(|i| width(&self.column_label(i), TICK, false)).fold(0.0, f64::max);
        match (self.column_labels.is_empty(), self.compact) {
            (true, true) => 18.0,
            (true, false) => BOTTOM,
            (false, true) => longest + 8.0,
            (false, false) => longest + 24.0,
        }
    }

    /// The lines of a title and of a subtitle over a panel, with what stands right of it.
    pub(crate) fn title_lines(&self, layer: &Layer) -> (Vec<String>, Vec<String>) {
        let limit = (self.across() + self.right() - 6.0).max(110.0);
        (wrap(&layer.title, LABEL, true, limit), wrap(&layer.subtitle, TICK - 0.5, false, limit))
    }

    /// Height of the title and subtitle.
    pub(crate) fn title_height(&self, layer: &Layer) -> f64 {
        let (title, subtitle) = self.title_lines(layer);
        title.len() as f64 * (LABEL + 3.0) + subtitle.len() as f64 * (TICK + 2.5) + 5.0
    }

    /// Draws the panel with the upper left corner of its cells at `(left, top)`; the title stands above.
    pub(crate) fn draw(&self, canvas: &mut Canvas, (left, top): Point, layer: &Layer, ramp: &Ramp) {
        let (w, h) = self.cell;
        let bottom = top + h * self.rows as f64;
        let right = left + self.across();
        let corner = |(l, i): Cell| (left + i as f64 * w, bottom - (l + 1) as f64 * h);
        self.title(canvas, (left, top), layer);
        for cell in (0..self.rows).flat_map(|l| (0..self.columns).map(move |i| (l, i))) {
            let (x, y) = corner(cell);
            match layer.scores.get(&cell).copied().flatten() {
                Some(v) => {
                    let colour = ramp.of(v);
                    canvas.rect((x, y), (x + w, y + h), colour);
                    if layer.cut.contains(&cell) {
                        canvas.cut((x, y), (x + w, y + h));
                    }
                    if let Some((text, size)) = self.print(v) {
                        let ink = if colour.luminance() > 0.25 { INK } else { WHITE };
                        let at = (x + w / 2.0, y + h / 2.0 + size * 0.36);
                        canvas.text(Text::new(at, Anchor::Middle, size, ink, text));
                    }
                }
                None if self.sparse && !layer.scores.contains_key(&cell) => {}
                None => {
                    canvas.rect((x, y), (x + w, y + h), NO_VALUE);
                    canvas.hatch((x, y), (x + w, y + h), Colour::hex(0xa0a0a0));
                }
            }
        }
        // Thin white lines part cells of equal colour, and the frame closes a map that is white at its edge.
        for x in (1..self.columns).filter(|_| w >= 6.0).map(|i| left + i as f64 * w) {
            canvas.line(&[(x, top), (x, bottom)], &[], WHITE, 0.6);
        }
        for y in (1..self.rows).filter(|_| h >= 6.0).map(|l| bottom - l as f64 * h) {
            canvas.line(&[(left, y), (right, y)], &[], WHITE, 0.6);
        }
        canvas.outline((left, top), (right, bottom), GREY, 0.8);
        for cell in &layer.outlined {
            let (x, y) = corner(*cell);
            if w.min(h) < 16.0 {
                // Around the cell, so that its colour is still seen; and white around that, among dark cells.
                canvas.outline((x - 1.8, y - 1.8), (x + w + 1.8, y + h + 1.8), WHITE, 1.0);
                canvas.outline((x - 0.7, y - 0.7), (x + w + 0.7, y + h + 0.7), INK, 1.3);
                continue;
            }
            // A white line inside the dark one: seen on a dark cell and on a light one.
            canvas.outline((x + 1.9, y + 1.9), (x + w - 1.9, y + h - 1.9), WHITE, 1.0);
            canvas.outline((x + 0.6, y + 0.6), (x + w - 0.6, y + h - 0.6), INK, 1.8);
        }
        self.axes(canvas, (left, top), (right, bottom));
        ramp.bar(canvas, (right + 9.0, top), self.height().min(200.0));
    }

    fn title(&self, canvas: &mut Canvas, (left, top): Point, layer: &Layer) {
        let (title, subtitle) = self.title_lines(layer);
        let mut y = top - self.title_height(layer) + LABEL;
        for line in title {
            canvas.text(Text::new((left, y), Anchor::Start, LABEL, INK, line).bold());
            y += LABEL + 3.0;
        }
        for line in subtitle {
            canvas.text(Text::new((left, y), Anchor::Start, TICK - 0.5, GREY, line));
            y += TICK + 2.5;
        }
    }

    /// How a score is printed in its cell: none when it would not be readable.
    fn print(&self, v: f64) -> Option<(String, f64)> {
        let size = (self.cell.0 * 0.36).min(self.cell.1 * 0.5).min(10.0);
        // Without the zero before the point, two decimals fit where four characters would not.
        let text = if v.abs() < 10.0 { number(v, 2).replacen("0.", ".", 1) } else { number(v, 0) };
        let text = if text == ".00" { "0".to_owned() } else { text };
        let size = size.min(size * (self.cell.0 - 2.5) / width(&text, size, false));
        (size >= 7.0).then_some((text, size))
    }

    fn column_label(&self, i: u64) -> String {
        match self.column_labels.get(i as usize) {
            Some(label) => label.clone(),
            None if self.from_end => (self.columns - i).to_string(),
            None => i.to_string(),
        }
    }

    fn shown_columns(&self) -> impl Iterator<Item = u64> {
        let need = if self.column_labels.is_empty() { 20.0 } else { TICK + 2.0 };
        let every = every(self.columns, self.cell.0, need);
        let columns = if self.column_axis.is_empty() { 0 } else { self.columns };
        // From the end, the last column is the one that is always named.
        let shift = if self.from_end { (self.columns - 1) % every } else { 0 };
        (shift..columns).step_by(every as usize)
    }

    fn axes(&self, canvas: &mut Canvas, (left, top): Point, (right, bottom): Point) {
        let (w, h) = self.cell;
        for i in self.shown_columns() {
            let x = left + (i as f64 + 0.5) * w;
            let label = self.column_label(i);
            canvas.text(if self.column_labels.is_empty() {
                Text::new((x, bottom + 13.0), Anchor::Middle, TICK, INK, label)
            } else {
                Text::new((x + TICK * 0.36, bottom + 5.0), Anchor::End, TICK, INK, label).upwards()
            });
        }
        for l in (0..self.rows).step_by(every(self.rows, h, 13.0) as usize) {
            let at = (left - 5.0, bottom - (l as f64 + 0.5) * h + TICK * 0.36);
            canvas.text(Text::new(at, Anchor::End, TICK, INK, l.to_string()));
        }
        if self.compact {
            return;
        }
        let middle = (left + right) / 2.0;
        let at = (middle, bottom + self.under() - 6.0);
        canvas.text(Text::new(at, Anchor::Middle, TICK + 0.5, INK, self.column_axis.clone()));
        let at = (left - 26.0, (top + bottom) / 2.0);
        canvas.text(Text::new(at, Anchor::Middle, TICK + 0.5, INK, self.row_axis.clone()).upwards());
    }
}

/// Every how many cells of `size` one is labelled, when a label needs `need`.
fn every(count: u64, size: f64, need: f64) -> u64 {
    [1, 2, 4, 5, 10, 20, 50, 100, 200, 500]
        .into_iter()
        .find(|k| *k as f64 * size >= need)
        .unwrap_or(count.max(1))
}
