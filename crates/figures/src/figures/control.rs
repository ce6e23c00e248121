//! How well the model keeps count under each intervention.

use arrow::array::RecordBatch;
use std::collections::{BTreeMap, BTreeSet};

use crate::read::about::About;
use crate::draw::axis::Axis;
use crate::draw::canvas::{Anchor, Text};
use crate::draw::drawing::Drawing;
use crate::entropy::{INTERVENTIONS, SETS, head_set};
use crate::error::Error;
use crate::draw::page::{Key, Page};
use crate::draw::palette::intervention as intervention_style;
use crate::draw::panel::{LABEL, Panel};
use crate::stats::{Estimate, bootstrap_median, wilson};
use crate::read::columns::{Table, index, label, value};

/// One generation.
struct Run {
    exact: bool,
    out_of_window: bool,
    overshoot: f64,
}

/// Head set (see [`head_set`]), intervention, N; then phrase.
type Cells = BTreeMap<(usize, usize, u64), BTreeMap<(u64, u64), Vec<Run>>>;

/// Overshoots below this are drawn on it: a run without a single copy has 0, which a logarithm does not show.
const FLOOR: f64 = 1.0 / 16.0;

/// Repetition control against N under each intervention: the share of exact counts, the overshoot, and the share of
/// runs that filled the context window; first row the induction heads, second row as many random heads, with the
/// run without intervention as the same grey line in both. Reads `count_sweep`.
///
/// # Errors
/// When a column is missing or of another type, or there is no run to show.
pub fn control(count_sweep: &RecordBatch, about: &About) -> Result<Drawing, Error> {
    let table = Table::new("control", "count_sweep", count_sweep)?;
    let (intervention, heads, pool) =
        (table.text("intervention")?, table.text("head_set")?, table.text("pool")?);
    let (n, prompt, overshoot) = (table.number("n")?, table.number("prompt")?, table.number("overshoot")?);
    let (outcome, exact) = (table.text("outcome")?, table.flag("exact")?);

    let mut cells = Cells::new();
    let mut pools = BTreeMap::new();
    for row in 0..table.rows() {
        let what = INTERVENTIONS.iter().position(|(name, _)| *name == label(&intervention, row));
        let (Some(what), Some(set), Some(asked), Some(overshoot)) =
            (what, head_set(label(&heads, row)), index(&n, row), value(&overshoot, row))
        else {
            continue;
        };
        if (set == 0) != (what == 0) || asked == 0 {
            continue;
        }
        let next = pools.len() as u64;
        let pool = *pools.entry(label(&pool, row).to_owned()).or_insert(next);
        let phrase = (pool, index(&prompt, row).unwrap_or(0));
        let run = Run {
            exact: exact.value(row),
            out_of_window: label(&outcome, row) == "out_of_window",
            overshoot,
        };
        cells.entry((set, what, asked)).or_default().entry(phrase).or_default().push(run);
    }
    let mut sets: Vec<usize> = [1, 2].into_iter().filter(|s| cells.keys().any(|k| k.0 == *s)).collect();
    if cells.is_empty() {
        return Err(table.nothing(
            "a known intervention (none, log, linear, constant) on a known head set (none, induction, random_*)",
            "run the count sweep with the interventions of docs/tables.md",
        ));
    }
    if sets.is_empty() {
        sets.push(0);
    }
    draw(&cells, &sets, about)
}

