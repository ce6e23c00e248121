//! The choices: of one block, of norms, of the MLP.

use serde::Serialize;

use super::rotary::Rotary;
use crate::error::{Error, Result};

/// What may differ from block to block.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// Key/value heads, G; divides the number of query heads.
    pub n_kv_heads: usize,
    /// Width of one head.
    pub d_head: usize,
    /// A query sees itself and the `window - 1` tokens before it; none: all before it.
    pub window: Option<usize>,
    /// How queries and keys are rotated; none: not at all.
    pub rotary: Option<Rotary>,
    /// Query-key products are multiplied by this.
    pub score_factor: f64,
    /// Where keys and values come from.
    pub keys: Keys,
    /// Neurons of the dense MLP (the shared expert, beside experts); none: there is none.
    pub d_mlp: Option<usize>,
    /// The mixture of experts, alone or beside the dense MLP.
    pub experts: Option<Experts>,
}

/// Where a layer's keys and values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// Projections of their own.
    Own,
    /// One projection for both.
    SharedProjection,
    /// The keys and values of an earlier layer.
    OfLayer(usize),
}

/// A mixture of experts: the router's softmax over all experts, of which the largest few are kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many each token goes to.
    pub per_token: usize,
    /// Neurons of each.
    pub d_expert: usize,
    /// The weights that are kept are divided by their sum.
    pub renormalise: bool,
    /// How they go together with the dense MLP.
    pub beside_dense: BesideDense,
}

/// How experts and a dense MLP of one block go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BesideDense {
    /// There is no dense MLP.
    Alone,
    /// The dense MLP is a shared expert behind a sigmoid gate of its own (Qwen2-MoE).
    SharedExpert,
    /// Both read the stream through norms of their own and are normalised again; the router has a norm and
    /// every expert a scale (Gemma 4).
    OwnNorms,
}

/// Normalisation over the last axis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Norm {
    /// Mean and variance.
    Layer {
        /// Added to the variance.
        eps: f64,
    },
    /// Root mean square.
    Rms {
        /// Added to the mean square.
        eps: f64,
    },
}

impl Norm {
    /// What is added under the root.
    pub fn eps(self) -> f64 {
        let (Norm::Layer { eps } | Norm::Rms { eps }) = self;
        eps
    }

    /// Whether the mean is taken off, which goes with a bias.
    pub fn centres(self) -> bool {
        matches!(self, Norm::Layer { .. })
    }
}

/// Where in a block the norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPlace {
    /// Before attention and before the MLP: `x + attn(ln1(x))`.
    Pre,
    /// After each of them: `x + ln1_post(attn(x))` (OLMo 2).
    PostSublayer,
    /// Both: `x + ln1_post(attn(ln1(x)))` (Gemma 2).
    Sandwich,
    /// On the stream, after the addition: `ln1(x + attn(x))` (the original transformer, OPT-350m).
    Post,
}

impl NormPlace {
    /// `ln1` and `ln2` exist.
    pub fn has_first(self) -> bool {
        self != NormPlace::PostSublayer
    }

    /// `ln1_post` and `ln2_post` exist.
    pub fn has_post(self) -> bool {
        matches!(self, NormPlace::PostSublayer | NormPlace::Sandwich)
    }
}

/// The norm of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// Every head on its own, all with the same weights (Qwen 3).
    Head,
    /// Every head on its own with its own weights (StableLM).
    EachHead,
    /// All heads together (OLMo 2).
    AllHeads,
}

/// The MLP's form.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mlp {
    /// `W_out act(W_in x)`.
    Ungated {
        /// The non-linearity.
        activation: Activation,
    },
    /// `W_out (act(W_gate x) * W_in x)`, SwiGLU when the activation is SiLU.
    Gated {
        /// The non-linearity of the gate.
        activation: Activation,
    },
}

/// A neuron's non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// GELU through the error function.
    Gelu,
    /// GELU's tanh approximation (`gelu_new`).
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x sigmoid(x), also called swish.
    Silu,
}

impl Activation {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Gelu => "GELU",
            Activation::GeluTanh => "GELU (tanh)",
            Activation::Relu => "ReLU",
            Activation::Silu => "SiLU",
        }
    }

    /// The activation that Hugging Face calls `name`.
    ///
    /// # Errors
    /// [`Error::Config`] if this program does not have it.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            other => Err(Error::Config(format!(
                "activation `{other}` is not supported (supported: gelu, gelu_new, gelu_pytorch_tanh, relu, silu)"
            ))),
        }
    }
}
