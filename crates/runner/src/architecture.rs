//! What a family's `config.json` comes down to: a description in orthogonal choices.
//!
//! The forward pass reads nothing else, so a new family adds choices or none, never a second forward pass.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::hook::{Axes, Hook, Point};
use crate::rotary::Rotary;

/// The shape and the choices of one decoder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Architecture {
    /// Hugging Face's `model_type`.
    pub family: String,
    /// Number of blocks, L: the length of `layers`.
    pub n_layers: usize,
    /// Query heads per layer, H.
    pub n_heads: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Size of the vocabulary, V.
    pub n_vocab: usize,
    /// The context window in tokens.
    pub n_ctx: usize,
    /// What may differ from block to block, from the input up.
    pub layers: Vec<Layer>,
    /// The form of every norm of the residual stream.
    pub norm: Norm,
    /// Where in a block the norms stand.
    pub norm_place: NormPlace,
    /// Attention and MLP read the same stream, and both are added to it at once.
    pub parallel: bool,
    /// A norm stands before the unembedding.
    pub final_norm: bool,
    /// A learned vector for each position is added to the embedding.
    pub learned_positions: bool,
    /// Queries and keys are normalised before rotation.
    pub qk_norm: Option<QkNorm>,
    /// Values are divided by their root mean square, head by head.
    pub v_norm: bool,
    /// Queries, keys and values are cut to this magnitude.
    pub qkv_clip: Option<f64>,
    /// Scores are squashed to c tanh(score / c) before the mask.
    pub attention_softcap: Option<f64>,
    /// Logits are squashed to c tanh(logit / c).
    pub logit_softcap: Option<f64>,
    /// The token embedding is multiplied by this, rounded to the model's dtype.
    pub embed_scale: Option<f64>,
    /// Width of the token embedding where a projection leads from it to the stream and back.
    pub embed_width: Option<usize>,
    /// Width of the vectors that every layer looks up for each token beside the stream (Gemma 4).
    pub per_layer_width: Option<usize>,
    /// The stream is multiplied by a learned number at the end of every block.
    pub layer_scale: bool,
    /// The form of every MLP and expert.
    pub mlp: Mlp,
    /// Biases on q, k, v.
    pub qkv_bias: bool,
    /// Bias on the attention output.
    pub attention_out_bias: bool,
    /// Biases in the MLP.
    pub mlp_bias: bool,
    /// Norms have learned weights (and biases, if they centre).
    pub norm_affine: bool,
    /// The unembedding has a bias.
    pub unembed_bias: bool,
    /// The unembedding is the embedding's transpose.
    pub tied: bool,
    /// First token of every text, if the model has one.
    pub bos: Option<i64>,
    /// Tokens that end a text.
    pub eos: Vec<i64>,
}

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
    Before,
    /// After each of them: `x + ln1_post(attn(x))` (OLMo 2).
    After,
    /// Both: `x + ln1_post(attn(ln1(x)))` (Gemma 2).
    Around,
    /// On the stream, after the addition: `ln1(x + attn(x))` (the original transformer, OPT-350m).
    Stream,
}

impl NormPlace {
    /// `ln1` and `ln2` exist.
    pub fn has_first(self) -> bool {
        self != NormPlace::After
    }

