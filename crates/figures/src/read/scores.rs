//! The table `head_scores`, as figures of it see it: means over prompts, by method, component, direction and metric.

use arrow::array::Array;
use std::collections::{BTreeMap, BTreeSet};

use crate::draw::estimate::Estimate;
use crate::draw::ramp::Ramp;
use crate::error::Error;
use crate::read::columns::{Table, index, label, value};
use crate::read::measures::Measure;
use crate::read::tables::Tables;

/// Where a score was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) layer: u64,
    pub(crate) head: Option<u64>,
    pub(crate) neuron: Option<u64>,
    pub(crate) position: Option<u64>,
    pub(crate) key: Option<u64>,
}

impl Place {
    /// `L5H1`, `L5 neuron 733` or `layer 5`; without the position.
    pub(crate) fn name(&self) -> String {
        match (self.head, self.neuron) {
            (Some(head), _) => format!("L{}H{head}", self.layer),
            (None, Some(neuron)) => format!("L{} neuron {neuron}", self.layer),
            _ => format!("layer {}", self.layer),
        }
    }
}

/// One score: a mean over prompts.
#[derive(Debug, Clone)]
pub(crate) struct Score {
    pub(crate) place: Place,
    /// The token at the position, where all prompts have the same.
    pub(crate) token: Option<String>,
    pub(crate) estimate: Option<Estimate>,
    /// A mean over fewer prompts than other scores of its group: not to be ranked beside them.
    pub(crate) partial: bool,
    prompts: Option<u64>,
    pub(crate) selected: bool,
    pub(crate) reason: String,
}

/// What the number of a score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 0 is no effect, 1 the whole.
    Effect,
    /// Share of the whole that a component writes directly.
    Share,
    /// Change of the metric, where no effect could be given.
    Change,
    /// The metric itself, such as a detector's score.
    Reading,
}

/// The scores of one method, component, direction and metric.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) method: String,
    pub(crate) component: String,
    pub(crate) direction: String,
    pub(crate) metric: String,
    /// Positions count from the last token, which is 1.
    pub(crate) from_end: bool,
    pub(crate) kind: Kind,
    pub(crate) measure: Measure,
    pub(crate) scores: Vec<Score>,
}

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

        let mut rows: Vec<([&str; 4], bool, Vec<usize>)> = Vec::new();
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
            let of = [&method, &component, &direction, &metric].map(|column| label(column, row));
            let from_end = label(&from, row) == "end";
            match rows.iter_mut().find(|(known, end, _)| *known == of && *end == from_end) {
                Some((.., rows)) => rows.push(row),
                None => rows.push((of, from_end, vec![row])),
            }
        }
        let groups = rows.into_iter().map(|([name, of, way, metric], from_end, rows)| {
            let any = |column: &_| rows.iter().any(|row| value(column, *row).is_some());
            let kind = match (any(&effect), any(&change)) {
                (true, _) if name == "dla" => Kind::Share,
                (true, _) => Kind::Effect,
                (false, true) if name != "dla" => Kind::Change,
                _ => Kind::Reading,
            };
            let shown = match kind {
                Kind::Effect | Kind::Share => &effect,
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
            Group {
                method: name.to_owned(),
                component: of.to_owned(),
                direction: way.to_owned(),
                metric: metric.to_owned(),
                from_end,
                kind,
                measure: measures.get(metric),
                scores: scores.collect(),
            }
        });
        Ok(Self { groups: groups.collect(), layers, heads })
    }

    /// The groups whose scores are at places of one shape, with those scores alone.
    pub(crate) fn shaped(&self, shape: impl Fn(&Place) -> bool) -> Vec<Group> {
        let part = |group: &Group| {
            let scores: Vec<Score> = group.scores.iter().filter(|s| shape(&s.place)).cloned().collect();
            (!scores.is_empty()).then(|| Group { scores, ..group.clone() })
        };
        self.groups.iter().filter_map(part).collect()
    }

    /// Layers and heads of the whole model for a component, as far as any method of the table scored it.
    pub(crate) fn extent(&self, component: &str) -> (u64, u64) {
        (self.layers, self.heads.get(component).copied().unwrap_or(1))
    }
}

