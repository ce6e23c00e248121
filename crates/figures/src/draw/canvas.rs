//! A drawing as a list of marks in floating-point units of one CSS pixel, before any backend sees it.

use crate::draw::palette::{Colour, GREY, Marker, Style, WHITE};
use crate::draw::text;

/// A point of the canvas: x to the right, y down.
pub(crate) type Point = (f64, f64);

/// Which side of a text its point is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text; `at` is on its baseline.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) at: Point,
    pub(crate) anchor: Anchor,
    pub(crate) size: f64,
    pub(crate) bold: bool,
    pub(crate) colour: Colour,
    /// Reads upwards, as the label of a y axis does.
    pub(crate) upwards: bool,
    pub(crate) text: String,
}

impl Text {
    pub(crate) fn new(at: Point, anchor: Anchor, size: f64, colour: Colour, text: impl Into<String>) -> Self {
        let text = text::visible(&text.into()).into_owned();
        Self { at, anchor, size, bold: false, colour, upwards: false, text }
    }

    pub(crate) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(crate) fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }
}

/// One thing to draw.
#[derive(Debug, Clone)]
pub(crate) enum Mark {
    Line { points: Vec<Point>, colour: Colour, width: f64 },
    Fill { points: Vec<Point>, colour: Colour },
    Disc { centre: Point, radius: f64, colour: Colour },
    Text(Text),
}

/// Marks in the order in which they are drawn.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    pub(crate) marks: Vec<Mark>,
}

impl Canvas {
    pub(crate) fn text(&mut self, text: Text) {
        if !text.text.is_empty() {
            self.marks.push(Mark::Text(text));
        }
    }

    pub(crate) fn fill(&mut self, points: Vec<Point>, colour: Colour) {
        if points.len() > 2 {
            self.marks.push(Mark::Fill { points, colour });
        }
    }

    pub(crate) fn rect(&mut self, (x0, y0): Point, (x1, y1): Point, colour: Colour) {
        self.fill(vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour);
    }

    pub(crate) fn outline(&mut self, (x0, y0): Point, (x1, y1): Point, colour: Colour, width: f64) {
        // The last corner runs on a little, or the first one would have a notch.
        let over = if x1 > x0 { width / 2.0 } else { 0.0 };
        self.line(&[(x0 - over, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], &[], colour, width);
    }

    /// A line through `points`, dashed along its whole length.
    pub(crate) fn line(&mut self, points: &[Point], dash: &[f64], colour: Colour, width: f64) {
        let pieces = if dash.is_empty() { vec![points.to_vec()] } else { dashes(points, dash) };
        self.marks.extend(pieces.into_iter().filter(|points| points.len() > 1).map(|points| Mark::Line {
            points,
            colour,
            width,
        }));
    }

    /// A filled marker with a thin white edge, so that overlapping ones stay apart.
    pub(crate) fn marker(&mut self, at: Point, marker: Marker, radius: f64, colour: Colour) {
        self.shape(at, marker, radius + 0.7, WHITE);
        self.shape(at, marker, radius, colour);
    }

    /// An open marker.
    pub(crate) fn open_marker(&mut self, at: Point, marker: Marker, radius: f64, colour: Colour) {
        self.shape(at, marker, radius, colour);
        self.shape(at, marker, radius - 1.1, WHITE);
    }

    /// A marker without an edge.
    pub(crate) fn shape(&mut self, (x, y): Point, marker: Marker, r: f64, colour: Colour) {
        let points = match marker {
            Marker::Circle => {
                self.marks.push(Mark::Disc { centre: (x, y), radius: r, colour });
                return;
            }
            // Sizes are chosen so that the shapes have about the same area.
            Marker::Square => {
                let s = r * 0.9;
                vec![(x - s, y - s), (x + s, y - s), (x + s, y + s), (x - s, y + s)]
            }
            Marker::Triangle => {
                let s = r * 1.25;
                vec![(x, y - s), (x + s * 0.9, y + s * 0.6), (x - s * 0.9, y + s * 0.6)]
            }
            Marker::Diamond => {
                let s = r * 1.25;
                vec![(x, y - s), (x + s, y), (x, y + s), (x - s, y)]
            }
        };
        self.fill(points, colour);
    }

    /// A short sample of a style for the legend, around `at`, `length` wide.
    pub(crate) fn sample(&mut self, (x, y): Point, length: f64, style: Style, marked: bool) {
        self.line(&[(x - length / 2.0, y), (x + length / 2.0, y)], style.dash, style.colour, style.width);
        if marked {
            self.marker((x, y), style.marker, 3.4, style.colour);
        }
    }

    /// An arrow from `from` to the tip `to`.
    pub(crate) fn arrow(&mut self, from: Point, to: Point, colour: Colour, width: f64) {
        let ((x0, y0), (x1, y1)) = (from, to);
        let length = (x1 - x0).hypot(y1 - y0).max(1e-9);
        let (dx, dy) = ((x1 - x0) / length, (y1 - y0) / length);
        let (head, half) = (2.0 + 2.2 * width, 1.2 + 1.3 * width);
        let base = (x1 - dx * head, y1 - dy * head);
        self.line(&[from, base], &[], colour, width);
        let corner = |side: f64| (base.0 - dy * half * side, base.1 + dx * half * side);
        self.fill(vec![to, corner(1.0), corner(-1.0)], colour);
    }

    /// A white corner: the sign of a value that is less than its neighbours are, such as a mean over fewer prompts.
    pub(crate) fn cut(&mut self, (x0, y0): Point, (x1, y1): Point) {
        let side = ((x1 - x0).min(y1 - y0) * 0.5).min(7.0);
        self.fill(vec![(x1 - side, y0), (x1, y0), (x1, y0 + side)], WHITE);
        self.line(&[(x1 - side, y0), (x1, y0 + side)], &[], GREY, 0.5);
    }

    /// Diagonal strokes over a rectangle: the sign of a value that is not there.
    pub(crate) fn hatch(&mut self, (x0, y0): Point, (x1, y1): Point, colour: Colour) {
        let (w, h) = (x1 - x0, y1 - y0);
        let mut offset = 3.0;
        while offset < w + h {
            let from = if offset <= h { (x0, y0 + offset) } else { (x0 + offset - h, y1) };
            let to = if offset <= w { (x0 + offset, y0) } else { (x1, y0 + offset - w) };
            self.line(&[from, to], &[], colour, 0.7);
            offset += 4.0;
        }
    }
}

/// Width of a text as it will be drawn.
pub(crate) fn text_width(text: &Text) -> f64 {
    text::width(&text.text, text.size, text.bold)
}

fn dashes(points: &[Point], dash: &[f64]) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    let Some(&first) = points.first() else { return pieces };
    let (mut index, mut left, mut piece) = (0, dash[0], vec![first]);
    for pair in points.windows(2) {
        let ((mut x, mut y), (x1, y1)) = (pair[0], pair[1]);
        loop {
            let length = (x1 - x).hypot(y1 - y);
            if length <= left {
                left -= length;
                if index % 2 == 0 {
                    piece.push((x1, y1));
                }
                break;
            }
            let t = left / length;
            (x, y) = (x + (x1 - x) * t, y + (y1 - y) * t);
            if index % 2 == 0 {
                piece.push((x, y));
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![(x, y)];
            }
            index += 1;
            left = dash[index % dash.len()];
        }
    }
    if index % 2 == 0 {
        pieces.push(piece);
    }
    pieces
}
