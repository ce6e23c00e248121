//! What an intervention costs on ordinary text.

use crate::draw::drawing::Drawing;
use crate::draw::estimate::Estimate;
use crate::draw::page::{Key, MARGIN, Page, WIDTH};
use crate::draw::palette::{CONTROL_GREY, INK, Marker};
use crate::draw::rows::{Row, Rows, Sign, limits, rooms};
use crate::draw::text::number;
use crate::entry::Figure;
use crate::error::Error;
use crate::read::about::About;
use crate::read::columns::{Table, index, label, value};
use crate::read::conditions::Conditions;
use crate::read::tables::Tables;

const NAME: &str = "perplexity";

/// A row for each condition, with no intervention as the reference line.
pub(crate) const FIGURE: Figure = Figure {
    name: NAME,
    doc: "Perplexity of held-out text in each condition, with intervals, against no intervention",
    tables: &["perplexity", "conditions"],
    draw,
};

fn draw(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    let conditions = Conditions::read(NAME, tables)?;
    let table = Table::new(NAME, "perplexity", tables)?;
    let (condition, text) = (table.text("condition")?, table.number("text")?);
    let (score, low, high) = (table.number("perplexity")?, table.number("ci_low")?, table.number("ci_high")?);
    let (texts, tokens) = (table.number("n_texts")?, table.number("tokens")?);
    let (mut rows, mut reference) = (Vec::new(), None);
    let mut size = (0, 0);
    for row in (0..table.rows()).filter(|row| value(&text, *row).is_none()) {
        let of = conditions.get(NAME, label(&condition, row))?;
        let Some(at) = value(&score, row) else { continue };
        let estimate = Estimate { at, interval: value(&low, row).zip(value(&high, row)) };
        if of.baseline {
            reference = Some(at);
        }
        size = (index(&texts, row).unwrap_or(0).max(size.0), index(&tokens, row).unwrap_or(0).max(size.1));
        let kind = conditions.kinds.iter().position(|k| *k == of.kind);
        let (sign, colour) = if of.control {
            (Sign::Open(Marker::Circle), CONTROL_GREY)
        } else {
            (Sign::Filled(of.style.marker), of.style.colour)
        };
        let key = (!of.baseline, kind, of.control, of.order);
        rows.push((
            key,
            Row { name: of.name(), estimate: Some(estimate), colour, sign, note: number(at, 2) },
        ));
    }
    if rows.is_empty() {
        return Err(
            table.nothing("a null text (the pool over texts) and a perplexity", "write the pooled rows too")
        );
    }
    rows.sort_by_key(|(key, _)| *key);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let rule = reference.unwrap_or_else(|| rows[0].estimate.map_or(0.0, |e| e.at));
    let counted = [format!("{} texts, {} tokens", size.0, size.1)];
    let mut page = Page::new(WIDTH, "Cost of the interventions on ordinary text", &about.line(&counted));
    let mut legend =
        vec![(Key::Filled(Marker::Circle, INK), "on the induction heads, or as the name says".to_owned())];
    if rows.iter().any(|r| matches!(r.sign, Sign::Open(_))) {
        legend.push((
            Key::Open(Marker::Circle, CONTROL_GREY),
            "control: random sets of the same size".to_owned(),
        ));
    }
    if reference.is_some() {
        legend.push((Key::Rule, "no intervention".to_owned()));
    }
    page.legend(&legend);
    let (names, notes) = rooms(rows.iter());
    let panel = Rows {
        left: MARGIN + names,
        right: WIDTH - MARGIN - notes,
        top: page.top + 16.0,
        title: "",
        title_width: 0.0,
        axis: limits(rows.iter(), rule, "perplexity of held-out text", 7.0),
        rule,
    };
    let bottom = panel.draw(&mut page.canvas, &rows, true);
    let note = "Whiskers: 95 % intervals over texts. They show how much texts differ, not how sure the change is: for \
        the change itself see the figure `control`, which pairs the texts. The axis need not start at 0.";
    Ok(vec![page.finish(&[NAME], bottom, &[note.to_owned()])])
}
