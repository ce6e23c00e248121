//! What holds for all blocks, part by part.

use serde::Serialize;

use super::layer::{Norm, NormPlace, QkNorm};

/// The token embedding and what stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Embedding {
    /// The unembedding is its transpose.
    pub tied: bool,
    /// It is multiplied by this, rounded to the model's dtype.
    pub scale: Option<f64>,
    /// Its width where a projection leads from it to the stream and back.
    pub width: Option<usize>,
    /// Width of the vectors that every layer looks up for each token beside the stream (Gemma 4).
    pub per_layer_width: Option<usize>,
    /// A learned vector for each position is added to it.
    pub learned_positions: bool,
    /// Rows of that table before the one of position 0 (OPT has two, which nothing uses).
    pub position_offset: usize,
}

/// The norms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Norms {
    /// The form of every norm of the residual stream.
    pub form: Norm,
    /// Where in a block the norms stand.
    pub place: NormPlace,
    /// A norm stands before the unembedding.
    pub last: bool,
    /// Norms have learned weights (and biases, if they centre).
    pub affine: bool,
    /// Queries and keys are normalised before rotation.
    pub qk: Option<QkNorm>,
    /// Values are divided by their root mean square, head by head.
    pub v: bool,
}

/// The biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Biases {
    /// On q, k, v.
    pub qkv: bool,
    /// On the attention output.
    pub attention_out: bool,
    /// In the MLP.
    pub mlp: bool,
    /// Of the unembedding.
    pub unembed: bool,
}

/// The caps.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Caps {
    /// Scores are squashed to c tanh(score / c) before the mask.
    pub scores: Option<f64>,
    /// Logits are squashed to c tanh(logit / c).
    pub logits: Option<f64>,
    /// Queries, keys and values are cut to this magnitude.
    pub qkv: Option<f64>,
}
