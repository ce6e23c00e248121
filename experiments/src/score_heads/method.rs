//! The methods: what each is, and one small function for each that is done batch by batch.

use anyhow::{Result, bail};
use refrain_patching::Change;
use refrain_patching::attribution;
use refrain_patching::sweep;
use refrain_patching::table::{EdgeScoreRow, HeadScoreRow};
use refrain_patching::{Metric, Pair};

use super::rows::{Labels, of_scores};
use super::settings::{ResolvedSettings, Settings};
use super::subject::Subject;
use super::{detectors, direct, edges};

/// A way to score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Values of one run into the other.
    ActivationPatching,
    /// The same in bf16: screening.
    Screening,
    /// Zeros into the clean run.
    ZeroAblation,
    /// Means into the clean run.
    MeanAblation,
    /// Another prompt's values into the clean run.
    ResampleAblation,
    /// Activation patching to first order.
    AttributionPatching,
    /// The same with the softmax recomputed and gradients dropped.
    AtpStar,
    /// Edges to first order.
    Eap,
    /// Edges with integrated gradients.
    EapIg,
    /// A head's effect along some paths.
    PathPatching,
    /// Direct logit attribution.
    Dla,
    /// What a head's pattern looks like on random tokens that come again.
    Detectors,
}

/// How a method's work is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// By the exact engine.
    Sweep(Change),
    /// By batch of pairs.
    Batches,
    /// Not at all.
    Whole,
}

/// What every method reads.
pub struct Inputs<'a> {
    /// The model and the pairs.
    pub subject: &'a Subject,
    /// The settings.
    pub settings: &'a Settings,
    /// The same as values.
    pub asked: &'a ResolvedSettings,
    /// What is measured.
    pub metrics: &'a [Metric],
    /// Runs side by side.
    pub threads: usize,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 12] = [
        Method::ActivationPatching,
        Method::Screening,
        Method::ZeroAblation,
        Method::MeanAblation,
        Method::ResampleAblation,
        Method::AttributionPatching,
        Method::AtpStar,
        Method::Eap,
        Method::EapIg,
        Method::PathPatching,
        Method::Dla,
        Method::Detectors,
    ];

    /// Its name in tables and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Method::ActivationPatching => "activation-patching",
            Method::Screening => "activation-patching-bf16",
            Method::ZeroAblation => "zero-ablation",
            Method::MeanAblation => "mean-ablation",
            Method::ResampleAblation => "resample-ablation",
            Method::AttributionPatching => "attribution-patching",
            Method::AtpStar => "atp-star",
            Method::Eap => "eap",
            Method::EapIg => "eap-ig",
            Method::PathPatching => "path-patching",
            Method::Dla => "dla",
            Method::Detectors => "detectors",
        }
    }

    /// Whether it has two directions.
    pub fn has_direction(self) -> bool {
        matches!(
            self,
            Method::ActivationPatching
                | Method::Screening
                | Method::AttributionPatching
                | Method::AtpStar
                | Method::Eap
                | Method::EapIg
                | Method::PathPatching
        )
    }

    /// Whether it estimates what activation patching measures.
    pub fn is_approximate(self) -> bool {
        use Method::{AtpStar, AttributionPatching, Eap, EapIg, Screening};
        matches!(self, Screening | AttributionPatching | AtpStar | Eap | EapIg)
    }

    /// Whether it scores edges.
    pub fn has_edges(self) -> bool {
        matches!(self, Method::Eap | Method::EapIg | Method::PathPatching | Method::Detectors)
    }

    /// How its work is cut.
    pub fn cut(self, settings: &Settings, asked: &ResolvedSettings) -> Cut {
        match self {
            Method::ActivationPatching | Method::Screening => Cut::Sweep(patching(asked)),
            Method::ZeroAblation => Cut::Sweep(Change::Zero),
            Method::MeanAblation => Cut::Sweep(Change::Mean { pooled: settings.pooled }),
            Method::ResampleAblation => Cut::Sweep(Change::Resample { seed: settings.seed }),
            Method::Detectors | Method::Eap | Method::EapIg | Method::PathPatching => Cut::Whole,
            _ => Cut::Batches,
        }
    }

    /// The label of its direction.
    pub fn direction(self, asked: &ResolvedSettings) -> Option<&'static str> {
        self.has_direction().then(|| patching(asked).direction()).flatten().map(|direction| direction.name())
    }

    /// Whether the run that it changes is the clean one.
    pub fn into_clean(self, asked: &ResolvedSettings) -> bool {
        !self.has_direction() || asked.noise
    }

    /// Scores a batch of pairs of one length, whose numbers in the task are `numbers`.
    ///
    /// # Errors
    /// What the method says.
    pub fn on_batch(
        self,
        inputs: &Inputs<'_>,
        numbers: &[usize],
        labels: Labels,
    ) -> Result<Vec<HeadScoreRow>> {
        let pairs: Vec<Pair> = numbers.iter().map(|pair| inputs.subject.pairs[*pair].clone()).collect();
        let model = &inputs.subject.model;
        let settings = sweep_settings(inputs, patching(inputs.asked));
        let scores = match self {
            Method::AttributionPatching => attribution::atp(model, &pairs, &settings)?,
            Method::AtpStar => attribution::atp_star(model, &pairs, &settings)?
                .into_iter()
                .map(|found| found.dropped)
                .collect(),
            Method::Dla => return direct::rows(inputs, numbers, &pairs),
            other => bail!("{} is not done by batches", other.name()),
        };
        Ok(scores.iter().flat_map(|scores| of_scores(scores, labels, &|pair| numbers[pair])).collect())
    }

    /// Scores the first pair and forgets it, so that what the method cannot do is known before the work begins. Sweeps are checked
    /// when they are planned.
    ///
    /// # Errors
    /// What the method says.
    pub fn try_out(self, inputs: &Inputs<'_>, labels: Labels) -> Result<()> {
        match self {
            Method::AttributionPatching | Method::AtpStar | Method::Dla => {
                self.on_batch(inputs, &[0], labels).map(drop)
            }
            Method::Eap | Method::EapIg | Method::PathPatching => {
                edges::score(self, inputs, labels, &inputs.subject.pairs[..1]).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Scores everything at once.
    ///
    /// # Errors
    /// What the method says.
    pub fn on_all(
        self,
        inputs: &Inputs<'_>,
        labels: Labels,
    ) -> Result<(Vec<HeadScoreRow>, Vec<EdgeScoreRow>)> {
        match self {
            Method::Detectors => Ok((detectors::heads(inputs)?, detectors::composition(inputs)?)),
            Method::Eap | Method::EapIg | Method::PathPatching => {
                edges::score(self, inputs, labels, &inputs.subject.pairs)
            }
            other => bail!("{} is not done at once", other.name()),
        }
    }
}

/// The change of the methods that have a direction.
pub fn patching(asked: &ResolvedSettings) -> Change {
    if asked.noise { Change::Noise } else { Change::Denoise }
}

/// What the exact engine, and the approximations of it, are asked for.
pub fn sweep_settings(inputs: &Inputs<'_>, change: Change) -> sweep::Settings {
    sweep::Settings {
        components: inputs.asked.components.clone(),
        metrics: inputs.metrics.to_vec(),
        change,
        by_position: inputs.settings.by_position,
        by_key_position: inputs.settings.by_key_position,
        memory: inputs.asked.memory,
        threads: inputs.threads,
    }
}
