//! The strongest places as bars with intervals: heads, neurons and edges.

use crate::draw::drawing::Drawing;
use crate::draw::estimate::Estimate;
use crate::draw::page::{Key, MARGIN, Page, WIDTH};
use crate::draw::palette::{BLUE, Colour, VERMILLION};
use crate::draw::rows::{Row, Rows, Sign, limits, rooms};
use crate::draw::text::{capital, significant};
use crate::entry::Figure;
use crate::error::Error;
use crate::read::about::About;
use crate::read::columns::{Table, index, label, nothing, value};
use crate::read::group::{Group, Place};
use crate::read::scores::HeadScores;
use crate::read::tables::Tables;

/// Bars of one drawing.
const SHOWN: usize = 20;
/// Induction heads among others, and positive bars among negative ones: this colour.
const MARKED: Colour = VERMILLION;

pub(crate) const HEADS: Figure = Figure {
    name: "top_heads",
    doc: "The strongest heads with intervals: one drawing for each method, component, direction, metric and task",
    tables: &["head_scores"],
    draw: |tables, about| {
        let shape = |p: &Place| p.neuron.is_none() && p.position.is_none();
        places("top_heads", "head", tables, about, shape)
    },
};

pub(crate) const NEURONS: Figure = Figure {
    name: "top_neurons",
    doc: "The strongest neurons with intervals: one drawing for each method, direction, metric and task",
    tables: &["head_scores"],
    draw: |tables, about| {
        places("top_neurons", "neuron", tables, about, |p: &Place| p.neuron.is_some() && p.position.is_none())
    },
};

pub(crate) const EDGES: Figure = Figure {
    name: "top_edges",
    doc: "The strongest edges between components: one drawing for each method, direction and metric",
    tables: &["edge_scores"],
    draw: edges,
};

fn places(
    name: &'static str,
    what: &'static str,
    tables: &Tables,
    about: &About,
    shape: impl Fn(&Place) -> bool,
) -> Result<Vec<Drawing>, Error> {
    let read = HeadScores::read(name, tables)?;
    let groups = read.shaped(shape);
    // Twenty lists of detectors say less than their one drawing.
    // And one place is no ranking.
    let groups: Vec<&Group> = groups
        .iter()
        .filter(|g| (g.method != "detectors" || what == "neuron") && g.scores.len() > 1)
        .collect();
    if groups.is_empty() {
        let wanted = "a null prompt and position, at such a place, of a method other than `detectors`";
        return Err(nothing(name, "head_scores", wanted, "score heads or neurons"));
    }
    let drawings = groups.into_iter().map(|group| {
        let ranked = group.ranked();
        let rows: Vec<Row> = ranked
            .iter()
            .take(SHOWN)
            .map(|score| row(score.place.name(), score.estimate, score.selected))
            .collect();
        let whole = if group.scores.iter().all(|s| s.place.head.is_none() && s.place.neuron.is_none()) {
            "layer"
        } else {
            what
        };
        let first = if group.sequential { "highest" } else { "strongest" };
        let list = List {
            title: format!(
                "{} of {}: the {first} {whole}s{}",
                group.method_name(),
                group.component,
                group.on_task()
            ),
            caption: vec![count(rows.len(), ranked.len(), whole), group.sample()],
            axis: group.axis(),
            ranking: group.ranking(),
            meaning: group.meaning(),
            selected: rows.iter().any(|r| r.colour == MARKED),
            intervals: rows.iter().any(|r| r.estimate.is_some_and(|e| e.interval.is_some())),
            missing: group.scores.len() - ranked.len(),
            rows,
        };
        let of = [&group.method, &group.component, &group.direction, &group.metric, &group.task];
        let parts: Vec<&str> = std::iter::once(name).chain(of.into_iter().map(String::as_str)).collect();
        list.draw(&parts, &group.about(about))
    });
    Ok(drawings.collect())
}

