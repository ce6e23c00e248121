//! Scores by position: which layer, which head, at which token.

use std::collections::BTreeMap;

use crate::draw::drawing::Drawing;
use crate::draw::grid::{Cell, Grid, LEFT, LONGEST_TOKEN, Layer, RIGHT};
use crate::draw::page::{MARGIN, Page, WIDTH};
use crate::draw::text::{capital, significant, token};
use crate::entry::Figure;
use crate::error::Error;
use crate::figures::maps;
use crate::read::about::About;
use crate::read::columns::nothing;
use crate::read::group::{Group, Score};
use crate::read::scores::HeadScores;
use crate::read::tables::Tables;

const NAME: &str = "head_positions";

/// Above, by layer and position, the strongest head of each layer there; below, the layer of the strongest place of
/// all, by head and position, or, of single entries of the pattern, that head's by query and key.
pub(crate) const FIGURE: Figure = Figure {
    name: NAME,
    doc: "Scores by position: each layer's strongest head at each token, and the heads of the strongest layer",
    tables: &["head_scores"],
    draw,
};

fn draw(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    let read = HeadScores::read(NAME, tables)?;
    let groups = read.shaped(|place| place.position.is_some());
    if groups.is_empty() {
        return Err(nothing(NAME, "head_scores", "a null prompt and a position", "score with --by-position"));
    }
    Ok(groups.iter().map(|group| one(&read, group, &columns(&groups, group), about)).collect())
}

/// The columns of a map by position.
struct Columns {
    count: u64,
    from_end: bool,
    labels: Vec<String>,
    /// Some labels are positions, where the prompts differ.
    mixed: bool,
}

/// As many columns as any group of the task with the same count of positions has; tokens for labels where the
/// prompts agree.
fn columns(groups: &[Group], group: &Group) -> Columns {
    let alike = groups
        .iter()
        .filter(|g| (g.from_end, &g.task) == (group.from_end, &group.task))
        .flat_map(|g| &g.scores);
    let most = alike.filter_map(|s| s.place.position).max().unwrap_or(0);
    let count = if group.from_end { most.max(1) } else { most + 1 };
    let mut columns = Columns { count, from_end: group.from_end, labels: Vec::new(), mixed: false };
    let mut tokens = BTreeMap::new();
    for score in &group.scores {
        if let (Some(position), Some(text)) = (score.place.position, &score.token) {
            tokens.insert(columns.of(position), token(text, LONGEST_TOKEN));
        }
    }
    if !tokens.is_empty() {
        let number = |i: u64| if columns.from_end { count - i } else { i }.to_string();
        columns.mixed = (tokens.len() as u64) < count;
        columns.labels = (0..count).map(|i| tokens.get(&i).cloned().unwrap_or_else(|| number(i))).collect();
    }
    columns
}

impl Columns {
    /// The column of a position; the last token stands at the right end.
    fn of(&self, position: u64) -> u64 {
        if self.from_end { self.count.saturating_sub(position) } else { position }
    }

    fn axis(&self) -> &'static str {
        match (self.labels.is_empty(), self.from_end) {
            (false, true) if self.mixed => "token, or position from the end",
            (false, false) if self.mixed => "token, or position from the start",
            (false, _) => "token",
            (true, false) => "position",
            (true, true) => "position, counted from the end (1: the last token)",
        }
    }

    fn grid(&self, rows: u64, row_axis: &str) -> Grid {
        let area = (WIDTH - 2.0 * MARGIN - LEFT - RIGHT, if rows > 16 { 300.0 } else { 200.0 });
        let grid = Grid::fit(rows, self.count, area, (row_axis, self.axis()));
        Grid { column_labels: self.labels.clone(), from_end: self.from_end, ..grid }
    }
}