fn draw(cells: &Cells, sets: &[usize], about: &About) -> Result<Drawing, Error> {
    let counts: Vec<f64> =
        cells.keys().map(|k| k.2).collect::<BTreeSet<_>>().into_iter().map(|n| n as f64).collect();
    let runs: usize = cells.values().flatten().map(|(_, runs)| runs.len()).sum();
    let phrases = cells.values().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>().len();
    let caption = about.line(&[format!("{runs} runs on {phrases} phrases")]);
    let title = "Repetition control: does the model stop at N when heads are scaled down?";
    let mut page = Page::new(980.0, title, &caption);
    let legend: Vec<(Key, String)> = INTERVENTIONS
        .iter()
        .enumerate()
        .filter(|(what, _)| cells.keys().any(|k| k.1 == *what))
        .map(|(_, (name, text))| (Key::Line(intervention_style(name), true), (*text).to_owned()))
        .collect();
    page.legend(&legend);

    let over: BTreeMap<(usize, usize, u64), Estimate> =
        cells.iter().map(|(k, c)| (*k, overshoot(c))).collect();
    let seen = || over.values().flat_map(|e| [e.low, e.high]);
    let low = seen().fold(0.5, f64::min).max(FLOOR);
    let mut overshoot_axis = Axis::octaves(low, seen().fold(2.0, f64::max), 0.25, "median repetitions / N");
    if seen().any(|v| v < FLOOR) {
        overshoot_axis.open_below();
    }
    let names = ["Exact counts", "Overshoot (1 = exact)", "Filled the context window"];
    let axes = [Axis::share("share of runs"), overshoot_axis, Axis::share("share of runs")];
    let (left, gap, height, row_gap) = (68.0, 66.0, 190.0, 50.0);
    let width = (page.width - 20.0 - left - gap * 2.0) / 3.0;
    let mut top = page.top + 8.0;
    for (row, &set) in sets.iter().enumerate() {
        let last = row + 1 == sets.len();
        let row_title = if set == 0 { "No intervention" } else { SETS[set] };
        top += 16.0;
        page.canvas
            .text(Text::new((18.0, top), Anchor::Start, LABEL + 1.5, crate::palette::INK, row_title).bold());
        top += 28.0;
        for (column, y) in axes.iter().enumerate() {
            let left = left + column as f64 * (width + gap);
            let x = Axis::counts(&counts, "N, repetitions asked for");
            let panel = Panel { left, right: left + width, top, bottom: top + height, x, y: y.clone() };
            panel.frame(&mut page.canvas, names[column], last, true);
            if column == 1 {
                panel.rule(&mut page.canvas, 1.0);
            }
            for what in 0..INTERVENTIONS.len() {
                let of = if what == 0 { 0 } else { set };
                let points: Vec<(f64, Estimate)> = cells
                    .iter()
                    .filter(|(k, _)| (k.0, k.1) == (of, what))
                    .map(|(k, cell)| {
                        let estimate = match column {
                            0 => share(cell, |run| run.exact),
                            1 => over[k],
                            _ => share(cell, |run| run.out_of_window),
                        };
                        (dodge(k.2 as f64, what), estimate)
                    })
                    .collect();
                series(&mut page, &panel, &points, what);
            }
        }
        top += height + if last { 0.0 } else { row_gap - 26.0 };
    }
    let pooled = if sets.contains(&2) { " Random head sets are pooled." } else { "" };
    let notes = [format!(
        "Bars: 95 % intervals: of a share, Wilson's with the phrases (not the runs) as independent units; of the \
         overshoot, bootstrap of the median over whole phrases (1000 resamples). A run that filled the window counts \
         with the copies it made until then.{pooled}"
    )];
    Ok(page.finish(top + 38.0, &notes))
}

fn series(page: &mut Page, panel: &Panel, points: &[(f64, Estimate)], what: usize) {
    let style = intervention_style(INTERVENTIONS[what].0);
    let line: Vec<(f64, f64)> = points.iter().map(|(x, e)| (*x, e.at)).collect();
    panel.line(&mut page.canvas, &line, style);
    for (x, estimate) in points {
        panel.interval(&mut page.canvas, *x, *estimate, style, 3.2);
    }
}

/// Interventions stand side by side at each N, so that equal ones do not hide each other.
fn dodge(n: f64, what: usize) -> f64 {
    n * 2f64.powf((what as f64 - 1.5) * 0.13)
}

fn share(cell: &BTreeMap<(u64, u64), Vec<Run>>, of: impl Fn(&Run) -> bool) -> Estimate {
    let runs = || cell.values().flatten();
    wilson(runs().filter(|run| of(run)).count() as f64 / runs().count() as f64, cell.len())
}

fn overshoot(cell: &BTreeMap<(u64, u64), Vec<Run>>) -> Estimate {
    let groups: Vec<Vec<f64>> =
        cell.values().map(|runs| runs.iter().map(|run| run.overshoot).collect()).collect();
    bootstrap_median(&groups)
}
