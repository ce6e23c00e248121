//! The methods that score sites, as data: what help, validation and documents say of each comes from here.

use serde::{Deserialize, Serialize};

/// A way to score sites. The doc comment of each is its line in the help.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumMessage,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Method {
    /// Put values of one run into the other
    ActivationPatching,
    /// The same in bf16, for screening
    #[serde(rename = "activation-patching-bf16")]
    #[strum(serialize = "activation-patching-bf16")]
    ActivationPatchingBf16,
    /// Put zeros into the clean run
    ZeroAblation,
    /// Put means over the clean prompts into the clean run
    MeanAblation,
    /// Put another prompt's values into the clean run
    ResampleAblation,
    /// Activation patching to first order, from one gradient
    AttributionPatching,
    /// The same with the softmax recomputed and gradients dropped (Kramar et al. 2024)
    AtpStar,
    /// Attribution patching with gradients averaged on the way between the prompts
    IntegratedGradients,
    /// Edges to first order (Syed et al. 2023)
    Eap,
    /// Edges with integrated gradients (Hanna et al. 2024)
    EapIg,
    /// What a head does along some paths, exactly (Wang et al. 2022)
    PathPatching,
    /// The same to first order
    PathAttribution,
    /// Direct logit attribution: what each component adds to the logits
    Dla,
    /// The metric read off the residual stream after each layer (nostalgebraist 2020)
    LogitLens,
    /// What the model does with all heads outside a growing circuit ablated
    Circuit,
    /// What attention patterns and weights look like on repeated random tokens
    Detectors,
}

/// What a method's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The metric of a run that was made.
    Exact,
    /// An estimate of what activation patching measures.
    Estimate,
    /// Read off a run that nothing was changed in.
    ReadOut,
}

/// What a method's scores belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scores {
    /// The components that are asked for.
    Components,
    /// Sites of the method's own.
    Sites,
    /// Edges, and for some methods the nodes that they leave.
    Edges,
    /// Sets of heads.
    Circuits,
}

impl Method {
    /// Every method.
    pub const ALL: &'static [Method] = <Method as strum::VariantArray>::VARIANTS;

    /// Its name in tables and on command lines.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What its numbers are.
    pub fn kind(self) -> Kind {
        use Method::*;
        match self {
            ActivationPatching | ZeroAblation | MeanAblation | ResampleAblation | PathPatching | Circuit => {
                Kind::Exact
            }
            ActivationPatchingBf16
            | AttributionPatching
            | AtpStar
            | IntegratedGradients
            | Eap
            | EapIg
            | PathAttribution => Kind::Estimate,
            Dla | LogitLens | Detectors => Kind::ReadOut,
        }
    }

    /// Whether `--verify` and the table `approximation` lay it beside activation patching: an estimate of sites.
    pub fn is_verifiable(self) -> bool {
        self.kind() == Kind::Estimate && self != Method::PathAttribution
    }

    /// What its scores belong to.
    pub fn scores(self) -> Scores {
        use Method::*;
        match self {
            Eap | EapIg | PathPatching | PathAttribution => Scores::Edges,
            Circuit => Scores::Circuits,
            Dla | LogitLens | Detectors => Scores::Sites,
            _ => Scores::Components,
        }
    }

    /// Whether it has two directions.
    pub fn has_direction(self) -> bool {
        use Method::*;
        !matches!(
            self,
            ZeroAblation | MeanAblation | ResampleAblation | Dla | LogitLens | Circuit | Detectors
        )
    }

    /// Whether its scores are magnitudes, whose signs are those of another estimate: then a mean over prompts is one of magnitudes.
    pub fn is_magnitude(self) -> bool {
        self == Method::AtpStar
    }
}

/// Which way values are put.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumMessage,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Direction {
    /// Clean values into the corrupted run
    #[default]
    Denoise,
    /// Corrupted values into the clean run
    Noise,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_everywhere() {
        for method in Method::ALL {
            let written = serde_json::to_string(method).unwrap();
            assert_eq!(written, format!("\"{}\"", method.name()));
            assert_eq!(method.name().parse::<Method>().unwrap(), *method);
        }
        assert_eq!(Method::ActivationPatchingBf16.name(), "activation-patching-bf16");
    }

    #[test]
    fn only_estimates_of_sites_are_verified() {
        let verifiable: Vec<&str> =
            Method::ALL.iter().filter(|method| method.is_verifiable()).map(|method| method.name()).collect();
        assert_eq!(
            verifiable,
            [
                "activation-patching-bf16",
                "attribution-patching",
                "atp-star",
                "integrated-gradients",
                "eap",
                "eap-ig"
            ]
        );
    }
}
