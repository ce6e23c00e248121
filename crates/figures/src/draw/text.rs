//! The embedded font and how wide a text is in it.

use plotters::style::{FontStyle, IntoFont, register_font};
use std::sync::OnceLock;

use crate::error::Error;

/// The family as an SVG viewer reads it. The first is embedded for bitmaps and for measuring; the next one has the
/// same widths on most systems, the last is there everywhere.
pub(crate) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// Size that plotters takes for a text of one em in a bitmap: ab_glyph scales by ascent minus descent, which is
/// 2384 of DejaVu's 2048 units per em.
pub(crate) const BITMAP_SIZE_PER_EM: f64 = 2384.0 / 2048.0;

/// Size that plotters takes for one em in SVG, where it divides by this.
pub(crate) const SVG_SIZE_PER_EM: f64 = 1.24;

static REGULAR: &[u8] = include_bytes!("../../fonts/DejaVuSans.ttf");
static BOLD: &[u8] = include_bytes!("../../fonts/DejaVuSans-Bold.ttf");

/// Registers the embedded fonts with plotters, once per process.
pub(crate) fn register() -> Result<(), Error> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let ok = *DONE.get_or_init(|| {
        register_font(FAMILY, FontStyle::Normal, REGULAR).is_ok()
            && register_font(FAMILY, FontStyle::Bold, BOLD).is_ok()
    });
    if ok { Ok(()) } else { Err(Error::Font) }
}

/// Width of `text` at `size` (both in the canvas's units).
pub(crate) fn width(text: &str, size: f64, bold: bool) -> f64 {
    // Measured large: plotters rounds widths down to whole pixels.
    const EM: f64 = 1000.0;
    // A damaged font is reported when the drawing is made; a layout is needed before that.
    let guess = 0.6 * EM * text.chars().count() as f64;
    if register().is_err() {
        return guess * size / EM;
    }
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = (FAMILY, EM * BITMAP_SIZE_PER_EM, style).into_font();
    font.box_size(text).map_or(guess, |(w, _)| f64::from(w)) * size / EM
}

/// Breaks `text` at spaces into lines no wider than `limit`.
pub(crate) fn wrap(text: &str, size: f64, bold: bool, limit: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size, bold) <= limit => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A number with as many decimals as asked for and the true minus sign.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    match plain.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => plain,
    }
}

/// A share of 0 to 1 in per cent, rounded so that only none is 0 % and only all is 100 %.
pub(crate) fn percent(share: f64) -> String {
    let rounded = (share * 100.0).round();
    if share > 0.0 && rounded < 1.0 {
        "<1%".to_owned()
    } else if share < 1.0 && rounded > 99.0 {
        ">99%".to_owned()
    } else {
        format!("{rounded:.0}%")
    }
}
