//! What a family's `config.json` comes down to: a description in orthogonal choices.
//!
//! The forward pass reads nothing else, so a new family adds choices or none, never a second forward pass.

mod layer;
mod parts;
mod rotary;
mod validate;

use serde::Serialize;

use crate::hook::{Axes, Hook, HookPoint};

pub use layer::{Activation, BesideDense, Experts, Keys, Layer, Mlp, Norm, NormPlace, QkNorm};
pub use parts::{Biases, Caps, Embedding, Norms};
pub use rotary::{Pairing, Rotary, Scaling};

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
    /// Attention and MLP read the same stream, and both are added to it at once.
    pub parallel: bool,
    /// The stream is multiplied by a learned number at the end of every block.
    pub layer_scale: bool,
    /// How tokens become vectors.
    pub embedding: Embedding,
    /// What is normalised, and how.
    pub norms: Norms,
    /// Where biases are added.
    pub biases: Biases,
    /// What is kept from growing.
    pub caps: Caps,
    /// The form of every MLP and expert.
    pub mlp: Mlp,
    /// First token of every text, if the model has one.
    pub bos: Option<i64>,
    /// Tokens that end a text.
    pub eos: Vec<i64>,
}

impl Architecture {
    /// Whether this model computes the activation at `hook`.
    pub fn has(&self, hook: Hook) -> bool {
        let Some(index) = hook.layer() else {
            return match hook.point() {
                HookPoint::PosEmbed => self.embedding.learned_positions,
                HookPoint::FinalScale | HookPoint::FinalNormalized => self.norms.last,
                _ => true,
            };
        };
        let Some(layer) = self.layers.get(index) else { return false };
        let own_keys = !matches!(layer.keys, Keys::OfLayer(_));
        match hook.point() {
            HookPoint::K | HookPoint::V => own_keys,
            HookPoint::RotQ => layer.rotary.is_some(),
            HookPoint::RotK => layer.rotary.is_some() && own_keys,
            HookPoint::Ln1Scale | HookPoint::Ln1Normalized => self.norms.place.has_first(),
            HookPoint::Ln2Scale | HookPoint::Ln2Normalized => self.norms.place.has_first(),
            HookPoint::Ln1PostScale | HookPoint::Ln1PostNormalized => self.norms.place.has_post(),
            HookPoint::Ln2PostScale | HookPoint::Ln2PostNormalized => self.norms.place.has_post(),
            HookPoint::ResidMid => !self.parallel,
            HookPoint::MlpPre | HookPoint::MlpPost => layer.d_mlp.is_some(),
            HookPoint::MlpPreLinear => layer.d_mlp.is_some() && matches!(self.mlp, Mlp::Gated { .. }),
            HookPoint::Router | HookPoint::ExpertWeights => layer.experts.is_some(),
            HookPoint::PerLayerInput | HookPoint::PerLayerOut => self.embedding.per_layer_width.is_some(),
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
            HookPoint::Ln1Scale | HookPoint::Ln2Scale | HookPoint::FinalScale => Some(1),
            HookPoint::Ln1PostScale | HookPoint::Ln2PostScale => Some(1),
            HookPoint::Q | HookPoint::K | HookPoint::V | HookPoint::RotQ | HookPoint::RotK | HookPoint::Z => {
                layer.map(|layer| layer.d_head)
            }
            HookPoint::AttnScores | HookPoint::Pattern => None,
            HookPoint::MlpPre | HookPoint::MlpPreLinear | HookPoint::MlpPost => {
                layer.and_then(|layer| layer.d_mlp)
            }
            HookPoint::Router | HookPoint::ExpertWeights => Some(layer?.experts.as_ref()?.count),
            HookPoint::PerLayerInput => self.embedding.per_layer_width,
            HookPoint::Logits => Some(self.n_vocab),
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
}
