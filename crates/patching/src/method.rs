//! The methods of scoring, as data: what help texts, checks of settings and tables of the documentation are made from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::named::named;

named! {
    /// A method of scoring. Its name is its label in tables and on command lines.
    #[allow(missing_docs)] // `MethodInfo::doc` has a line for each
    pub enum Method("method", "kebab-case") {
        ActivationPatching,
        #[serde(rename = "activation-patching-bf16")]
        #[strum(serialize = "activation-patching-bf16")]
        ActivationPatchingBf16,
        ZeroAblation,
        MeanAblation,
        ResampleAblation,
        AttributionPatching,
        AtpStar,
        IntegratedGradients,
        Eap,
        EapIg,
        PathPatching,
        PathAttribution,
        Dla,
        LogitLens,
        Circuit,
        Detectors,
    }
}

/// What a method's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// Metrics of runs that were changed.
    Exact,
    /// Estimates of what such runs would give.
    Estimate,
    /// Read from runs as they are, or from the weights.
    ReadOut,
}

/// How the mean over prompts is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeanRule {
    /// Of the numbers as they are.
    Signed,
    /// Of their magnitudes: the sign of each is another estimate's, and would cancel what the magnitudes show.
    Magnitude,
}

impl MeanRule {
    /// A prompt's `change` as the mean counts it, where those of all prompts sum to `sum`: of magnitudes, its size
    /// with the sign that most of their size has.
    pub fn counted(self, change: f64, sum: f64) -> f64 {
        match self {
            MeanRule::Signed => change,
            MeanRule::Magnitude => change.abs().copysign(sum),
        }
    }
}

/// What a method takes. A backward pass counts as two forward passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cost {
    /// A restarted run for each site: [`crate::sweep::Sweep::cost`] knows how much.
    RunPerSite,
    /// Forward passes a pair: `fixed`, `per_layer` for each layer, `per_step` for each step between two inputs.
    Passes {
        /// In any case.
        fixed: f64,
        /// For each layer.
        per_layer: f64,
        /// For each step.
        per_step: f64,
    },
    /// A run for each sender and receiver.
    RunPerPath,
    /// A run for each set of heads that is tried.
    RunPerCircuit,
    /// Some passes over sequences of its own, whatever the task.
    OwnSequences,
}

impl Cost {
    /// Forward passes a pair for a model of `layers` layers and `steps` steps, if that is what it comes down to.
    pub fn passes(self, layers: usize, steps: usize) -> Option<f64> {
        match self {
            Cost::Passes { fixed, per_layer, per_step } => {
                Some(fixed + per_layer * layers as f64 + per_step * steps as f64)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cost::RunPerSite => f.write_str("a restarted run per site"),
            Cost::RunPerPath => f.write_str("a restarted run per path"),
            Cost::RunPerCircuit => f.write_str("a run per circuit that is tried"),
            Cost::OwnSequences => f.write_str("a few runs on random sequences"),
            Cost::Passes { fixed, per_layer, per_step } => {
                write!(f, "{fixed} forward passes")?;
                if *per_layer > 0.0 {
                    write!(f, " + {per_layer} per layer")?;
                }
                if *per_step > 0.0 {
                    write!(f, " + {per_step} per step")?;
                }
                Ok(())
            }
        }
    }
}

/// What there is to know about a method without running it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MethodInfo {
    /// The method.
    pub method: Method,
    /// A line for help texts and the documentation.
    pub doc: &'static str,
    /// What its numbers are.
    pub kind: MethodKind,
    /// How means over prompts are made.
    pub mean: MeanRule,
    /// Whether it denoises or noises, as is asked for; else it changes clean runs, or nothing.
    pub has_direction: bool,
    /// Whether it scores edges (too).
    pub writes_edges: bool,
    /// Whether the components that are asked for are what it scores; else it scores components of its own.
    pub by_components: bool,
    /// What it takes.
    pub cost: Cost,
}

/// What most methods have in common.
const PATCHING: MethodInfo = MethodInfo {
    method: Method::ActivationPatching,
    doc: "put a component's value from one run into the other",
    kind: MethodKind::Exact,
    mean: MeanRule::Signed,
    has_direction: true,
    writes_edges: false,
    by_components: true,
    cost: Cost::RunPerSite,
};

const fn passes(fixed: f64, per_layer: f64, per_step: f64) -> Cost {
    Cost::Passes { fixed, per_layer, per_step }
}

