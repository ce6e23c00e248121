//! The table `head_scores`, as figures of it see it: means over prompts, by method, component, direction, metric
//! and task.

use arrow::array::Array;
use std::collections::{BTreeMap, BTreeSet};

use crate::draw::estimate::Estimate;
use crate::error::Error;
use crate::read::columns::{Table, index, label, value};
use crate::read::group::{Group, Kind, Place, Score};
use crate::read::tables::Tables;

/// All groups, in the table's order.
#[derive(Debug)]
pub(crate) struct HeadScores {
    pub(crate) groups: Vec<Group>,
    /// Layers in all, and heads by component: the whole model as far as any method scored it.
    layers: u64,
    heads: BTreeMap<String, u64>,
}

impl HeadScores {
    /// Reads the table; rows of single prompts are passed over.
    pub(crate) fn read(figure: &'static str, tables: &Tables) -> Result<Self, Error> {
        let table = Table::new(figure, "head_scores", tables)?;
        let (method, component, metric) =
            (table.text("method")?, table.text("component")?, table.text("metric")?);
        let task = table.text("task")?;
        let (direction, reason) = (table.text("direction")?, table.text("reason")?);
        let (layer, head, neuron) = (table.number("layer")?, table.number("head")?, table.number("neuron")?);
        let (position, key) = (table.number("position")?, table.number("key_position")?);
        let (from, token) = (table.text("position_from")?, table.text("position_token")?);
        let (prompt, prompts) = (table.number("prompt")?, table.number("n_prompts")?);
        let (reading, change) = (table.number("value")?, table.number("change")?);
        let (effect, low, high) =
            (table.number("effect")?, table.number("ci_low")?, table.number("ci_high")?);
        let selected = table.flag("selected")?;
        let measures = table.measures()?;

        let tasks: BTreeSet<&str> = task.iter().flatten().filter(|name| !name.is_empty()).collect();
        let mut rows: Vec<([&str; 5], bool, Vec<usize>)> = Vec::new();
        let (mut layers, mut heads) = (0, BTreeMap::<String, u64>::new());
        for row in 0..table.rows() {
            let Some(l) = index(&layer, row) else { continue };
            layers = layers.max(l + 1);
            if let Some(h) = index(&head, row) {
                let known = heads.entry(label(&component, row).to_owned()).or_default();
                *known = (*known).max(h + 1);
            }
            if value(&prompt, row).is_some() {
                continue;
            }
            let name = label(&method, row);
            // Named only where there is another one; detectors have none.
            let task = if tasks.len() > 1 && name != "detectors" { label(&task, row) } else { "" };
            let of = [name, label(&component, row), label(&direction, row), label(&metric, row), task];
            let from_end = label(&from, row) == "end";
            match rows.iter_mut().find(|(known, end, _)| *known == of && *end == from_end) {
                Some((.., rows)) => rows.push(row),
                None => rows.push((of, from_end, vec![row])),
            }
        }
        let groups = rows.into_iter().map(|([name, of, way, metric, task], from_end, rows)| {
            let any = |column: &_| rows.iter().any(|row| value(column, *row).is_some());
            let kind = match (any(&effect), any(&change)) {
                (true, _) if name == "dla" => Kind::Share,
                (true, _) if name == "logit-lens" => Kind::Lens,
                (true, _) => Kind::Effect,
                // Nothing was changed by what only reads.
                (false, true) if !["dla", "logit-lens"].contains(&name) => Kind::Change,
                _ => Kind::Reading,
            };
            let shown = match kind {
                Kind::Effect | Kind::Share | Kind::Lens => &effect,
                Kind::Change => &change,
                Kind::Reading => &reading,
            };
            let most = rows.iter().filter_map(|row| index(&prompts, *row)).max();
            let scores = rows.iter().filter_map(|&row| {
                // An interval is that of the effect; a change shown in its place has none.
                let interval = value(&low, row).zip(value(&high, row)).filter(|_| kind != Kind::Change);
                let n = index(&prompts, row);
                Some(Score {
                    place: Place {
                        layer: index(&layer, row)?,
                        head: index(&head, row),
                        neuron: index(&neuron, row),
                        position: index(&position, row),
                        key: index(&key, row),
                    },
                    token: Some(label(&token, row)).filter(|_| token.is_valid(row)).map(str::to_owned),
                    estimate: value(shown, row).map(|at| Estimate { at, interval }),
                    partial: n < most,
                    prompts: n,
                    selected: selected.is_valid(row) && selected.value(row),
                    reason: label(&reason, row).to_owned(),
                })
            });
            let group = Group {
                method: name.to_owned(),
                component: of.to_owned(),
                direction: way.to_owned(),
                metric: metric.to_owned(),
                task: task.to_owned(),
                from_end,
                kind,
                measure: measures.get(metric),
                sequential: false,
                scores: Vec::new(),
            };
            group.of(scores.collect())
        });
        Ok(Self { groups: groups.collect(), layers, heads })
    }

    /// The groups whose scores are at places of one shape, with those scores alone.
    pub(crate) fn shaped(&self, shape: impl Fn(&Place) -> bool) -> Vec<Group> {
        let part = |group: &Group| {
            let scores: Vec<Score> = group.scores.iter().filter(|s| shape(&s.place)).cloned().collect();
            (!scores.is_empty()).then(|| group.of(scores))
        };
        self.groups.iter().filter_map(part).collect()
    }

    /// Layers and heads of the whole model for a component, as far as any method of the table scored it.
    pub(crate) fn extent(&self, component: &str) -> (u64, u64) {
        (self.layers, self.heads.get(component).copied().unwrap_or(1))
    }
}
