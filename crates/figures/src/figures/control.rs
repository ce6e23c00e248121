//! What each intervention changed against no intervention, with the control sets beside it.

use crate::draw::drawing::Drawing;
use crate::draw::estimate::Estimate;
use crate::draw::page::{Key, MARGIN, Page, WIDTH};
use crate::draw::palette::{CONTROL_GREY, INK, Marker};
use crate::draw::rows::{ROW, Row, Rows, Sign, limits, rooms};
use crate::draw::text::{capital, number};
use crate::entry::Figure;
use crate::error::Error;
use crate::read::about::About;
use crate::read::columns::{Table, index, label, value};
use crate::read::conditions::Conditions;
use crate::read::tables::Tables;

const NAME: &str = "control";

/// A panel for each quantity, a row for each condition: the induction heads in colour, the control sets open and grey.
pub(crate) const FIGURE: Figure = Figure {
    name: NAME,
    doc: "What each intervention changed against no intervention, with intervals, and control sets beside it",
    tables: &["contrasts", "conditions"],
    draw,
};

/// What the rows of a panel are sorted by.
type Order = (usize, bool, usize);

fn draw(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    let conditions = Conditions::read(NAME, tables)?;
    let table = Table::new(NAME, "contrasts", tables)?;
    let (quantity, condition, test) =
        (table.text("quantity")?, table.text("condition")?, table.text("test")?);
    let (at, low, high) = (table.number("estimate")?, table.number("ci_low")?, table.number("ci_high")?);
    let (p, items) = (table.number("p_value")?, table.number("n_items")?);
    let (sets, as_much) = (table.number("random_sets")?, table.number("did_as_much")?);
    let measures = table.measures()?;
    let mut panels: Vec<(&str, Vec<(Order, Row)>)> = Vec::new();
    let (mut any, mut controls, mut compared) = (false, false, false);
    for row in 0..table.rows() {
        let of = conditions.get(NAME, label(&condition, row))?;
        let estimate =
            value(&at, row).map(|at| Estimate { at, interval: value(&low, row).zip(value(&high, row)) });
        any |= estimate.is_some();
        controls |= of.control;
        let mut note = Vec::new();
        if let Some(p) = value(&p, row) {
            note.push(p_value(p));
        }
        if let (Some(sets), Some(as_much)) = (index(&sets, row), index(&as_much, row)) {
            compared = true;
            note.push(format!("{as_much}/{sets}"));
        }
        let kind = conditions.kinds.iter().position(|k| *k == of.kind).unwrap_or(usize::MAX);
        let (sign, colour) = if of.control {
            (Sign::Open(Marker::Circle), CONTROL_GREY)
        } else {
            (Sign::Filled(of.style.marker), of.style.colour)
        };
        let note = if estimate.is_some() { note.join(" · ") } else { "no value".to_owned() };
        let shown = ((kind, of.control, of.order), Row { name: of.name(), estimate, colour, sign, note });
        match panels.iter_mut().find(|(known, _)| *known == label(&quantity, row)) {
            Some((_, rows)) => rows.push(shown),
            None => panels.push((label(&quantity, row), vec![shown])),
        }
    }
    if !any {
        return Err(table.nothing("an estimate", "see the column `reason`"));
    }
    for (_, rows) in &mut panels {
        rows.sort_by_key(|(key, _)| *key);
    }
    let most = (0..table.rows()).filter_map(|row| index(&items, row)).max().unwrap_or(0);
    let title = "What the interventions change, against no intervention";
    let mut page = Page::new(WIDTH, title, &about.line(&[format!("{most} items")]));
    let mut legend =
        vec![(Key::Filled(Marker::Circle, INK), "on the induction heads, or as the name says".to_owned())];
    if controls {
        legend.push((
            Key::Open(Marker::Circle, CONTROL_GREY),
            "control: random sets of the same size".to_owned(),
        ));
    }
    page.legend(&legend);
    let per_row = if panels.len() == 1 { 1 } else { 2 };
    let rows = || panels.iter().flat_map(|(_, rows)| rows.iter().map(|(_, row)| row));
    let (names, notes) = rooms(rows());
    let gap = 14.0;
    let left = MARGIN + names;
    let width = (WIDTH - MARGIN - left - gap * (per_row as f64 - 1.0)) / per_row as f64;
    let mut bottom = page.top;
    let mut top = page.top + 28.0;
    for pair in panels.chunks(per_row) {
        // The panels of a row share the names, and so the rows: what one lacks stays empty in it.
        let mut keys: Vec<((usize, bool, usize), &str)> = pair
            .iter()
            .flat_map(|(_, rows)| rows.iter().map(|(key, row)| (*key, row.name.as_str())))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        for (column, (quantity, rows)) in pair.iter().enumerate() {
            let blank = |name: &str| Row {
                name: name.to_owned(),
                estimate: None,
                colour: INK,
                sign: Sign::Bar,
                note: String::new(),
            };
            let rows: Vec<Row> = keys
                .iter()
                .map(|(key, name)| {
                    rows.iter().find(|(k, _)| k == key).map_or_else(|| blank(name), |(_, row)| row.clone())
                })
                .collect();
            let (title, axis) = name(quantity, measures.label(quantity));
            let left = left + column as f64 * (width + gap);
            let panel = Rows {
                left,
                right: left + width - notes,
                top,
                title: &title,
                title_width: width,
                axis: limits(rows.iter(), 0.0, &axis, 4.0),
                rule: 0.0,
            };
            bottom = f64::max(bottom, panel.draw(&mut page.canvas, &rows, column == 0));
        }
        top += ROW * (keys.len() as f64 + 0.4) + 66.0;
    }
    let mut tests: Vec<&str> =
        (0..table.rows()).map(|row| label(&test, row)).filter(|t| !t.is_empty()).collect();
    tests.sort_unstable();
    tests.dedup();
    let tests =
        if tests.is_empty() { String::new() } else { format!(" ({})", tests.join(", ").replace('_', " ")) };
    let compared = if compared {
        " The fraction: of how many random sets so many changed it as much, in the same direction."
    } else {
        ""
    };
    let note = format!(
        "Mean change over items with its 95 % interval; p: two-sided{tests}.{compared} Positive: more than without."
    );
    Ok(vec![page.finish(&[NAME], bottom, &[note])])
}

/// Title and axis of a quantity.
fn name(quantity: &str, label: Option<&str>) -> (String, String) {
    match (quantity, label) {
        (_, Some(label)) => (capital(label), format!("change of {label}")),
        ("exact_share", _) => ("Exact counts".to_owned(), "change of the share".to_owned()),
        ("endless_share", _) => ("Endless runs".to_owned(), "change of the share".to_owned()),
        ("clean_stop_share", _) => ("Clean stops".to_owned(), "change of the share".to_owned()),
        ("nll_nats", _) => ("Loss on ordinary text".to_owned(), "change (nats per token)".to_owned()),
        (other, None) => (capital(&other.replace('_', " ")), "change".to_owned()),
    }
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "p < .001".to_owned() } else { format!("p {}", number(p, 3).replacen("0.", ".", 1)) }
}
