//! What maps of head scores share: a panel of a group, and the legend of what is outlined, cut and hatched.

use std::collections::BTreeSet;

use crate::draw::grid::{Layer, Scores};
use crate::draw::multiples::Multiple;
use crate::draw::page::{Key, Page};
use crate::draw::palette::INK;
use crate::draw::text::significant;
use crate::read::group::{Group, Kind};
use crate::read::scores::HeadScores;

/// A panel of layers by heads for a group whose places are heads.
pub(crate) fn heads(read: &HeadScores, group: &Group, title: String, subtitle: &str) -> Multiple {
    let mut layer = Layer { title, ..Layer::default() };
    for score in &group.scores {
        let cell = (score.place.layer, score.place.head.unwrap_or(0));
        layer.scores.insert(cell, score.estimate.map(|e| e.at));
        if score.partial {
            layer.cut.insert(cell);
        }
        if score.selected {
            layer.outlined.insert(cell);
        }
    }
    layer.subtitle = [subtitle.to_owned(), strongest(group)]
        .into_iter()
        .filter(|s| !s.is_empty())
        .collect::<Vec<_>>()
        .join(" · ");
    layer.selection = !layer.outlined.is_empty();
    if !layer.selection {
        layer.outlined.extend(group.ranked().first().map(|s| (s.place.layer, s.place.head.unwrap_or(0))));
    }
    Multiple {
        size: read.extent(&group.component),
        axes: ("layer", group.heads_are()),
        column_labels: Vec::new(),
        sparse: false,
        layer,
        ramp: group.ramp(),
    }
}

fn strongest(group: &Group) -> String {
    let top = group.ranked().first().and_then(|s| Some((s.place.name(), s.estimate?.at)));
    top.map_or(String::new(), |(name, at)| format!("{}: {name} ({})", group.superlative(), significant(at)))
}

/// What the signs on maps mean, where there are any: outlines, cut corners and hatching, with the counts and the
/// causes.
pub(crate) fn legend(page: &mut Page, panels: &[&Layer], groups: &[&Group], cells: u64) {
    let scores = || groups.iter().flat_map(|g| &g.scores);
    let mut entries = Vec::new();
    let selected: BTreeSet<(u64, Option<u64>)> =
        scores().filter(|s| s.selected).map(|s| (s.place.layer, s.place.head)).collect();
    if panels.iter().any(|p| p.selection) {
        entries.push((Key::Outline(INK), format!("induction head, in H_ind ({})", selected.len())));
    }
    if panels.iter().any(|p| !p.selection && !p.outlined.is_empty()) {
        entries.push((Key::Outline(INK), first_of_ranking(panels, groups)));
    }
    if scores().any(|s| s.partial) {
        entries.push((Key::Cut, "mean over fewer prompts: not ranked".to_owned()));
    }
    let known: &[&Scores] = &panels.iter().map(|p| &p.scores).collect::<Vec<_>>();
    let scored = known.iter().map(|s| s.len() as u64).sum::<u64>();
    let hatched = cells.saturating_sub(scored)
        + known.iter().flat_map(|s| s.values()).filter(|v| v.is_none()).count() as u64;
    if hatched > 0 {
        let mut why: Vec<&str> =
            groups.iter().flat_map(|g| g.reasons()).collect::<BTreeSet<_>>().into_iter().collect();
        if scored < cells {
            why.insert(0, "not scored by this method");
        }
        let why = if why.is_empty() { "no reason given".to_owned() } else { why.join("; ") };
        entries.push((Key::Hatch, format!("no value for {hatched} of {cells}: {why}")));
    }
    if !entries.is_empty() {
        page.legend(&entries);
    }
}

/// What is outlined in the panels that show no selection.
fn first_of_ranking(panels: &[&Layer], groups: &[&Group]) -> String {
    let selection = panels.iter().any(|p| p.selection);
    let panel = match (selection, panels.len()) {
        (true, _) => " of a panel without one",
        (false, 1) => "",
        (false, _) => " of a panel",
    };
    let words: BTreeSet<String> = groups.iter().map(|g| g.superlative()).collect();
    match words.first() {
        Some(word) if words.len() == 1 => format!("{word}{panel}"),
        _ if groups.iter().all(|g| g.kind == Kind::Reading) => {
            format!("highest{panel}, or furthest from the neutral value")
        }
        _ => format!("strongest{panel}"),
    }
}

/// How many prompts, or random sequences: by the largest count.
pub(crate) fn counted(groups: &[&Group]) -> Vec<String> {
    let most = |group: &&&Group| group.scores.iter().filter_map(|s| s.prompts).max();
    groups.iter().max_by_key(most).map(|group| group.sample()).into_iter().collect()
}