fn edges(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    const NAME: &str = "top_edges";
    let table = Table::new(NAME, "edge_scores", tables)?;
    let (method, direction, metric) =
        (table.text("method")?, table.text("direction")?, table.text("metric")?);
    let (sender, receiver, input) =
        (table.text("sender")?, table.text("receiver")?, table.text("receiver_input")?);
    let (prompt, prompts) = (table.number("prompt")?, table.number("n_prompts")?);
    let (reading, effect) = (table.number("value")?, table.number("effect")?);
    let measures = table.measures()?;
    let mut groups: Vec<([&str; 3], Vec<usize>)> = Vec::new();
    for row in (0..table.rows()).filter(|row| value(&prompt, *row).is_none()) {
        let of = [&method, &direction, &metric].map(|column| label(column, row));
        match groups.iter_mut().find(|(known, _)| *known == of) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((of, vec![row])),
        }
    }
    if groups.is_empty() {
        return Err(table.nothing("a null prompt", "write the means over prompts as well"));
    }
    let drawings = groups.into_iter().map(|([name, way, metric], rows)| {
        let measure = measures.get(metric);
        let composition = name == "detectors";
        let shown =
            if composition || rows.iter().all(|r| value(&effect, *r).is_none()) { &reading } else { &effect };
        let mut ranked: Vec<(usize, f64)> =
            rows.iter().filter_map(|r| Some((*r, value(shown, *r)?))).collect();
        ranked.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        let bars = ranked.iter().take(SHOWN).map(|(r, at)| {
            let input = label(&input, *r);
            let to = label(&receiver, *r);
            let to = if input.is_empty() { to.to_owned() } else { format!("{to}.{input}") };
            row(format!("{} → {to}", label(&sender, *r)), Some(Estimate::bare(*at)), false)
        });
        let rows_shown: Vec<Row> = bars.collect();
        let way_text = if way.is_empty() { String::new() } else { format!(", {way}") };
        let title = if composition {
            format!("{}: the strongest edges", capital(&measure.label))
        } else {
            format!("{}{way_text}: the strongest edges", capital(&name.replace('-', " ")))
        };
        let n = rows.iter().filter_map(|r| index(&prompts, *r)).max();
        let list = List {
            title,
            caption: vec![
                count(rows_shown.len(), ranked.len(), "edge"),
                n.filter(|_| !composition).map_or(String::new(), |n| format!("{n} prompts")),
            ],
            axis: if std::ptr::eq(shown, &reading) {
                measure.axis()
            } else {
                format!("effect on {}", measure.label)
            },
            ranking: "Ranked by the distance from 0, either sign.".to_owned(),
            meaning: String::new(),
            selected: false,
            intervals: false,
            missing: rows.len() - ranked.len(),
            rows: rows_shown,
        };
        // Composition is read off the weights, without a task.
        let about = if composition { about.on("") } else { about.clone() };
        list.draw(&[NAME, name, way, metric], &about)
    });
    Ok(drawings.collect())
}

fn row(name: String, estimate: Option<Estimate>, marked: bool) -> Row {
    let note = estimate.map_or(String::new(), |e| significant(e.at));
    Row { name, estimate, colour: if marked { MARKED } else { BLUE }, sign: Sign::Bar, note }
}

fn count(shown: usize, all: usize, what: &str) -> String {
    if shown < all { format!("{shown} of {all} {what}s") } else { format!("all {all} {what}s") }
}

/// One drawing of bars.
struct List {
    title: String,
    caption: Vec<String>,
    axis: String,
    /// How the rows are ranked, and what the number means, in sentences.
    ranking: String,
    meaning: String,
    selected: bool,
    intervals: bool,
    /// Places without a value, or over fewer prompts than the others.
    missing: usize,
    rows: Vec<Row>,
}

impl List {
    fn draw(self, name: &[&str], about: &About) -> Drawing {
        let mut page = Page::new(WIDTH, &self.title, &about.line(&self.caption));
        if self.selected {
            page.legend(&[
                (Key::Patch(MARKED), "induction head, in H_ind".to_owned()),
                (Key::Patch(BLUE), "other head".to_owned()),
            ]);
        }
        let (names, notes) = rooms(self.rows.iter());
        let panel = Rows {
            left: MARGIN + names,
            right: WIDTH - MARGIN - notes,
            top: page.top + 16.0,
            title: "",
            title_width: 0.0,
            axis: limits(self.rows.iter(), 0.0, &self.axis, 8.0),
            rule: 0.0,
        };
        let bottom = panel.draw(&mut page.canvas, &self.rows, true);
        let interval = if self.intervals {
            " Whiskers: 95 % intervals of the table."
        } else {
            " The table has no intervals."
        };
        let missing = match self.missing {
            0 => String::new(),
            n => format!(" Not ranked: {n} without a value or over fewer prompts."),
        };
        page.finish(name, bottom, &[format!("{}{interval}{missing}", self.ranking), self.meaning])
    }
}
