//! How the measures of sites are shown: their labels, units and scales. A figure draws what it is told here, and knows no measure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::detect::{Detector, Inactivity, Measure};
use crate::metric::Metric;

/// How a measure is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasureInfo {
    /// What it is called.
    pub label: String,
    /// Its unit.
    pub unit: String,
    /// The lower end of its scale; none: that of the data.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// The value that means "nothing", from which colours go both ways; none: they go one way.
    pub neutral: Option<f64>,
}

impl MeasureInfo {
    fn new(label: &str, unit: &str, (low, high): (Option<f64>, Option<f64>), neutral: Option<f64>) -> Self {
        MeasureInfo { label: label.to_owned(), unit: unit.to_owned(), low, high, neutral }
    }
}

/// Every measure by its name in tables.
pub fn measures() -> BTreeMap<&'static str, MeasureInfo> {
    let detectors = Detector::all().into_iter().map(|detector| (detector.name(), of_detector(detector)));
    let metrics = Metric::ALL.iter().map(|metric| (metric.name(), of_metric(*metric)));
    detectors
        .chain(metrics)
        .chain([(
            "composition",
            MeasureInfo::new("composition", "share of the weights' norm", (Some(0.0), None), None),
        )])
        .collect()
}

fn of_metric(metric: Metric) -> MeasureInfo {
    let (label, unit) = match metric {
        Metric::Logit => ("logit of the answer", "logits"),
        Metric::LogitDiff => ("logit difference, answer - incorrect answer", "logits"),
        Metric::LogProb => ("log-probability of the answer", "nats"),
        Metric::Prob => ("probability of the answer", "probability"),
        Metric::Rank => ("rank of the answer", "tokens above it"),
        Metric::KlToClean => ("KL(clean || run)", "nats"),
        Metric::Entropy => ("entropy", "nats"),
        Metric::EntropyChange => ("entropy - that of the clean run", "nats"),
    };
    MeasureInfo::new(label, unit, (None, None), Some(0.0))
}

fn of_detector(detector: Detector) -> MeasureInfo {
    let weight = (Some(0.0), Some(1.0));
    let attention = |label| MeasureInfo::new(label, "attention weight", weight, None);
    match detector {
        Detector::PrefixMatching => attention("prefix matching"),
        Detector::PrefixMatchingRecent => attention("prefix matching, most recent copy"),
        Detector::PreviousToken => attention("previous token"),
        Detector::DuplicateToken => attention("duplicate token"),
        Detector::FirstToken => attention("first token"),
        Detector::Copying => {
            MeasureInfo::new("copying", "share, rescaled", (Some(-1.0), Some(1.0)), Some(0.0))
        }
        Detector::CopyingEigenvalues => {
            MeasureInfo::new("copying, eigenvalues", "share", (Some(-1.0), Some(1.0)), Some(0.0))
        }
        Detector::Inactivity(function) => of_inactivity(function),
    }
}

fn of_inactivity(function: Inactivity) -> MeasureInfo {
    let name = function.name().to_uppercase().replace("_LN", " (LN)");
    if function.by_layer {
        return MeasureInfo::new(&name, "ratio to the layer's mean", (Some(0.0), None), Some(1.0));
    }
    match function.measure {
        Measure::FirstTokenWeight => {
            MeasureInfo::new(&name, "attention weight", (Some(0.0), Some(1.0)), None)
        }
        Measure::QueryEntropy => MeasureInfo::new(&name, "nats", (Some(0.0), None), None),
        _ => MeasureInfo::new(&name, "norm", (Some(0.0), None), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_the_measures_own() {
        let measures = measures();
        assert_eq!(measures.len(), 19 + 8 + 1);
        let scale = |name: &str| (measures[name].low, measures[name].high, measures[name].neutral);
        assert_eq!(scale("prefix_matching"), (Some(0.0), Some(1.0), None));
        assert_eq!(scale("copying"), (Some(-1.0), Some(1.0), Some(0.0)));
        // Entropies and norms have no upper end; ratios turn at 1.
        assert_eq!(scale("aeqd"), (Some(0.0), None, None));
        assert_eq!(scale("ahon_ln"), (Some(0.0), None, Some(1.0)));
    }
}
