//! Scores of one method, component, direction and metric: their ranking, their colours and their words.

use std::collections::BTreeSet;

use crate::draw::estimate::Estimate;
use crate::draw::ramp::Ramp;
use crate::draw::text::{capital, number, significant};
use crate::read::about::About;
use crate::read::measures::Measure;

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
    /// Over how many prompts, or random sequences.
    pub(crate) prompts: Option<u64>,
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
    /// Share of the whole that the residual stream already gives at a layer.
    Lens,
    /// Change of the metric, where no effect could be given.
    Change,
    /// The metric itself, such as a detector's score.
    Reading,
}

/// The scores of one method, component, direction, metric and task.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) method: String,
    pub(crate) component: String,
    pub(crate) direction: String,
    pub(crate) metric: String,
    /// The task, where the table has several; else empty.
    pub(crate) task: String,
    /// Positions count from the last token, which is 1.
    pub(crate) from_end: bool,
    pub(crate) kind: Kind,
    pub(crate) measure: Measure,
    /// Scores go from less to more, rather than to both sides of a neutral value.
    pub(crate) sequential: bool,
    pub(crate) scores: Vec<Score>,
}

impl Group {
    /// The same with these scores alone.
    pub(crate) fn of(&self, scores: Vec<Score>) -> Self {
        let mut group = Self { scores, ..self.clone() };
        group.sequential = self.kind == Kind::Reading && self.measure.is_sequential(&group.values());
        group
    }

    /// Where nothing is there: what the strength of a score is counted from.
    fn neutral(&self) -> f64 {
        if self.kind == Kind::Reading { self.measure.neutral.unwrap_or(0.0) } else { 0.0 }
    }

    fn strength(&self, score: &Score) -> f64 {
        // From less to more: the most is the strongest.
        let of = |e: Estimate| if self.sequential { e.at } else { (e.at - self.neutral()).abs() };
        score.estimate.map_or(f64::MIN, of)
    }

    /// What the first of the ranking is: a reading is not strong where it is merely far from neutral.
    pub(crate) fn superlative(&self) -> String {
        match self.kind {
            Kind::Reading if self.sequential => "highest".to_owned(),
            Kind::Reading => format!("furthest from {}", self.neutral_in_words()),
            _ => "strongest".to_owned(),
        }
    }

    /// How the ranking goes, in a sentence.
    pub(crate) fn ranking(&self) -> String {
        if self.sequential {
            return "Ranked from the highest down.".to_owned();
        }
        format!("Ranked by the distance from {}, either sign.", self.neutral_in_words())
    }

    fn neutral_in_words(&self) -> String {
        let neutral = self.neutral();
        if neutral.fract() == 0.0 { number(neutral, 0) } else { significant(neutral) }
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
            Kind::Reading => self.measure.ramp(&self.values(), self.sequential),
            _ => Ramp::around(0.0, self.values().into_iter()),
        }
    }

    /// The caption of its drawings: detectors are read on random tokens, which belong to no task.
    pub(crate) fn about(&self, about: &About) -> About {
        match (self.method.as_str(), self.task.as_str()) {
            ("detectors", _) => about.on(""),
            (_, "") => about.clone(),
            (_, task) => about.on(task),
        }
    }

    /// The end of a title, where the table has several tasks.
    pub(crate) fn on_task(&self) -> String {
        if self.task.is_empty() { String::new() } else { format!(" on the task `{}`", self.task) }
    }

    /// What the scores are means over, by the largest number, in words.
    pub(crate) fn sample(&self) -> String {
        let what = if self.method == "detectors" { "random sequence" } else { "prompt" };
        match self.scores.iter().filter_map(|s| s.prompts).max() {
            Some(1) => format!("1 {what}"),
            Some(n) => format!("{n} {what}s"),
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
            other => capital(&other.replace(['-', '_'], " ")),
        };
        if self.direction.is_empty() { name } else { format!("{name}, {}", self.direction) }
    }

    /// The number's name on an axis.
    pub(crate) fn axis(&self) -> String {
        let label = &self.measure.label;
        match self.kind {
            Kind::Effect => format!("effect on {label}"),
            Kind::Share => format!("share of {label}"),
            Kind::Lens => format!("share of the model's {label}"),
            Kind::Change => format!("change of {}", self.measure.axis()),
            Kind::Reading => self.measure.axis(),
        }
    }

    /// What the number means, for a footnote.
    pub(crate) fn meaning(&self) -> String {
        let label = &self.measure.label;
        match self.kind {
            Kind::Effect if self.direction.starts_with("denois") => format!(
                "Effect on {label}, denoising: (patched − corrupted) / (clean − corrupted). 0: no effect; 1: the \
                 clean activation here brings back the whole difference."
            ),
            Kind::Effect => format!(
                "Effect on {label}: (clean − changed) / (clean − corrupted). 0: no effect; 1: the change here \
                 takes away the whole difference."
            ),
            Kind::Share => format!(
                "Share of the whole {label} that the component writes directly into the last residual stream, \
                 with the final norm's scale frozen. 0: nothing; negative: against the answer."
            ),
            Kind::Change => format!(
                "Change of {} against the unchanged run; an effect could not be given.",
                self.measure.axis()
            ),
            Kind::Lens => format!(
                "Share of the whole model's {label} that the residual stream at that layer already gives, read \
                 through the final norm and the unembedding. 0: nothing yet; 1: as much as the whole model, \
                 which a layer can exceed."
            ),
            Kind::Reading if self.method == "logit-lens" => format!(
                "{} that the residual stream at that layer already gives, read through the final norm and the \
                    unembedding.",
                capital(label)
            ),
            Kind::Reading => String::new(),
        }
    }

    /// What the heads of the component are.
    pub(crate) fn heads_are(&self) -> &'static str {
        if matches!(self.component.as_str(), "k" | "v") { "key/value head" } else { "head" }
    }
}
