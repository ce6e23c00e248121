//! A training run: the loss, and when the induction heads form.

use std::collections::BTreeMap;

use crate::draw::axis::Axis;
use crate::draw::canvas::{Anchor, Text};
use crate::draw::drawing::Drawing;
use crate::draw::page::{Key, Page};
use crate::draw::palette::{GREY, INK, Marker, REFERENCE, Style, category, viridis};
use crate::draw::panel::{LABEL, Panel, TICK};
use crate::draw::text::{number, width};
use crate::entry::Figure;
use crate::error::Error;
use crate::read::about::About;
use crate::read::columns::{Table, label, value};
use crate::read::tables::Tables;

/// Tokens seen, in order, with the value.
type Curve = Vec<(f64, f64)>;

/// Heads named at the end of their lines.
const NAMED: usize = 6;
const SMALLEST_NAMED: f64 = 0.1;

/// Loss against training tokens (top: training mixture, held out, and each kind of document) and the
/// prefix-matching score of every head (bottom) on the same axis, so that a fall of the one and a rise of the other
/// are seen together.
pub(crate) const FIGURE: Figure = Figure {
    name: "training",
    doc: "Loss of a training run, and the prefix-matching score of each head as it forms",
    tables: &["training_loss"],
    draw: training,
};

fn training(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    let table = Table::new("training", "training_loss", tables)?;
    let (quantity, part) = (table.text("quantity")?, table.text("part")?);
    let (tokens, measured) = (table.number("tokens")?, table.number("value")?);
    let (mut losses, mut heads) = (BTreeMap::<String, Curve>::new(), BTreeMap::<String, Curve>::new());
    let mut at_start = None;
    for row in 0..table.rows() {
        let (Some(tokens), Some(measured)) = (value(&tokens, row), value(&measured, row)) else { continue };
        let (curves, is_loss) = match label(&quantity, row) {
            "loss_nats" => (&mut losses, true),
            "prefix_matching" => (&mut heads, false),
            _ => continue,
        };
        if tokens <= 0.0 {
            // Not on a logarithmic axis; the one number that matters there goes into the footnote.
            if is_loss && label(&part, row) == "held_out" {
                at_start = Some(measured);
            }
            continue;
        }
        curves.entry(label(&part, row).to_owned()).or_default().push((tokens, measured));
    }
    if losses.is_empty() && heads.is_empty() {
        return Err(table.nothing(
            "quantity = loss_nats or prefix_matching after the first step",
            "train for at least one logged step",
        ));
    }
    for curve in losses.values_mut().chain(heads.values_mut()) {
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Ok(vec![draw(&losses, &heads, at_start, about)])
}

fn draw(
    losses: &BTreeMap<String, Curve>,
    heads: &BTreeMap<String, Curve>,
    at_start: Option<f64>,
    about: &About,
) -> Drawing {
    let all = || losses.values().chain(heads.values()).flatten();
    let low = all().map(|p| p.0).fold(f64::MAX, f64::min);
    let high = all().map(|p| p.0).fold(low * 2.0, f64::max);
    let x = Axis::decades(low, high, "training tokens (log scale)");
    let title = match (losses.is_empty(), heads.is_empty()) {
        (false, false) => "Training: loss and the formation of induction heads",
        (false, true) => "Training: loss",
        _ => "Training: when induction heads form",
    };
    let mut page = Page::new(800.0, title, &about.line(&[]));
    let (left, right) = (70.0, page.width - if heads.is_empty() { 24.0 } else { 60.0 });
    let mut bottom = page.top;
    if !losses.is_empty() {
        let curves = ordered(losses);
        let legend: Vec<(Key, String)> = curves
            .iter()
            .map(|(name, style, _)| (Key::Line(*style, false), name.replacen("held_out", "held out", 1)))
            .collect();
        page.legend(&legend);
        let top = page.top + 26.0;
        bottom = top + 230.0;
        let most = losses.values().flatten().map(|p| p.1).fold(0.1, f64::max);
        let y = Axis::linear(0.0, most, "loss (nats per token)");
        let panel = Panel { left, right, top, bottom, x: x.clone(), y };
        panel.frame(&mut page.canvas, "Loss", heads.is_empty(), true);
        for (_, style, curve) in curves {
            panel.line(&mut page.canvas, curve, style);
        }
    }
    if !heads.is_empty() {
        let top = bottom + 36.0;
        bottom = top + 190.0;
        let panel = Panel { left, right, top, bottom, x, y: Axis::unit("prefix matching (0 to 1)") };
        panel.frame(&mut page.canvas, "Prefix-matching score of each head", true, true);
        prefix_matching(&mut page, &panel, heads);
    }
    let note = at_start.map(|loss| {
        format!("Before training (0 tokens, not on the axis) the held-out loss is {} nats.", number(loss, 2))
    });
    let shown = (!heads.is_empty()).then(|| {
        format!("Named: the {NAMED} heads that end highest, where above {SMALLEST_NAMED}. The colour is the layer.")
    });
    page.finish(&["training"], bottom + 38.0, &shown.into_iter().chain(note).collect::<Vec<_>>())
}

/// Loss curves in the order in which they are drawn and named, each with its style.
fn ordered(losses: &BTreeMap<String, Curve>) -> Vec<(&str, Style, &Curve)> {
    let train = Style { colour: REFERENCE, marker: Marker::Circle, dash: &[], width: 1.0 };
    let held_out = Style { colour: INK, width: 2.4, ..train };
    let mut curves: Vec<(&str, Style, &Curve)> = [("train", train), ("held_out", held_out)]
        .into_iter()
        .filter_map(|(name, style)| losses.get(name).map(|curve| (name, style, curve)))
        .collect();
    let kinds = losses.iter().filter(|(name, _)| !["train", "held_out"].contains(&name.as_str()));
    curves.extend(
        kinds
            .enumerate()
            .map(|(i, (name, curve))| (name.as_str(), Style { width: 1.5, ..category(i) }, curve)),
    );
    curves
}

/// Layer and head of `L2H1`.
fn layer_and_head(name: &str) -> Option<(u64, u64)> {
    let (layer, head) = name.strip_prefix('L')?.split_once('H')?;
    Some((layer.parse().ok()?, head.parse().ok()?))
}

fn prefix_matching(page: &mut Page, panel: &Panel, heads: &BTreeMap<String, Curve>) {
    let layers = heads.keys().filter_map(|n| layer_and_head(n)).map(|h| h.0).max().unwrap_or(0);
    // Not up to the yellow end: it cannot be seen on white.
    let colour = |name: &str| match layer_and_head(name) {
        Some((layer, _)) => viridis(0.85 * layer as f64 / layers.max(1) as f64),
        None => GREY,
    };
    let mut by_end: Vec<(&str, &Curve, f64)> =
        heads.iter().filter_map(|(name, c)| c.last().map(|last| (name.as_str(), c, last.1))).collect();
    // The strongest are drawn last, on top.
    by_end.sort_by(|a, b| a.2.total_cmp(&b.2).then_with(|| a.0.cmp(b.0)));
    let named = by_end.len().saturating_sub(NAMED);
    for (i, (name, curve, _)) in by_end.iter().enumerate() {
        let width = if i >= named { 1.8 } else { 1.0 };
        let style = Style { colour: colour(name), marker: Marker::Circle, dash: &[], width };
        panel.line(&mut page.canvas, curve, style);
    }
    // Names from the top down, each pushed below the one before it.
    let mut taken = f64::MIN;
    for (name, curve, end) in by_end.iter().rev().take(NAMED).filter(|h| h.2 >= SMALLEST_NAMED) {
        let own = panel.py(*end);
        let y = own.max(taken + TICK + 2.0);
        taken = y;
        let from = curve.last().map_or(panel.right, |last| panel.px(last.0));
        page.canvas.line(&[(from + 2.0, own), (from + 9.0, y)], &[], GREY, 0.7);
        let at = (from + 11.0, y + TICK * 0.36);
        page.canvas.text(Text::new(at, Anchor::Start, TICK, INK, (*name).to_owned()));
    }
    // The key of the layers, inside the title's line.
    let mut x = panel.right;
    let mut shown: Vec<u64> = (0..=layers).collect();
    if layers > 7 {
        shown = vec![0, layers / 2, layers];
    }
    for layer in shown.into_iter().rev() {
        let text = format!("layer {layer}");
        x -= width(&text, TICK, false);
        page.canvas.text(Text::new((x, panel.top - 8.0), Anchor::Start, TICK, INK, text));
        let y = panel.top - 8.0 - LABEL * 0.3;
        let colour = colour(&format!("L{layer}H0"));
        page.canvas.line(&[(x - 19.0, y), (x - 5.0, y)], &[], colour, 1.8);
        x -= 32.0;
    }
}