impl Group {
    /// Where nothing is there: what the strength of a score is counted from.
    fn neutral(&self) -> f64 {
        if self.kind == Kind::Reading { self.measure.neutral.unwrap_or(0.0) } else { 0.0 }
    }

    fn strength(&self, score: &Score) -> f64 {
        let from_neutral = |e: Estimate| match self.measure.sequential {
            // From less to more: the most is the strongest.
            Some(true) if self.kind == Kind::Reading => e.at,
            _ => (e.at - self.neutral()).abs(),
        };
        score.estimate.map_or(f64::MIN, from_neutral)
    }

    /// The measured scores from the strongest down, without those over fewer prompts than others.
    pub(crate) fn ranked(&self) -> Vec<&Score> {
        let mut ranked: Vec<&Score> =
            self.scores.iter().filter(|s| s.estimate.is_some() && !s.partial).collect();
        ranked.sort_by(|a, b| self.strength(b).total_cmp(&self.strength(a)).then(a.place.cmp(&b.place)));
        ranked
    }

    /// Whether a place does more than another.
    pub(crate) fn stronger(&self, a: &Score, b: &Score) -> bool {
        (!a.partial, self.strength(a)) > (!b.partial, self.strength(b))
    }

    pub(crate) fn values(&self) -> Vec<f64> {
        self.scores.iter().filter_map(|s| s.estimate).map(|e| e.at).collect()
    }

    /// The scale of colours.
    pub(crate) fn ramp(&self) -> Ramp {
        match self.kind {
            Kind::Reading => self.measure.ramp(&self.values()),
            _ => Ramp::around(0.0, self.values().into_iter()),
        }
    }

    /// Prompts that most of the scores are over, in words.
    pub(crate) fn prompts(&self) -> String {
        match self.scores.iter().filter_map(|s| s.prompts).max() {
            Some(1) => "1 prompt".to_owned(),
            Some(n) => format!("{n} prompts"),
            None => String::new(),
        }
    }

    /// The causes of missing values, each once.
    pub(crate) fn reasons(&self) -> BTreeSet<&str> {
        let missing = self.scores.iter().filter(|s| s.estimate.is_none());
        missing.map(|s| s.reason.as_str()).filter(|reason| !reason.is_empty()).collect()
    }

    /// What the method is called in titles.
    pub(crate) fn method_name(&self) -> String {
        let name = match self.method.as_str() {
            "dla" => "Direct logit attribution".to_owned(),
            "atp-star" => "AtP*".to_owned(),
            "eap" => "Edge attribution patching".to_owned(),
            "eap-ig" => "Edge attribution patching with integrated gradients".to_owned(),
            other => crate::draw::text::capital(&other.replace(['-', '_'], " ")),
        };
        if self.direction.is_empty() { name } else { format!("{name}, {}", self.direction) }
    }

    /// The number's name on an axis.
    pub(crate) fn axis(&self) -> String {
        let label = &self.measure.label;
        match self.kind {
            Kind::Effect => format!("effect on {label}"),
            Kind::Share => format!("share of {label}"),
            Kind::Change => format!("change of {}", self.measure.axis()),
            Kind::Reading => self.measure.axis(),
        }
    }

    /// What the number means, for a footnote.
    pub(crate) fn meaning(&self) -> String {
        let label = &self.measure.label;
        match self.kind {
            Kind::Effect if self.direction.starts_with("denois") => format!(
                "Effect on {label}, denoising: (patched − corrupted) / (clean − corrupted). 0: no effect; 1: the clean activation \
                 here brings back the whole difference."
            ),
            Kind::Effect => format!(
                "Effect on {label}: (clean − changed) / (clean − corrupted). 0: no effect; 1: the change here takes away the whole \
                 difference."
            ),
            Kind::Share => format!(
                "Share of the whole {label} that the component writes directly into the last residual stream, with the final \
                 norm's scale frozen. 0: nothing; negative: against the answer."
            ),
            Kind::Change => format!(
                "Change of {} against the unchanged run; an effect could not be given.",
                self.measure.axis()
            ),
            Kind::Reading => String::new(),
        }
    }

    /// What the heads of the component are.
    pub(crate) fn heads_are(&self) -> &'static str {
        if matches!(self.component.as_str(), "k" | "v") { "key/value head" } else { "head" }
    }
}