fn one(read: &HeadScores, group: &Group, columns: &Columns, about: &About) -> Drawing {
    let mut best = BTreeMap::<Cell, &Score>::new();
    for score in &group.scores {
        let Some(position) = score.place.position else { continue };
        let known = best.entry((score.place.layer, columns.of(position))).or_insert(score);
        if group.stronger(score, known) {
            *known = score;
        }
    }
    let top = group.ranked().first().copied();
    let whole = group.scores.iter().all(|s| s.place.head.is_none() && s.place.neuron.is_none());
    let what = if group.scores.iter().any(|s| s.place.neuron.is_some()) { "neuron" } else { "head" };
    let title = if whole { "Every layer".to_owned() } else { format!("Each layer's strongest {what}") };
    let cell = |s: &Score| s.place.position.map(|p| (s.place.layer, columns.of(p)));
    let overview = layer(best.into_iter(), top.and_then(cell), title);
    let (layers, _) = read.extent(&group.component);
    let detail = top.filter(|_| !whole).and_then(|top| detail(read, group, columns, top));

    let title =
        format!("{} of {}: {}{}", group.method_name(), group.component, group.axis(), group.on_task());
    let read_of = [format!("{layers} layers × {} positions", columns.count), group.sample()];
    let mut page = Page::new(WIDTH, &title, &group.about(about).line(&read_of));
    let mut cells = layers * columns.count;
    let mut panels = vec![&overview];
    if let Some((grid, layer)) = &detail {
        cells += if grid.sparse { layer.scores.len() as u64 } else { grid.rows * grid.columns };
        panels.push(layer);
    }
    maps::legend(&mut page, &panels, &[group], cells);
    let ramp = group.ramp();
    let grids = [(columns.grid(layers, "layer"), &overview)];
    for (grid, layer) in grids.into_iter().chain(detail.as_ref().map(|(grid, layer)| (grid.clone(), layer))) {
        page.top += 8.0 + grid.title_height(layer);
        grid.draw(&mut page.canvas, (MARGIN + LEFT, page.top), layer, &ramp);
        page.top += grid.height() + grid.under();
    }
    let named = top
        .map(|top| format!("{}: {}{}.", capital(&group.superlative()), top.place.name(), at(top, columns)));
    let from_end = "Positions count from the last token, so that prompts of unequal length agree at the end.";
    let notes = [
        format!("{} {}", named.unwrap_or_default(), group.meaning()),
        if columns.from_end { from_end.to_owned() } else { String::new() },
    ];
    let bottom = page.top;
    let end = if columns.from_end { "from_end" } else { "" };
    page.finish(
        &[NAME, &group.method, &group.component, &group.direction, &group.metric, end, &group.task],
        bottom,
        &notes,
    )
}

/// The second panel, where the strongest place is a head's.
fn detail(read: &HeadScores, group: &Group, columns: &Columns, top: &Score) -> Option<(Grid, Layer)> {
    let (head, position) = (top.place.head?, top.place.position?);
    if let Some(key) = top.place.key {
        let own =
            group.scores.iter().filter(|s| (s.place.layer, s.place.head) == (top.place.layer, Some(head)));
        let cells = own.filter_map(|s| Some(((columns.of(s.place.position?), columns.of(s.place.key?)), s)));
        let title = format!("Entries of the pattern of {}, by query (rows) and key", top.place.name());
        let layer = layer(cells, Some((columns.of(position), columns.of(key))), title);
        let area = (320.0, 320.0);
        let grid = Grid::fit(columns.count, columns.count, area, ("query position", "key"));
        let grid =
            Grid { column_labels: columns.labels.clone(), from_end: columns.from_end, sparse: true, ..grid };
        return Some((grid, layer));
    }
    let own = group.scores.iter().filter(|s| s.place.layer == top.place.layer);
    let cells = own.filter_map(|s| Some(((s.place.head?, columns.of(s.place.position?)), s)));
    let layer =
        layer(cells, Some((head, columns.of(position))), format!("The heads of layer {}", top.place.layer));
    Some((columns.grid(read.extent(&group.component).1, group.heads_are()), layer))
}

fn layer<'a>(cells: impl Iterator<Item = (Cell, &'a Score)>, outlined: Option<Cell>, title: String) -> Layer {
    let mut layer = Layer { title, outlined: outlined.into_iter().collect(), ..Layer::default() };
    for (cell, score) in cells {
        layer.scores.insert(cell, score.estimate.map(|e| e.at));
        if score.partial {
            layer.cut.insert(cell);
        }
    }
    layer
}

/// Where the strongest place is, in words.
fn at(top: &Score, columns: &Columns) -> String {
    let Some(position) = top.place.position else { return String::new() };
    let way = if columns.from_end { " from the end" } else { "" };
    let text = top.token.as_ref().map_or(String::new(), |t| format!(" (“{}”)", token(t, LONGEST_TOKEN)));
    let key = top.place.key.map_or(String::new(), |key| format!(", key {key}"));
    let value = top.estimate.map_or(String::new(), |e| format!(", {}", significant(e.at)));
    format!(" at position {position}{way}{text}{key}{value}")
}
