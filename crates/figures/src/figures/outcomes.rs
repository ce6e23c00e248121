//! How counting runs end.

use std::collections::BTreeMap;

use crate::draw::axis::Axis;
use crate::draw::drawing::Drawing;
use crate::draw::estimate::Estimate;
use crate::draw::page::{Key, MARGIN, Page, WIDTH};
use crate::draw::palette::{Colour, GREEN, GREY, INK, Marker, NO_VALUE, ORANGE, SKY, VERMILLION, WHITE};
use crate::draw::panel::{Panel, more_lines};
use crate::entry::Figure;
use crate::error::Error;
use crate::read::about::About;
use crate::read::columns::nothing;
use crate::read::counts::{Count, Counts};
use crate::read::tables::Tables;

const NAME: &str = "outcomes";

pub(crate) const FIGURE: Figure = Figure {
    name: NAME,
    doc: "How counting runs end: the shares of the five outcomes at each N, a panel for each condition",
    tables: &["count_summary", "conditions"],
    draw,
};

/// The five outcomes from the bottom of a bar to its top: what stops first, what never ends last.
const OUTCOMES: [(&str, &str, Colour); 5] = [
    ("clean_stop_share", "clean stop", GREEN),
    ("broke_off_stopped_share", "broke off, stopped", SKY),
    ("no_attempt_share", "no attempt", Colour::hex(0xb8b8b8)),
    ("broke_off_endless_share", "broke off, endless", ORANGE),
    ("phrase_loop_share", "phrase loop", VERMILLION),
];
const EXACT: &str = "exact_share";

/// What one panel shows, by N.
#[derive(Default)]
struct Bars<'a> {
    name: String,
    shares: BTreeMap<u64, [Option<f64>; 5]>,
    exact: BTreeMap<u64, Estimate>,
    rows: Vec<&'a Count>,
    /// Those of the exact counts, which may be of fewer runs.
    exact_rows: Vec<&'a Count>,
}

fn draw(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    let counts = Counts::read(NAME, tables)?;
    let mut panels: BTreeMap<usize, Bars<'_>> = BTreeMap::new();
    for row in counts.rows.iter().filter(|r| r.pool.is_empty()) {
        let outcome = OUTCOMES.iter().position(|(name, ..)| *name == row.quantity);
        if outcome.is_none() && row.quantity != EXACT {
            continue;
        }
        let bars = panels.entry(row.condition.order).or_default();
        bars.name = row.condition.name();
        match (outcome, row.estimate) {
            (Some(outcome), estimate) => {
                bars.shares.entry(row.n).or_default()[outcome] = estimate.map(|e| e.at);
                bars.rows.push(row);
            }
            (None, Some(estimate)) => {
                bars.exact.insert(row.n, estimate);
                bars.exact_rows.push(row);
            }
            (None, None) => {}
        }
    }
    panels.retain(|_, bars| bars.shares.values().flatten().any(Option::is_some));
    if panels.is_empty() {
        return Err(nothing(
            NAME,
            "count_summary",
            "a share of an outcome over all pools",
            "run the count sweep",
        ));
    }
    let size = Counts::size(panels.values().flat_map(|b| b.rows.iter().copied()));
    let exact_size = Counts::size(panels.values().flat_map(|b| b.exact_rows.iter().copied()));
    let mut page = Page::new(WIDTH, "How counting runs end", &about.line(std::slice::from_ref(&size)));
    let mut legend: Vec<(Key, String)> =
        OUTCOMES.iter().map(|(_, name, colour)| (Key::Patch(*colour), (*name).to_owned())).collect();
    let exact = panels.values().any(|b| !b.exact.is_empty());
    if exact {
        legend.push((Key::Filled(Marker::Diamond, INK), "exact count".to_owned()));
    }
    page.legend(&legend);
    let asked = counts.asked();
    let per_row = match panels.len() {
        1 => 1,
        2 | 4 => 2,
        _ => 3,
    };
    let left = 62.0;
    let gap = 16.0;
    let width = (WIDTH - MARGIN - left - gap * (per_row as f64 - 1.0)) / per_row as f64;
    let height = if per_row == 1 { 220.0 } else { 120.0 };
    let rows = panels.len().div_ceil(per_row);
    let mut bottom = page.top;
    let all: Vec<Bars<'_>> = panels.into_values().collect();
    let more = more_lines(all.iter().map(|b| b.name.as_str()), width);
    for (i, bars) in all.iter().enumerate() {
        let (row, column) = (i / per_row, i % per_row);
        let left = left + column as f64 * (width + gap);
        let top = page.top + 28.0 + more + row as f64 * (height + 46.0 + more);
        // The last panel of each column names the axis.
        let named = i + per_row >= all.len();
        let x = Axis::slots(&asked, "N, repetitions asked for");
        let panel = Panel {
            left,
            right: left + width,
            top,
            bottom: top + height,
            x,
            y: Axis::share("share of runs"),
        };
        panel.frame(&mut page.canvas, &bars.name, named || row + 1 == rows, column == 0);
        draw_bars(&mut page, &panel, bars, &asked);
        bottom = f64::max(bottom, panel.bottom + 38.0);
    }
    let exact = if exact {
        let of = if exact_size == size { String::new() } else { format!(" ({exact_size})") };
        format!(
            " Exact count: N copies and then the end, of the runs whose N copies fit the window and the token \
             limit{of}, with its 95 % interval; its share is thus not one of all runs."
        )
    } else {
        String::new()
    };
    let note = format!(
        "Clean stop: copies only, then the end token. Broke off: other text after the copies. Endless: until the \
         window was full or the token limit was reached. Phrase loop: copies only, endless. No attempt: fewer \
         than two copies generated.{exact}"
    );
    Ok(vec![page.finish(&[NAME], bottom, &[note])])
}

fn draw_bars(page: &mut Page, panel: &Panel, bars: &Bars<'_>, asked: &[u64]) {
    let half = (panel.px(1.0) - panel.px(0.0)).abs().min(46.0) * 0.36;
    for (slot, n) in asked.iter().enumerate() {
        let x = panel.px(slot as f64);
        let Some(shares) = bars.shares.get(n).filter(|s| s.iter().any(Option::is_some)) else {
            let (from, to) = ((x - half, panel.py(1.0)), (x + half, panel.py(0.0)));
            page.canvas.rect(from, to, NO_VALUE);
            page.canvas.hatch(from, to, GREY);
            continue;
        };
        let mut below = 0.0;
        for (share, (.., colour)) in shares.iter().zip(OUTCOMES) {
            let share = share.unwrap_or(0.0);
            if share > 0.0 {
                let (y0, y1) = (panel.py(below), panel.py(below + share));
                page.canvas.rect((x - half, y1), (x + half, y0), colour);
                page.canvas.line(&[(x - half, y1), (x + half, y1)], &[], WHITE, 0.6);
            }
            below += share;
        }
        if let Some(exact) = bars.exact.get(n) {
            if exact.interval.is_some() {
                // The axis has a little room beyond both ends, where no share can be.
                let ends = [exact.low(), exact.high()].map(|v| panel.at((slot as f64, v.clamp(0.0, 1.0))));
                page.canvas.line(&ends, &[], INK, 1.1);
            }
            panel.marker(&mut page.canvas, (slot as f64, exact.at), Marker::Diamond, 2.8, INK);
        }
    }
}
