//! Effects by layer and head: one drawing for each method, direction and metric, a panel for each component.

use std::collections::BTreeSet;

use crate::draw::drawing::Drawing;
use crate::draw::grid::Layer;
use crate::draw::multiples::{self, Multiple};
use crate::draw::page::{Page, WIDTH};
use crate::draw::ramp::Ramp;
use crate::entry::Figure;
use crate::error::Error;
use crate::figures::maps;
use crate::read::about::About;
use crate::read::columns::nothing;
use crate::read::scores::{Group, HeadScores};
use crate::read::tables::Tables;

const NAME: &str = "head_effects";

pub(crate) const FIGURE: Figure = Figure {
    name: NAME,
    doc: "What changing or reading each head does, by layer and head: one drawing for each method, direction and metric",
    tables: &["head_scores"],
    draw,
};

fn draw(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    let read = HeadScores::read(NAME, tables)?;
    let mut groups = read.shaped(|place| place.neuron.is_none() && place.position.is_none());
    groups.retain(|group| group.method != "detectors");
    let mut drawings = Vec::new();
    while let Some(first) = groups.first() {
        let key = |g: &Group| (g.method.clone(), g.direction.clone(), g.metric.clone());
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
    let title = format!("{}: {}", first.method_name(), first.axis());
    let mut page = Page::new(WIDTH, &title, &about.line(&counted));
    let layers: Vec<&Layer> = panels.iter().map(|p| &p.layer).collect();
    maps::legend(&mut page, &layers, &all, cells);
    let bottom = multiples::draw(&mut page, &panels);
    let note = format!(
        "Each cell is a mean over prompts; each panel has its own scale, white where nothing is done. {}",
        first.meaning()
    );
    page.finish(&[NAME, &first.method, &first.direction, &first.metric], bottom, &[note])
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
    let values: Vec<f64> = groups.iter().flat_map(|g| g.values()).collect();
    let ramp = Ramp::around(0.0, values.iter().copied());
    let top = groups
        .iter()
        .enumerate()
        .filter_map(|(column, group)| {
            Some((column as u64, group.component.as_str(), *group.ranked().first()?))
        })
        .max_by(|a, b| {
            let size = |s: &crate::read::scores::Score| s.estimate.map_or(0.0, |e| e.at.abs());
            size(a.2).total_cmp(&size(b.2))
        });
    if let Some((column, component, score)) = top {
        layer.outlined = BTreeSet::from([(score.place.layer, column)]);
        layer.subtitle = format!("strongest: {component}, layer {}", score.place.layer);
    }
    Multiple {
        size: (read.extent("").0, groups.len() as u64),
        axes: ("layer", "component"),
        column_labels: groups.iter().map(|g| g.component.clone()).collect(),
        sparse: true,
        layer,
        ramp,
    }
}
