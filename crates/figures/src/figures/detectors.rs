//! All detectors in one drawing: a panel of layers by heads for each, on its own scale.

use crate::draw::drawing::Drawing;
use crate::draw::grid::Layer;
use crate::draw::multiples::{self, Multiple};
use crate::draw::page::{Page, WIDTH};
use crate::draw::text::capital;
use crate::entry::Figure;
use crate::error::Error;
use crate::figures::maps;
use crate::read::about::About;
use crate::read::columns::nothing;
use crate::read::group::Group;
use crate::read::scores::HeadScores;
use crate::read::tables::Tables;

const NAME: &str = "detectors";

pub(crate) const FIGURE: Figure = Figure {
    name: NAME,
    doc: "Every detector's score of every head: a panel of layers by heads for each, on its own scale",
    tables: &["head_scores"],
    draw,
};

fn draw(tables: &Tables, about: &About) -> Result<Vec<Drawing>, Error> {
    let read = HeadScores::read(NAME, tables)?;
    let mut groups = read.shaped(|place| place.head.is_some() && place.position.is_none());
    groups.retain(|group| group.method == "detectors");
    if groups.is_empty() {
        return Err(nothing(
            NAME,
            "head_scores",
            "method = detectors and a null prompt",
            "run the method `detectors`",
        ));
    }
    let all: Vec<&Group> = groups.iter().collect();
    let panels: Vec<Multiple> = all
        .iter()
        .map(|group| maps::heads(&read, group, capital(&group.measure.label), &group.measure.unit))
        .collect();
    let cells = panels.iter().map(|p| p.size.0 * p.size.1).sum();
    let (layers, heads) = read.extent(&groups[0].component);
    let mut counted = vec![format!("{layers} layers × {heads} heads")];
    counted.extend(maps::counted(&all));
    let about = groups[0].about(about);
    let mut page = Page::new(WIDTH, "What each head does: detectors", &about.line(&counted));
    let layers: Vec<&Layer> = panels.iter().map(|p| &p.layer).collect();
    maps::legend(&mut page, &layers, &all, cells);
    let bottom = multiples::draw(&mut page, &panels);
    let signed = all.iter().any(|g| !g.sequential);
    let signed = if signed { " Blue to orange: a score with a neutral value, which is white." } else { "" };
    let note = format!(
        "Read on repeated random tokens, not on the prompts of a task. Rows are layers, upwards; columns are \
         heads. Every panel has its own scale: only panels of one unit compare.{signed}"
    );
    Ok(vec![page.finish(&[NAME], bottom, &[note])])
}
