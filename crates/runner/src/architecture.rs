//! What a family's `config.json` comes down to: a description in orthogonal choices.
//!
//! The forward pass reads nothing else, so a new family adds choices or none, never a second forward pass.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::hook::Point;

/// The shape and the choices of one decoder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Architecture {
    /// Hugging Face's `model_type`.
    pub family: String,
    /// Number of blocks, L.
    pub n_layers: usize,
    /// Query heads per layer, H.
    pub n_heads: usize,
    /// Key/value heads per layer, G; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width of one head.
    pub d_head: usize,
    /// Neurons of one MLP.
    pub d_mlp: usize,
    /// Size of the vocabulary, V.
    pub n_vocab: usize,
    /// The context window in tokens.
    pub n_ctx: usize,
    /// Which normalisation stands before attention, MLP and unembedding.
    pub norm: Norm,
    /// How positions enter.
    pub positions: Positions,
    /// The MLP's form.
    pub mlp: Mlp,
    /// What query-key products are divided by.
    pub attention_scale: AttentionScale,
    /// Biases on q, k, v.
    pub qkv_bias: bool,
    /// Bias on the attention output.
    pub attention_out_bias: bool,
    /// Biases in the MLP.
    pub mlp_bias: bool,
    /// The unembedding is the embedding's transpose.
    pub tied: bool,
    /// First token of every text, if the model has one.
    pub bos: Option<i64>,
    /// Tokens that end a text.
    pub eos: Vec<i64>,
}

/// Normalisation over the last axis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Norm {
    /// Mean and variance, weight and bias.
    Layer {
        /// Added to the variance.
        eps: f64,
    },
    /// Root mean square and weight.
    Rms {
        /// Added to the mean square.
        eps: f64,
    },
}

/// How positions enter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Positions {
    /// A learned vector added to the embedding.
    Learned,
    /// Queries and keys are rotated (Su et al. 2021), halves paired as in Hugging Face's Llama.
    Rotary {
        /// Base of the geometric series of wavelengths.
        base: f64,
    },
}

/// The MLP's form.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mlp {
    /// `W_out act(W_in x)`.
    Plain {
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

/// What query-key products are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionScale {
    /// sqrt(d_head).
    SqrtHead,
    /// sqrt(d_head) (layer + 1): GPT-2's `scale_attn_by_inverse_layer_idx`.
    SqrtHeadByLayer,
    /// 1: GPT-2's `scale_attn_weights = false`.
    One,
    /// layer + 1: both of the above.
    ByLayer,
}

impl Architecture {
    /// The factor on query-key products in `layer`.
    pub fn attention_factor(&self, layer: usize) -> f64 {
        let head = (self.d_head as f64).sqrt();
        let depth = (layer + 1) as f64;
        match self.attention_scale {
            AttentionScale::SqrtHead => 1.0 / head,
            AttentionScale::SqrtHeadByLayer => 1.0 / (head * depth),
            AttentionScale::One => 1.0,
            AttentionScale::ByLayer => 1.0 / depth,
        }
    }

    /// Whether this model computes the activation at `point`.
    pub fn has(&self, point: Point) -> bool {
        match point {
            Point::PosEmbed => self.positions == Positions::Learned,
            Point::RotQ | Point::RotK => matches!(self.positions, Positions::Rotary { .. }),
            Point::MlpPreLinear => matches!(self.mlp, Mlp::Gated { .. }),
            _ => true,
        }
    }

    /// Size of the last axis at `point`; none where it is the number of keys, which grows with the input.
    pub fn width(&self, point: Point) -> Option<usize> {
        Some(match point {
            Point::Ln1Scale | Point::Ln2Scale | Point::FinalScale => 1,
            Point::Q | Point::K | Point::V | Point::RotQ | Point::RotK | Point::Z => self.d_head,
            Point::AttnScores | Point::Pattern => return None,
            Point::MlpPre | Point::MlpPreLinear | Point::MlpPost => self.d_mlp,
            Point::Logits => self.n_vocab,
            _ => self.d_model,
        })
    }

    /// Checks what holds for every decoder, whatever its family.
    ///
    /// # Errors
    /// [`Error::Config`] naming the values that contradict each other.
    pub(crate) fn validated(self) -> Result<Self> {
        let sizes = [
            ("layers", self.n_layers, 10_000),
            ("attention heads", self.n_heads, 100_000),
            ("key/value heads", self.n_kv_heads, 100_000),
            ("model width", self.d_model, 10_000_000),
            ("head width", self.d_head, 1_000_000),
            ("MLP width", self.d_mlp, 100_000_000),
            ("vocabulary", self.n_vocab, 100_000_000),
            ("context window", self.n_ctx, 1_000_000_000),
        ];
        for (what, size, most) in sizes {
            if size == 0 || size > most {
                return Err(Error::Config(format!("{what}: {size} is not between 1 and {most}")));
            }
        }
        let (Norm::Layer { eps } | Norm::Rms { eps }) = self.norm;
        if !(eps > 0.0 && eps < 1.0) {
            return Err(Error::Config(format!("the norm's epsilon {eps} is not between 0 and 1")));
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(Error::Config(format!(
                "{} attention heads cannot share {} key/value heads evenly",
                self.n_heads, self.n_kv_heads
            )));
        }
        if matches!(self.positions, Positions::Rotary { .. }) && !self.d_head.is_multiple_of(2) {
            return Err(Error::Config(format!(
                "rotary positions need an even head width, not {}",
                self.d_head
            )));
        }
        Ok(self)
    }
}