    /// `ln1_post` and `ln2_post` exist.
    pub fn has_post(self) -> bool {
        matches!(self, NormPlace::After | NormPlace::Around)
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

impl Architecture {
    /// Whether this model computes the activation at `hook`.
    pub fn has(&self, hook: Hook) -> bool {
        let Some(index) = hook.layer() else {
            return match hook.point() {
                Point::PosEmbed => self.learned_positions,
                Point::FinalScale | Point::FinalNormalized => self.final_norm,
                _ => true,
            };
        };
        let Some(layer) = self.layers.get(index) else { return false };
        let own_keys = !matches!(layer.keys, Keys::OfLayer(_));
        match hook.point() {
            Point::K | Point::V => own_keys,
            Point::RotQ => layer.rotary.is_some(),
            Point::RotK => layer.rotary.is_some() && own_keys,
            Point::Ln1Scale | Point::Ln1Normalized => self.norm_place.has_first(),
            Point::Ln2Scale | Point::Ln2Normalized => self.norm_place.has_first(),
            Point::Ln1PostScale | Point::Ln1PostNormalized => self.norm_place.has_post(),
            Point::Ln2PostScale | Point::Ln2PostNormalized => self.norm_place.has_post(),
            Point::ResidMid => !self.parallel,
            Point::MlpPre | Point::MlpPost => layer.d_mlp.is_some(),
            Point::MlpPreLinear => layer.d_mlp.is_some() && matches!(self.mlp, Mlp::Gated { .. }),
            Point::Router | Point::ExpertWeights => layer.experts.is_some(),
            Point::PerLayerInput | Point::PerLayerOut => self.per_layer_width.is_some(),
            _ => true,
        }
    }

    /// Size of the last axis at `hook`; none where it is the number of keys, which grows with the input, and where
    /// the model has no such hook.
    pub fn width(&self, hook: Hook) -> Option<usize> {
        let layer = match hook.layer() {
            Some(index) => Some(self.layers.get(index)?),
            None => None,
        };
        match hook.point() {
            Point::Ln1Scale | Point::Ln2Scale | Point::FinalScale => Some(1),
            Point::Ln1PostScale | Point::Ln2PostScale => Some(1),
            Point::Q | Point::K | Point::V | Point::RotQ | Point::RotK | Point::Z => {
                layer.map(|layer| layer.d_head)
            }
            Point::AttnScores | Point::Pattern => None,
            Point::MlpPre | Point::MlpPreLinear | Point::MlpPost => layer.and_then(|layer| layer.d_mlp),
            Point::Router | Point::ExpertWeights => Some(layer?.experts.as_ref()?.count),
            Point::PerLayerInput => self.per_layer_width,
            Point::Logits => Some(self.n_vocab),
            _ => Some(self.d_model),
        }
    }

    /// Heads along the head axis at `hook`; none if it has no such axis.
    pub fn heads(&self, hook: Hook) -> Option<usize> {
        match hook.point().axes() {
            Axes::Stream => None,
            Axes::Heads | Axes::Pairs => Some(self.n_heads),
            Axes::KvHeads => {
                hook.layer().and_then(|layer| self.layers.get(layer)).map(|layer| layer.n_kv_heads)
            }
        }
    }

    /// The highest layer, `layer` at most, from whose residual stream alone a run can go on: above it no layer
    /// reads the keys and values of one below it.
    pub fn restart_layer(&self, layer: usize) -> usize {
        let mut start = layer.min(self.n_layers);
        for above in (0..self.n_layers).rev() {
            match self.layers[above].keys {
                Keys::OfLayer(source) if above >= start => start = start.min(source),
                _ => {}
            }
        }
        start
    }

    /// The row length beyond which every position of a row is rotated otherwise (LongRoPE), if there is one.
    pub fn rotation_switch(&self) -> Option<usize> {
        self.layers.iter().filter_map(|layer| layer.rotary.as_ref()?.switches_at()).min()
    }

    /// Checks what holds for every decoder, whatever its family.
    ///
    /// # Errors
    /// [`Error::Config`] naming the values that contradict each other.
    pub(crate) fn validated(self) -> Result<Self> {
        let mut sizes = vec![
            ("layers", self.n_layers, 10_000),
            ("attention heads", self.n_heads, 100_000),
            ("model width", self.d_model, 10_000_000),
            ("vocabulary", self.n_vocab, 100_000_000),
            ("context window", self.n_ctx, 1_000_000_000),
        ];
        sizes.extend(self.embed_width.map(|width| ("embedding width", width, 10_000_000)));
        sizes.extend(self.per_layer_width.map(|width| ("per-layer input width", width, 10_000_000)));
        for layer in &self.layers {
            sizes.push(("key/value heads", layer.n_kv_heads, 100_000));
            sizes.push(("head width", layer.d_head, 1_000_000));
            sizes.extend(layer.window.map(|window| ("attention window", window, 1_000_000_000)));
            sizes.extend(layer.d_mlp.map(|width| ("MLP width", width, 100_000_000)));
            if let Some(experts) = &layer.experts {
                sizes.push(("experts", experts.count, 100_000));
                sizes.push(("expert width", experts.d_expert, 100_000_000));
                sizes.push(("experts per token", experts.per_token, experts.count));
            }
        }
        for (what, size, most) in sizes {
            if size == 0 || size > most {
                return Err(Error::Config(format!("{what}: {size} is not between 1 and {most}")));
            }
        }
        let eps = self.norm.eps();
        if !(eps > 0.0 && eps < 1.0) {
            return Err(Error::Config(format!("the norm's epsilon {eps} is not between 0 and 1")));
        }
        let caps = [self.attention_softcap, self.logit_softcap, self.qkv_clip, self.embed_scale];
        if let Some(cap) = caps.into_iter().flatten().find(|cap| !(*cap > 0.0 && cap.is_finite())) {
            return Err(Error::Config(format!("a cap, clip or scale of {cap} is not positive")));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if !self.n_heads.is_multiple_of(layer.n_kv_heads) {
                return Err(Error::Config(format!(
                    "{} attention heads cannot share {} key/value heads evenly",
                    self.n_heads, layer.n_kv_heads
                )));
            }
            if let Some(rotary) = &layer.rotary {
                rotary.check(layer.d_head)?;
            }
            if !(layer.score_factor > 0.0 && layer.score_factor.is_finite()) {
                return Err(Error::Config(format!("scores cannot be multiplied by {}", layer.score_factor)));
            }
            if let Keys::OfLayer(source) = layer.keys {
                let fits = self.layers.get(source).is_some_and(|from| {
                    source < index && (from.n_kv_heads, from.d_head) == (layer.n_kv_heads, layer.d_head)
                });
                if !fits {
                    return Err(Error::Config(format!(
                        "layer {index} cannot use the keys of layer {source}"
                    )));
                }
            }
        }
        Ok(self)
    }
}
