//! How long the answer to "repeat this N times" is.

use arrow::array::RecordBatch;
use std::collections::BTreeMap;

use crate::read::about::About;
use crate::draw::axis::Axis;
use crate::draw::canvas::{Anchor, Canvas, Text};
use crate::draw::drawing::Drawing;
use crate::error::Error;
use crate::draw::page::{Key, Page};
use crate::draw::palette::{GREY, INK, Marker, Style, category};
use crate::draw::panel::{LABEL, Panel, TICK};
use crate::stats::{Estimate, bootstrap_median};
use crate::read::columns::{Table, index, label, value};
use crate::draw::text::percent;

const POOLS: [(&str, &str); 3] =
    [("top", "most frequent 1 % of words"), ("random", "random words"), ("last", "least frequent 1 %")];
const DECODINGS: [(&str, &str); 2] = [("greedy", "Greedy decoding"), ("sample", "Sampled decoding")];
/// Height of one row of the table of out-of-window shares.
const ROW: f64 = 13.0;

/// The runs of one pool at one N.
#[derive(Default)]
struct Cell {
    /// By phrase, so that intervals can draw whole phrases: length in copies, ran out of window.
    phrases: BTreeMap<u64, Vec<(f64, bool)>>,
}

impl Cell {
    fn runs(&self) -> impl Iterator<Item = &(f64, bool)> {
        self.phrases.values().flatten()
    }

    fn median(&self) -> Estimate {
        let groups: Vec<Vec<f64>> =
            self.phrases.values().map(|runs| runs.iter().map(|r| r.0).collect()).collect();
        bootstrap_median(&groups)
    }

    fn out_of_window(&self) -> f64 {
        self.runs().filter(|r| r.1).count() as f64 / self.runs().count() as f64
    }
}

/// Decoding, pool, N.
type Cells = BTreeMap<(usize, usize, u64), Cell>;

/// Length of the response against the number of repetitions asked for, one line per pool and one panel per decoding,
/// without intervention. The length is in copies of the phrase (response tokens / phrase tokens), so that phrases of
/// unequal length share the line of the exact answer. Reads `count_sweep`.
///
/// # Errors
/// When a column is missing or of another type, or no run is without intervention.
pub fn response_length(count_sweep: &RecordBatch, about: &About) -> Result<Drawing, Error> {
    let table = Table::new("response_length", "count_sweep", count_sweep)?;
    let (intervention, pool) = (table.text("intervention")?, table.text("pool")?);
    let (decoding, outcome) = (table.text("decoding")?, table.text("outcome")?);
    let (n, prompt) = (table.number("n")?, table.number("prompt")?);
    let (response, phrase) = (table.number("response_tokens")?, table.number("phrase_tokens")?);

    let mut cells = Cells::new();
    let mut runs = 0;
    for row in 0..table.rows() {
        let place = |names: &[(&str, &str)], name: &str| names.iter().position(|(n, _)| *n == name);
        let (Some(d), Some(p)) = (place(&DECODINGS, label(&decoding, row)), place(&POOLS, label(&pool, row)))
        else {
            continue;
        };
        let (Some(asked), Some(tokens), Some(size)) =
            (index(&n, row), value(&response, row), value(&phrase, row).filter(|s| *s > 0.0))
        else {
            continue;
        };
        if label(&intervention, row) != "none" || asked == 0 {
            continue;
        }
        let phrase = index(&prompt, row).unwrap_or(0);
        let out = label(&outcome, row) == "out_of_window";
        cells.entry((d, p, asked)).or_default().phrases.entry(phrase).or_default().push((tokens / size, out));
        runs += 1;
    }
    if cells.is_empty() {
        return Err(table.nothing(
            "intervention = none, decoding greedy or sample, and pool top, random or last",
            "run the count sweep without an intervention too",
        ));
    }

    let counts: Vec<f64> = distinct(cells.keys().map(|k| k.2)).map(|n| n as f64).collect();
    let decodings: Vec<usize> = distinct(cells.keys().map(|k| k.0)).collect();
    let pools: Vec<usize> = distinct(cells.keys().map(|k| k.1)).collect();
    let any_out = cells.values().any(|c| c.out_of_window() > 0.0);

    let about = about.line(&[format!("{runs} runs without intervention")]);
    let mut page =
        Page::new(920.0, "Length of the response against the number of repetitions asked for", &about);
    let mut legend: Vec<(Key, String)> =
        pools.iter().map(|&p| (Key::Line(category(p), true), POOLS[p].1.to_owned())).collect();
    legend.push((Key::Rule, "exact: N copies".to_owned()));
    legend.push((Key::Dot(Style { colour: GREY, ..category(0) }), "single run".to_owned()));
    if any_out {
        legend.push((Key::Open(Marker::Triangle, GREY), "run that filled the window".to_owned()));
    }
    page.legend(&legend);

    let lengths = || cells.values().flat_map(|c| c.runs().map(|r| r.0)).filter(|v| *v > 0.0);
    let low = lengths().chain(counts.iter().copied()).fold(f64::MAX, f64::min).max(0.25);
    let high = lengths().chain(counts.iter().copied()).fold(1.0, f64::max);
    let mut y = Axis::octaves(low, high, 0.3, "length of the response (copies of the phrase)");
    if cells.values().any(|c| c.runs().any(|r| r.0 < low)) {
        y.open_below();
    }
    let strip = ROW * pools.len() as f64 + 20.0;
    let top = page.top + strip + 34.0;
    let (left, right, gap) = (76.0, page.width - 18.0, 34.0);
    let count = decodings.len() as f64;
    let panel_width = (right - left - gap * (count - 1.0)) / count;
    for (column, &d) in decodings.iter().enumerate() {
        let from = left + column as f64 * (panel_width + gap);
        let panel = Panel {
            left: from,
            right: from + panel_width,
            top,
            bottom: top + 330.0,
            x: Axis::counts(&counts, "N, repetitions asked for"),
            y: y.clone(),
        };
        panel.frame(&mut page.canvas, "", true, column == 0);
        let at = (panel.left, top - strip - 12.0);
        page.canvas.text(Text::new(at, Anchor::Start, LABEL + 1.0, INK, DECODINGS[d].1).bold());
        shares(&mut page.canvas, &panel, &cells, d, &pools, column == 0);
        draw(&mut page.canvas, &panel, &cells, d, &pools, &counts);
    }
    let notes = [
        "Line: median over runs. Band: 95 % bootstrap interval of the median, whole phrases drawn (1000 resamples). \
         Length = response tokens / tokens of the phrase, prefilled repetitions included."
            .to_owned(),
        if any_out {
            "A run that filled the window would have gone on: its length is a lower bound.".to_owned()
        } else {
            String::new()
        },
    ];
    Ok(page.finish(top + 330.0 + 38.0, &notes))
}

