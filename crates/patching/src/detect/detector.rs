//! The names of what is measured of a head.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::component::Part;
use crate::named::named;

named! {
    /// What is measured of a head on a sequence of T tokens with attention A, `[query, key]`.
    ///
    /// The first five are the attention on target positions, summed over a query's targets and averaged over
    /// queries (Olsson et al. 2022, in the form of Crosbie & Shutova 2024).
    pub enum Detector("detector", "snake_case") {
        /// Induction: targets are all positions right after an earlier copy of the query's token; queries of copies
        /// 2 and on.
        PrefixMatching,
        /// The same with the most recent copy only, P - 1 back.
        PrefixMatchingRecent,
        /// The position before; queries from 1.
        PreviousToken,
        /// Earlier copies of the query's token; queries of copies 2 and on.
        DuplicateToken,
        /// Position 0, the sink; queries from 1 (at 0 there is nothing else).
        FirstToken,
        /// How much of what the head adds to the logits, directly, is for the token that it attends to: in [-1, 3],
        /// 1 for a half. See [`super::Settings::compared`] for what it is compared with.
        ///
        /// The direct path of token x is W_U W_O W_V W_E x (Olsson et al. 2022), of which the share of x is taken:
        /// the logits of a set of tokens, less their mean over the set, less what is below 0; then that of x over
        /// the sum. Shares are averaged over queries from 1 and the drawn tokens that they attend to (not BOS),
        /// weighted by the attention, and 4 share - 1 is the score, so that [0, 1/2] becomes [-1, 1].
        ///
        /// The path is linear: norms take part with their weights and their centring, also a norm after attention,
        /// and the projections of a model whose embedding is narrower than its stream. Biases are left out: they
        /// add the same whatever token is attended to. What divides or multiplies by one positive number for a
        /// whole vector cancels in the share, so that no scale has to be chosen: that of the norm that the token's
        /// embedding goes through, that of the norm after attention, the final norm's in the run, the values' own
        /// norm, the factor of the embedding. Clipping of values and Gemma 4's per-layer inputs are left out.
        Copying,
        /// The sum of the eigenvalues of the same circuit, a matrix of the vocabulary's size, over the sum of their
        /// moduli (Elhage et al. 2021): in [-1, 1], 1 if every direction copies. A number of the weights, without
        /// sequences, interval or null.
        CopyingEigenvalues,
        /// AWFT, one of the twelve functions that find inactive heads (see [`Inactivity`]): the average weight of
        /// the first token.
        Awft,
        /// AEQD, the average entropy of the query distributions.
        Aeqd,
        /// FTVVN, the norm of the first token's value vector.
        Ftvvn,
        /// AVVN, the average norm of value vectors.
        Avvn,
        /// LTHON, the norm of the head's output at the last token.
        Lthon,
        /// AHON, the average norm of the head's output.
        Ahon,
        /// AWFT over its mean in the layer.
        AwftLn,
        /// AEQD over its mean in the layer.
        AeqdLn,
        /// FTVVN over its mean in the layer.
        FtvvnLn,
        /// AVVN over its mean in the layer.
        AvvnLn,
        /// LTHON over its mean in the layer.
        LthonLn,
        /// AHON over its mean in the layer.
        AhonLn,
    }
}

/// A function whose low (or high) values mark a head as inactive (Sandoval-Segura et al., "Identifying and Evaluating
/// Inactive Heads").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Inactivity {
    /// What is measured.
    pub measure: Measure,
    /// Divided by its mean over the layer's query heads on the same input: the "(LN)" form.
    pub by_layer: bool,
}

/// What an [`Inactivity`] function measures; o_i = sum_j A_ij v_j is a head's output before W_O, norms are
/// Euclidean, and means go over all positions of the input, 0 included. Under grouped queries, v is that of the
/// head's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// AWFT, average weight of the first token: mean_i A_i0.
    FirstTokenWeight,
    /// AEQD, average entropy of the query distributions, in nats: mean_i -sum_j A_ij ln A_ij.
    QueryEntropy,
    /// FTVVN, first token's value vector norm: |v_0|.
    FirstValueNorm,
    /// AVVN, average value vector norm: mean_j |v_j|.
    ValueNorm,
    /// LTHON, last token's head output norm: |o_last|.
    LastOutputNorm,
    /// AHON, average head output norm: mean_i |o_i|.
    OutputNorm,
}

impl Measure {
    /// All of them, in the paper's order.
    pub const ALL: &'static [Measure] = <Measure as VariantArray>::VARIANTS;
}

impl Inactivity {
    /// The twelve: the six measures, then their (LN) forms.
    pub fn all() -> Vec<Inactivity> {
        let of =
            |by_layer| Measure::ALL.iter().map(move |measure| Inactivity { measure: *measure, by_layer });
        of(false).chain(of(true)).collect()
    }
}

impl Inactivity {
    /// Its name in tables, which is that of its detector.
    pub fn name(self) -> &'static str {
        Detector::from(self).name()
    }
}

impl From<Inactivity> for Detector {
    fn from(Inactivity { measure, by_layer }: Inactivity) -> Detector {
        use Detector::{
            Aeqd, AeqdLn, Ahon, AhonLn, Avvn, AvvnLn, Awft, AwftLn, Ftvvn, FtvvnLn, Lthon, LthonLn,
        };
        let [unnormalised, normalised] = match measure {
            Measure::FirstTokenWeight => [Awft, AwftLn],
            Measure::QueryEntropy => [Aeqd, AeqdLn],
            Measure::FirstValueNorm => [Ftvvn, FtvvnLn],
            Measure::ValueNorm => [Avvn, AvvnLn],
            Measure::LastOutputNorm => [Lthon, LthonLn],
            Measure::OutputNorm => [Ahon, AhonLn],
        };
        if by_layer { normalised } else { unnormalised }
    }
}

impl Detector {
    /// Those that look at where attention goes.
    pub const PATTERN: [Detector; 5] = [
        Detector::PrefixMatching,
        Detector::PrefixMatchingRecent,
        Detector::PreviousToken,
        Detector::DuplicateToken,
        Detector::FirstToken,
    ];

    /// The inactivity function that it is, if it is one.
    pub fn inactivity(self) -> Option<Inactivity> {
        Inactivity::all().into_iter().find(|function| Detector::from(*function) == self)
    }

    /// What of a head it looks at.
    pub fn looks_at(self) -> Part {
        match self.inactivity().map(|function| function.measure) {
            Some(Measure::FirstTokenWeight | Measure::QueryEntropy) => Part::Pattern,
            Some(Measure::FirstValueNorm | Measure::ValueNorm) => Part::Value,
            Some(Measure::LastOutputNorm | Measure::OutputNorm) => Part::Z,
            None if matches!(self, Detector::Copying | Detector::CopyingEigenvalues) => Part::Ov,
            None => Part::Pattern,
        }
    }
}
