//! One plotting area with its two axes.

use crate::draw::axis::Axis;
use crate::draw::canvas::{Anchor, Canvas, Point, Text};
use crate::draw::estimate::Estimate;
use crate::draw::palette::{Colour, GREY, GRID, INK, Marker, RULE, Style};
use crate::draw::text::{width, wrap};

/// Size of tick labels.
pub(crate) const TICK: f64 = 10.0;
/// Size of axis labels.
pub(crate) const LABEL: f64 = 11.0;
/// Height of a line of a title over a panel.
const TITLE_LINE: f64 = LABEL + 3.0;

/// Room that the titles of panels of this width need over a title of one line.
pub(crate) fn more_lines<'a>(titles: impl Iterator<Item = &'a str>, across: f64) -> f64 {
    let lines = titles.map(|title| wrap(title, LABEL, true, across).len()).max().unwrap_or(1);
    lines.saturating_sub(1) as f64 * TITLE_LINE
}

/// A rectangle of the page on which two axes are mapped.
pub(crate) struct Panel {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
}

/// The title over a panel with this upper left corner, in lines of this width at most.
pub(crate) fn titled(canvas: &mut Canvas, (left, top): Point, title: &str, across: f64) {
    for (i, line) in wrap(title, LABEL, true, across).into_iter().rev().enumerate() {
        let at = (left, top - 8.0 - i as f64 * TITLE_LINE);
        canvas.text(Text::new(at, Anchor::Start, LABEL, INK, line).bold());
    }
}

impl Panel {
    pub(crate) fn px(&self, v: f64) -> f64 {
        self.left + self.x.position(v) * (self.right - self.left)
    }

    pub(crate) fn py(&self, v: f64) -> f64 {
        self.bottom - self.y.position(v) * (self.bottom - self.top)
    }

    pub(crate) fn at(&self, (x, y): Point) -> Point {
        (self.px(x), self.py(y))
    }

    /// Grid, ticks and labels. Inner panels of a grid of panels leave out the labels of the axis that they share.
    pub(crate) fn frame(&self, canvas: &mut Canvas, title: &str, x_labels: bool, y_labels: bool) {
        for (v, _) in &self.y.ticks {
            let y = self.py(*v);
            canvas.line(&[(self.left, y), (self.right, y)], &[], GRID, 0.8);
        }
        for (v, label) in self.x.ticks.iter() {
            if !label.is_empty() {
                let x = self.px(*v);
                canvas.line(&[(x, self.top), (x, self.bottom)], &[], GRID, 0.8);
            }
        }
        canvas.line(
            &[(self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)],
            &[],
            GREY,
            1.0,
        );
        let middle = (self.left + self.right) / 2.0;
        self.x_ticks(canvas, x_labels);
        self.y_ticks(canvas, y_labels);
        if x_labels {
            let at = (middle, self.bottom + 30.0);
            canvas.text(Text::new(at, Anchor::Middle, LABEL, INK, self.x.label.clone()));
        }
        titled(canvas, (self.left, self.top), title, self.right - self.left);
    }

    fn x_ticks(&self, canvas: &mut Canvas, labels: bool) {
        let mut taken: Vec<(f64, f64)> = Vec::new();
        for (v, label) in self.x.ticks.iter().chain(&self.x.minor) {
            let x = self.px(*v);
            canvas.line(&[(x, self.bottom), (x, self.bottom + 3.5)], &[], GREY, 0.8);
            let half = width(label, TICK, false) / 2.0;
            // A label that would touch one before it is left out; its tick stays.
            let free = taken.iter().all(|(from, to)| x - half > to + 4.0 || x + half < from - 4.0);
            if labels && free {
                canvas.text(Text::new((x, self.bottom + 14.5), Anchor::Middle, TICK, INK, label.clone()));
                taken.push((x - half, x + half));
            }
        }
    }

    fn y_ticks(&self, canvas: &mut Canvas, labels: bool) {
        let (mut taken, mut widest) = (f64::MAX, 0f64);
        for (v, label) in &self.y.ticks {
            let y = self.py(*v);
            canvas.line(&[(self.left - 3.5, y), (self.left, y)], &[], GREY, 0.8);
            if labels && y < taken - TICK * 1.1 {
                canvas.text(Text::new(
                    (self.left - 6.0, y + TICK * 0.36),
                    Anchor::End,
                    TICK,
                    INK,
                    label.clone(),
                ));
                widest = widest.max(width(label, TICK, false));
                taken = y;
            }
        }
        if labels {
            let at = (self.left - 6.0 - widest - 9.0, (self.top + self.bottom) / 2.0);
            canvas.text(Text::new(at, Anchor::Middle, LABEL, INK, self.y.label.clone()).upwards());
        }
    }

    pub(crate) fn line(&self, canvas: &mut Canvas, points: &[Point], style: Style) {
        let points: Vec<Point> = points.iter().map(|p| self.at(*p)).collect();
        canvas.line(&points, style.dash, style.colour, style.width);
    }

    /// A translucent area between the ends of the intervals at each x.
    pub(crate) fn band(&self, canvas: &mut Canvas, points: &[(f64, Estimate)], colour: Colour) {
        // Where there is no interval, there is no band: not one of no width.
        for run in points.split(|(_, e)| e.interval.is_none()).filter(|run| run.len() > 1) {
            let up = run.iter().map(|(x, e)| self.at((*x, e.high())));
            let down = run.iter().rev().map(|(x, e)| self.at((*x, e.low())));
            canvas.fill(up.chain(down).collect(), colour.alpha(0.17));
        }
    }

    pub(crate) fn marker(&self, canvas: &mut Canvas, at: Point, marker: Marker, radius: f64, colour: Colour) {
        canvas.marker(self.at(at), marker, radius, colour);
    }

    /// An arrow upwards from the point: the true value is this or more.
    pub(crate) fn at_least(&self, canvas: &mut Canvas, at: Point, colour: Colour) {
        let (x, y) = self.at(at);
        canvas.arrow((x, y - 3.0), (x, y - 17.0), colour, 1.4);
    }

    /// A dashed horizontal rule across the panel.
    pub(crate) fn rule(&self, canvas: &mut Canvas, y: f64) {
        let y = self.py(y);
        canvas.line(&[(self.left, y), (self.right, y)], RULE, INK, 1.0);
    }
}
