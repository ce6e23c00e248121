//! What stands around the panels: title, caption line, legend, footnotes. The legend has rows of its own between
//! the title and the panels, so it can never cover data.

use crate::draw::canvas::{Anchor, Canvas, Text, text_width};
use crate::draw::drawing::Drawing;
use crate::draw::palette::{Colour, GREY, INK, Marker, NO_VALUE, REFERENCE, RULE, Style};
use crate::draw::text::wrap;

pub(crate) const MARGIN: f64 = 18.0;
/// The width of a page: at the width of a paper's text, its smallest letters are still read.
pub(crate) const WIDTH: f64 = 680.0;
const TITLE: f64 = 15.0;
const SMALL: f64 = 9.5;
const LEGEND: f64 = 10.5;
const KEY: f64 = 30.0;
/// Room of a sign that is no line.
const SMALL_KEY: f64 = 14.0;

/// The sign in front of a legend's text.
pub(crate) enum Key {
    /// A line, with its marker where the data have markers.
    Line(Style, bool),
    Open(Marker, Colour),
    Filled(Marker, Colour),
    Rule,
    Outline(Colour),
    Hatch,
    /// A cell with a cut corner.
    Cut,
    /// A bar's or an area's colour.
    Patch(Colour),
    /// A value that is a lower bound.
    Arrow(Colour),
}

impl Key {
    fn width(&self) -> f64 {
        match self {
            Self::Line(..) | Self::Rule => KEY,
            Self::Open(..) | Self::Filled(..) | Self::Outline(_) | Self::Hatch | Self::Cut => SMALL_KEY,
            Self::Patch(_) | Self::Arrow(_) => SMALL_KEY,
        }
    }
}

/// A page that grows from top to bottom.
pub(crate) struct Page {
    pub(crate) canvas: Canvas,
    pub(crate) width: f64,
    /// Where the next thing may start.
    pub(crate) top: f64,
}

impl Page {
    pub(crate) fn new(width: f64, title: &str, caption: &str) -> Self {
        let mut page = Self { canvas: Canvas::default(), width, top: MARGIN };
        for line in wrap(title, TITLE, true, width - 2.0 * MARGIN) {
            page.top += TITLE;
            page.canvas.text(Text::new((MARGIN, page.top - 3.0), Anchor::Start, TITLE, INK, line).bold());
            page.top += 4.0;
        }
        page.lines(caption);
        page
    }

    /// Small grey text over the whole width.
    fn lines(&mut self, text: &str) {
        for line in wrap(text, SMALL, false, self.width - 2.0 * MARGIN) {
            self.top += SMALL + 4.0;
            self.canvas.text(Text::new((MARGIN, self.top - 2.0), Anchor::Start, SMALL, GREY, line));
        }
    }

    /// The legend, in as many rows as it needs.
    pub(crate) fn legend(&mut self, entries: &[(Key, String)]) {
        let mut x = MARGIN;
        self.top += LEGEND + 10.0;
        for (key, label) in entries {
            let sign = key.width() + 5.0;
            let text = Text::new((0.0, 0.0), Anchor::Start, LEGEND, INK, label.clone());
            let length = sign + text_width(&text);
            if x > MARGIN && x + length > self.width - MARGIN {
                x = MARGIN;
                self.top += LEGEND + 6.0;
            }
            self.key(key, x, self.top - LEGEND * 0.36);
            // A reason may be longer than the page is wide.
            for (i, line) in
                wrap(label, LEGEND, false, self.width - MARGIN - x - sign).into_iter().enumerate()
            {
                self.top += if i > 0 { LEGEND + 4.0 } else { 0.0 };
                self.canvas.text(Text { at: (x + sign, self.top), text: line, ..text.clone() });
            }
            x += length + 20.0;
        }
        self.top += 4.0;
    }

    fn key(&mut self, key: &Key, x: f64, y: f64) {
        let (canvas, middle) = (&mut self.canvas, x + key.width() / 2.0);
        let (corner, opposite) = ((middle - 6.0, y - 5.5), (middle + 6.0, y + 5.5));
        match key {
            Key::Line(style, marked) => canvas.sample((middle, y), KEY, *style, *marked),
            Key::Open(marker, colour) => canvas.open_marker((middle, y), *marker, 4.2, *colour),
            Key::Filled(marker, colour) => canvas.marker((middle, y), *marker, 4.2, *colour),
            Key::Rule => canvas.line(&[(x, y), (x + KEY, y)], RULE, INK, 1.0),
            Key::Outline(colour) => canvas.outline(corner, opposite, *colour, 2.0),
            Key::Patch(colour) => canvas.rect(corner, opposite, *colour),
            Key::Cut => {
                canvas.rect(corner, opposite, REFERENCE);
                canvas.cut(corner, opposite);
            }
            Key::Arrow(colour) => {
                canvas.marker((middle, y + 4.0), Marker::Circle, 3.0, *colour);
                canvas.arrow((middle, y + 2.0), (middle, y - 8.0), *colour, 1.4);
            }
            Key::Hatch => {
                canvas.rect(corner, opposite, NO_VALUE);
                canvas.hatch(corner, opposite, GREY);
            }
        }
    }

    /// Ends the page under the panels, with footnotes such as what the bands are. `name` is the drawing's: the
    /// figure's, and, where it gives several, what tells them apart.
    pub(crate) fn finish(mut self, name: &[&str], bottom: f64, footnotes: &[String]) -> Drawing {
        self.top = bottom + 2.0;
        for note in footnotes.iter().filter(|note| !note.is_empty()) {
            self.lines(note);
        }
        let name = name
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| file_part(part))
            .collect::<Vec<_>>()
            .join(".");
        Drawing { name, width: self.width, height: self.top + MARGIN - 6.0, marks: self.canvas.marks }
    }
}

/// A part of a file's name: everything but letters, digits, `_` and `-` becomes `-`.
fn file_part(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}