impl Method {
    /// What there is to know about it.
    pub const fn info(self) -> MethodInfo {
        let ablation = MethodInfo { method: self, has_direction: false, ..PATCHING };
        let estimate = MethodInfo { method: self, kind: MethodKind::Estimate, ..PATCHING };
        let edges = MethodInfo { writes_edges: true, by_components: false, ..estimate };
        let read_out = MethodInfo {
            kind: MethodKind::ReadOut,
            by_components: false,
            cost: passes(1.0, 0.0, 0.0),
            ..ablation
        };
        match self {
            Method::ActivationPatching => PATCHING,
            Method::ActivationPatchingBf16 => MethodInfo {
                doc: "activation patching in bf16: faster where the hardware supports it, less precise",
                ..estimate
            },
            Method::ZeroAblation => MethodInfo { doc: "put zeros into the clean run", ..ablation },
            Method::MeanAblation => MethodInfo {
                doc: "put the mean over the task's clean prompts into the clean run",
                ..ablation
            },
            Method::ResampleAblation => MethodInfo {
                doc: "put another clean prompt's value, drawn at random, into the clean run",
                ..ablation
            },
            Method::AttributionPatching => MethodInfo {
                doc: "activation patching to first order, from one gradient (Nanda 2023)",
                cost: passes(4.0, 0.0, 0.0),
                ..estimate
            },
            Method::AtpStar => MethodInfo {
                doc: "attribution patching with the softmax recomputed and each layer's gradient dropped in turn \
                      (Kramar et al. 2024); a magnitude",
                mean: MeanRule::Magnitude,
                cost: passes(4.0, 2.0, 0.0),
                ..estimate
            },
            Method::IntegratedGradients => MethodInfo {
                doc: "attribution patching with gradients averaged between the two inputs (Sundararajan et al. 2017)",
                cost: passes(2.0, 0.0, 3.0),
                ..estimate
            },
            Method::Eap => MethodInfo {
                doc: "edges to first order (Syed et al. 2023)",
                cost: passes(4.0, 0.0, 0.0),
                ..edges
            },
            Method::EapIg => MethodInfo {
                doc: "edges with gradients averaged between the two inputs (Hanna et al. 2024)",
                cost: passes(2.0, 0.0, 3.0),
                ..edges
            },
            Method::PathPatching => MethodInfo {
                doc: "a head's effect through chosen receivers alone, all else frozen (Wang et al. 2022)",
                kind: MethodKind::Exact,
                cost: Cost::RunPerPath,
                ..edges
            },
            Method::PathAttribution => MethodInfo {
                doc: "path patching to first order in what the receiver makes of the change",
                cost: Cost::RunPerPath,
                ..edges
            },
            Method::Dla => MethodInfo {
                doc: "direct logit attribution: what each component writes into the answer's logit, with the \
                    final norm's scale frozen",
                ..read_out
            },
            Method::LogitLens => MethodInfo {
                doc: "the residual stream of each layer through the final norm and the unembedding (nostalgebraist \
                    2020)",
                ..read_out
            },
            Method::Circuit => MethodInfo {
                doc: "head sets, chosen greedily or by rank, scored with all other heads ablated",
                kind: MethodKind::Exact,
                cost: Cost::RunPerCircuit,
                ..read_out
            },
            Method::Detectors => MethodInfo {
                doc: "what heads do on repeated random tokens: attention patterns, copying, inactivity; \
                    composition of pairs of heads",
                writes_edges: true,
                cost: Cost::OwnSequences,
                ..read_out
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_describes_itself() {
        for method in Method::ALL {
            let info = method.info();
            assert_eq!(info.method, *method, "{method}");
            assert_eq!(method.name().parse::<Method>().unwrap(), *method);
            assert_eq!(serde_json::to_value(method).unwrap(), method.name(), "one name for serde and strum");
            let others = Method::ALL.iter().filter(|other| other.info().doc == info.doc);
            assert_eq!(others.count(), 1, "{method} has a line of its own");
            assert!(!info.doc.ends_with('.') && !info.doc.contains('\n'), "{method}: {}", info.doc);
        }
        assert_eq!(Method::NAMES[1], "activation-patching-bf16");
        let error = "patching".parse::<Method>().unwrap_err().to_string();
        assert!(error.contains("no method `patching`") && error.contains("path-patching, "), "{error}");
    }

    #[test]
    fn costs_are_told_in_passes() {
        assert_eq!(Method::AtpStar.info().cost.passes(6, 5), Some(16.0));
        assert_eq!(Method::EapIg.info().cost.to_string(), "2 forward passes + 3 per step");
        assert_eq!(Method::ActivationPatching.info().cost.passes(6, 5), None);
    }
}
