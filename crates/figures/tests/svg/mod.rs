//! Reading an SVG back: its texts with the boxes that they fill.

#![allow(dead_code, reason = "shared by test files, each of which uses a part")]
#![allow(clippy::unwrap_used, reason = "a helper of a test may panic as a test may")]

use plotters::style::{FontStyle, IntoFont};
use refrain_figures::Drawing;

/// A text of an SVG with the box that it fills.
#[derive(Debug)]
pub struct Placed {
    pub text: String,
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

pub fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

fn number(tag: &str, name: &str) -> f64 {
    attribute(tag, name).unwrap_or_else(|| panic!("{name} in {tag}")).parse().unwrap()
}

/// Width and height of the view box.
pub fn view(svg: &str) -> (f64, f64) {
    let view: Vec<f64> = attribute(svg, "viewBox").unwrap().split(' ').map(|v| v.parse().unwrap()).collect();
    (view[2], view[3])
}

/// The texts of an SVG, each with the box from its baseline to the height of its capitals, by the font's own
/// widths.
pub fn texts(svg: &str) -> Vec<Placed> {
    svg.split("<text")
        .skip(1)
        .map(|piece| {
            let (tag, rest) = piece.split_once('>').unwrap();
            let text = rest.split("</text>").next().unwrap().trim();
            let text =
                text.replace("&lt;", "<").replace("&gt;", ">").replace("&apos;", "'").replace("&amp;", "&");
            let (x, y, em) = (number(tag, "x"), number(tag, "y"), number(tag, "font-size"));
            let style = if tag.contains("bold") { FontStyle::Bold } else { FontStyle::Normal };
            let family = attribute(tag, "font-family").unwrap();
            let font = (family, em * 2384.0 / 2048.0, style).into_font();
            let width = f64::from(font.box_size(&text).unwrap().0);
            let start = match attribute(tag, "text-anchor").unwrap() {
                "start" => 0.0,
                "middle" => -width / 2.0,
                _ => -width,
            };
            let (left, right) = (start, start + width);
            if tag.contains("rotate(270") {
                Placed { text, left: x, right: x + 0.76 * em, top: y - right, bottom: y - left }
            } else {
                Placed { text, left: x + left, right: x + right, top: y, bottom: y + 0.76 * em }
            }
        })
        .collect()
}

/// Whether a text of the drawing contains all of `wanted`, line breaks aside.
pub fn has(drawing: &Drawing, wanted: &str) -> bool {
    let all: Vec<String> = texts(&drawing.svg().unwrap()).into_iter().map(|t| t.text).collect();
    all.iter().any(|t| t.contains(wanted)) || all.join(" ").contains(wanted)
}

/// The corners of every filled polygon of a colour (`#RRGGBB`).
pub fn polygons(svg: &str, colour: &str) -> Vec<Vec<(f64, f64)>> {
    let with = format!("fill=\"{colour}\"");
    svg.split("<polygon")
        .skip(1)
        .map(|piece| piece.split("/>").next().unwrap())
        .filter(|tag| tag.contains(&with))
        .map(|tag| {
            let points = attribute(tag, "points").unwrap().split_whitespace();
            points
                .map(|pair| {
                    let (x, y) = pair.split_once(',').unwrap();
                    (x.parse().unwrap(), y.parse().unwrap())
                })
                .collect()
        })
        .collect()
}
