//! Effects by layer and head: one drawing for each method, direction, metric and task, a panel for each component.

use std::collections::BTreeSet;

use crate::draw::drawing::Drawing;
use crate::draw::grid::Layer;
use crate::draw::multiples::{self, Multiple};
use crate::draw::page::{Page, WIDTH};
use crate::entry::Figure;
use crate::error::Error;
use crate::figures::maps;
use crate::read::about::About;
use crate::read::columns::nothing;
use crate::read::group::{Group, Kind};
use crate::read::scores::HeadScores;
use crate::read::tables::Tables;

const NAME: &str = "head_effects";

pub(crate) const FIGURE: Figure = Figure {
    name: NAME,
    doc: "What changing or reading each head does, by layer and head: one drawing for each method, direction, metric \
        and task",
    tables: &["head_scores"],
    draw,
};

fn draw(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    let read = HeadScores::read(NAME, tables)?;
    let mut groups = read.shaped(|place| place.neuron.is_none() && place.position.is_none());
    groups.retain(|group| group.method != "detectors");
    let mut drawings = Vec::new();
    while let Some(first) = groups.first() {
        let key = |g: &Group| [&g.method, &g.direction, &g.metric, &g.task].map(String::clone);
        let of = key(first);
        let (own, rest) = groups.into_iter().partition(|g| key(g) == of);
        groups = rest;
        drawings.push(one(&read, &own, about));
    }
    if drawings.is_empty() {
        return Err(nothing(
            NAME,
            "head_scores",
            "a null prompt, neuron and position, of a method other than `detectors`",
            "score heads or layers",
        ));
    }
    Ok(drawings)
}

fn one(read: &HeadScores, groups: &[Group], about: &About) -> Drawing {
    let first = &groups[0];
    let (heads, whole): (Vec<&Group>, Vec<&Group>) =
        groups.iter().partition(|g| g.scores.iter().any(|s| s.place.head.is_some()));
    let mut panels: Vec<Multiple> =
        heads.iter().map(|group| maps::heads(read, group, group.component.clone(), "")).collect();
    let mut cells: u64 = panels.iter().map(|p| p.size.0 * p.size.1).sum();
    if !whole.is_empty() {
        let panel = layers(read, &whole);
        // Not every component has every layer.
        cells += panel.layer.scores.len() as u64;
        panels.push(panel);
    }
    let all: Vec<&Group> = groups.iter().collect();
    let counted = maps::counted(&all);
    let title = format!("{}: {}{}", first.method_name(), first.axis(), first.on_task());
    let mut page = Page::new(WIDTH, &title, &first.about(about).line(&counted));
    let layers: Vec<&Layer> = panels.iter().map(|p| &p.layer).collect();
    maps::legend(&mut page, &layers, &all, cells);
    let bottom = multiples::draw(&mut page, &panels);
    let white = match first.kind {
        Kind::Reading => "",
        Kind::Share | Kind::Lens => ", white at 0",
        Kind::Effect | Kind::Change => ", white where nothing changes",
    };
    let note =
        format!("Each cell is a mean over prompts; each panel has its own scale{white}. {}", first.meaning());
    page.finish(&[NAME, &first.method, &first.direction, &first.metric, &first.task], bottom, &[note])
}

/// What has no heads: a column for each component.
fn layers(read: &HeadScores, groups: &[&Group]) -> Multiple {
    let mut layer = Layer { title: "whole layers".to_owned(), ..Layer::default() };
    for (column, group) in groups.iter().enumerate() {
        for score in &group.scores {
            let cell = (score.place.layer, column as u64);
            layer.scores.insert(cell, score.estimate.map(|e| e.at));
            if score.partial {
                layer.cut.insert(cell);
            }
        }
    }
    // All of one method, metric and kind, and so on one scale.
    let all = groups[0].of(groups.iter().flat_map(|g| g.scores.iter().cloned()).collect());
    let top = groups
        .iter()
        .enumerate()
        .filter_map(|(column, group)| {
            Some((column as u64, group.component.as_str(), *group.ranked().first()?))
        })
        .reduce(|best, other| if all.stronger(other.2, best.2) { other } else { best });
    if let Some((column, component, score)) = top {
        layer.outlined = BTreeSet::from([(score.place.layer, column)]);
        layer.subtitle = format!("{}: {component}, layer {}", all.superlative(), score.place.layer);
    }
    Multiple {
        size: (read.extent("").0, groups.len() as u64),
        axes: ("layer", "component"),
        column_labels: groups.iter().map(|g| g.component.clone()).collect(),
        sparse: true,
        layer,
        ramp: all.ramp(),
    }
}