/// The share of runs that filled the window, as a small table over the panel: pools down, N across.
fn shares(canvas: &mut Canvas, panel: &Panel, cells: &Cells, d: usize, pools: &[usize], named: bool) {
    let top = panel.top - ROW * pools.len() as f64 - 10.0;
    let title = "share of runs that filled the context window";
    canvas.text(Text::new((panel.left, top - 3.0), Anchor::Start, TICK - 0.5, GREY, title));
    let columns: Vec<u64> = distinct(cells.keys().filter(|k| k.0 == d).map(|k| k.2)).collect();
    let narrow = (panel.right - panel.left) / (columns.len() as f64 + 1.0) < 30.0;
    for (row, &p) in pools.iter().enumerate() {
        let y = top + ROW * (row as f64 + 1.0);
        let style = category(p);
        // The first panel names its rows by their markers; the others have theirs to the left as well.
        let at = (panel.left - if named { 12.0 } else { 10.0 }, y - 3.4);
        canvas.marker(at, style.marker, 3.2, style.colour);
        for &n in &columns {
            if let Some(cell) = cells.get(&(d, p, n)) {
                let share = cell.out_of_window();
                let colour = if share > 0.0 { style.colour } else { GREY };
                let mut text = Text::new(
                    (panel.px(n as f64), y),
                    Anchor::Middle,
                    if narrow { 7.5 } else { TICK - 0.5 },
                    colour,
                    percent(share),
                );
                text.bold = share > 0.0 && !narrow;
                canvas.text(text);
            }
        }
    }
}

fn draw(canvas: &mut Canvas, panel: &Panel, cells: &Cells, d: usize, pools: &[usize], counts: &[f64]) {
    let ends = [counts[0], counts[counts.len() - 1]];
    let exact: Vec<(f64, f64)> = ends.iter().map(|n| (panel.px(*n), panel.py(*n))).collect();
    let lines: Vec<(usize, Vec<(f64, Estimate)>)> = pools
        .iter()
        .map(|&p| {
            let of_pool = cells.iter().filter(|(k, _)| k.0 == d && k.1 == p);
            (p, of_pool.map(|(k, cell)| (k.2 as f64, cell.median())).collect())
        })
        .collect();
    for (p, line) in &lines {
        panel.band(canvas, line, category(*p).colour);
    }
    canvas.line(&exact, crate::palette::RULE, INK, 1.0);
    for (&(_, p, n), cell) in cells.iter().filter(|(k, _)| k.0 == d) {
        let slot = pools.iter().position(|x| *x == p).unwrap_or(0) as f64 - (pools.len() as f64 - 1.0) / 2.0;
        for (i, (length, out)) in cell.runs().enumerate() {
            // Pools stand side by side, and the runs of one spread by a fixed pattern: equal lengths stay countable.
            let x = panel.px(n as f64) + slot * 8.0 + ((i * 5) % 7) as f64 - 3.0;
            let at = (x, panel.py(*length));
            if *out {
                canvas.open_marker(at, Marker::Triangle, 3.0, category(p).colour);
            } else {
                canvas.shape(at, Marker::Circle, 1.3, category(p).colour.alpha(0.4));
            }
        }
    }
    for (p, line) in &lines {
        let style = category(*p);
        let points: Vec<(f64, f64)> = line.iter().map(|(n, e)| (*n, e.at)).collect();
        panel.line(canvas, &points, style);
        for at in points {
            panel.marker(canvas, at, style.marker, 3.6, style.colour);
        }
    }
}

fn distinct<T: Ord>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    items.collect::<std::collections::BTreeSet<T>>().into_iter()
}
