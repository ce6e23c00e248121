//! The names of the places in the forward pass, those of TransformerLens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What stands at a hook, and along which axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axes {
    /// `[batch, pos, features]`.
    Stream,
    /// `[batch, pos, head, features]`, over query heads.
    Heads,
    /// `[batch, pos, head, features]`, over key/value heads.
    KvHeads,
    /// `[batch, head, query pos, key pos]`.
    Pairs,
}

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident $name:literal $in_block:literal $axes:ident;)*) => {
        /// A kind of place in the forward pass; with a layer, a [`Hook`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum HookPoint { $($(#[$doc])* $point,)* }

        impl HookPoint {
            /// Every point, in the order of the forward pass.
            pub const ALL: &[HookPoint] = &[$(HookPoint::$point,)*];

            /// The name within its block, or the whole name outside the blocks.
            pub fn name(self) -> &'static str { match self { $(HookPoint::$point => $name,)* } }

            /// Whether every block has one.
            pub fn in_block(self) -> bool { match self { $(HookPoint::$point => $in_block,)* } }

            /// The axes of the tensor there.
            pub fn axes(self) -> Axes { match self { $(HookPoint::$point => Axes::$axes,)* } }
        }
    };
}

points! {
    /// Token embedding, scaled and projected to the stream's width where a family does so.
    Embed "hook_embed" false Stream;
    /// Learned position embedding (families that have one).
    PosEmbed "hook_pos_embed" false Stream;
    /// Residual stream that enters the block.
    ResidPre "hook_resid_pre" true Stream;
    /// What attention reads of it, before the norm. TransformerLens repeats it for every head; here it is one.
    AttnIn "hook_attn_in" true Stream;
    /// What ln1 divides by, `[batch, pos, 1]`.
    Ln1Scale "ln1.hook_scale" true Stream;
    /// Normalised input of attention, the norm's weight and bias applied.
    Ln1Normalized "ln1.hook_normalized" true Stream;
    /// Queries as projected: before clipping, norm and rotation.
    Q "attn.hook_q" true Heads;
    /// Keys as projected: before clipping, norm and rotation.
    K "attn.hook_k" true KvHeads;
    /// Values as they are mixed.
    V "attn.hook_v" true KvHeads;
    /// Rotated queries, which scores are made of (rotary families).
    RotQ "attn.hook_rot_q" true Heads;
    /// Rotated keys, which scores are made of (rotary families).
    RotK "attn.hook_rot_k" true KvHeads;
    /// Scaled, capped and masked scores, -inf where masked.
    AttnScores "attn.hook_attn_scores" true Pairs;
    /// Attention weights; rows sum to 1.
    Pattern "attn.hook_pattern" true Pairs;
    /// Mixed values of each head, before W_O.
    Z "attn.hook_z" true Heads;
    /// Each head's contribution to the residual stream, without b_O: `[batch, pos, head, d_model]`.
    Result "attn.hook_result" true Heads;
    /// What the norm after attention divides by (families that have one), `[batch, pos, 1]`.
    Ln1PostScale "ln1_post.hook_scale" true Stream;
    /// Attention's output normalised, the norm's weight applied.
    Ln1PostNormalized "ln1_post.hook_normalized" true Stream;
    /// Attention's contribution to the residual stream.
    AttnOut "hook_attn_out" true Stream;
    /// Residual stream between attention and MLP (none where they are parallel).
    ResidMid "hook_resid_mid" true Stream;
    /// What the MLP reads of it, before the norm.
    MlpIn "hook_mlp_in" true Stream;
    /// What ln2 divides by, `[batch, pos, 1]`.
    Ln2Scale "ln2.hook_scale" true Stream;
    /// Normalised input of the MLP, the norm's weight and bias applied.
    Ln2Normalized "ln2.hook_normalized" true Stream;
    /// Neurons before the non-linearity (the gate's, in a gated MLP).
    MlpPre "mlp.hook_pre" true Stream;
    /// The factor that the gate multiplies (gated MLPs).
    MlpPreLinear "mlp.hook_pre_linear" true Stream;
    /// Neurons: what W_out reads.
    MlpPost "mlp.hook_post" true Stream;
    /// The router's logit for each expert, `[batch, pos, expert]`.
    Router "mlp.hook_router" true Stream;
    /// The weight that each expert's output is given, 0 for those not chosen, `[batch, pos, expert]`.
    /// (TransformerLens's `hook_expert_weights` is the softmax over all experts instead.)
    ExpertWeights "mlp.hook_expert_weights" true Stream;
    /// What the norm after the MLP divides by (families that have one), `[batch, pos, 1]`.
    Ln2PostScale "ln2_post.hook_scale" true Stream;
    /// The MLP's output normalised, the norm's weight applied.
    Ln2PostNormalized "ln2_post.hook_normalized" true Stream;
    /// The contribution of MLP and experts to the residual stream.
    MlpOut "hook_mlp_out" true Stream;
    /// What the token brings to this layer beside the stream, `[batch, pos, per_layer]` (Gemma 4).
    PerLayerInput "hook_per_layer_input" true Stream;
    /// Its contribution to the residual stream.
    PerLayerOut "hook_per_layer_out" true Stream;
    /// Residual stream that leaves the block.
    ResidPost "hook_resid_post" true Stream;
    /// What the final norm divides by, `[batch, pos, 1]`.
    FinalScale "ln_final.hook_scale" false Stream;
    /// Normalised input of the unembedding.
    FinalNormalized "ln_final.hook_normalized" false Stream;
    /// Logits. (TransformerLens returns these without a hook.)
    Logits "hook_logits" false Stream;
}

/// One place: a [`HookPoint`] and, inside the blocks, its layer. Written `blocks.3.attn.hook_z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hook {
    layer: Option<usize>,
    point: HookPoint,
}

impl Hook {
    /// `point` in block `layer`. For a point outside the blocks the layer is dropped.
    pub fn block(layer: usize, point: HookPoint) -> Self {
        Hook { layer: point.in_block().then_some(layer), point }
    }

    /// A point outside the blocks; one inside them is taken to mean layer 0.
    pub fn top(point: HookPoint) -> Self {
        Hook::block(0, point)
    }

    /// The kind of place.
    pub fn point(self) -> HookPoint {
        self.point
    }

    /// The layer, for a place inside a block.
    pub fn layer(self) -> Option<usize> {
        self.layer
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "blocks.{layer}.{}", self.point.name()),
            None => f.write_str(self.point.name()),
        }
    }
}

impl FromStr for HookPoint {
    type Err = Error;

    /// Reads the name within a block (`attn.hook_z`) or outside (`hook_embed`).
    fn from_str(name: &str) -> Result<Self> {
        HookPoint::ALL
            .iter()
            .copied()
            .find(|point| point.name() == name)
            .ok_or_else(|| unknown(name, name, |near| near.to_owned()))
    }
}

impl FromStr for Hook {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if let Some((layer, rest)) = name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
            let found = HookPoint::ALL.iter().copied().find(|point| point.in_block() && point.name() == rest);
            return match (layer.parse(), found) {
                (Ok(layer), Some(point)) => Ok(Hook::block(layer, point)),
                _ => Err(unknown(name, rest, |near| format!("blocks.{layer}.{near}"))),
            };
        }
        match HookPoint::ALL.iter().copied().find(|point| !point.in_block() && point.name() == name) {
            Some(point) => Ok(Hook::top(point)),
            None => Err(unknown(name, name, |near| match near.parse::<HookPoint>() {
                Ok(point) if point.in_block() => format!("blocks.0.{near}"),
                _ => near.to_owned(),
            })),
        }
    }
}

/// The error for a name that does not exist, with the nearest one that does.
fn unknown(name: &str, local: &str, full: impl Fn(&str) -> String) -> Error {
    let nearest = nearest(local, HookPoint::ALL.iter().map(|point| point.name()));
    Error::UnknownHook { name: name.to_owned(), nearest: full(nearest.unwrap_or_default()) }
}

/// The candidate that takes the fewest insertions, deletions and replacements of characters (Levenshtein), the first of
/// several; none if there is no candidate.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates.into_iter().min_by_key(|candidate| strsim::levenshtein(name, candidate))
}

/// A query head: layer and index, both from 0, written `L9H6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Head {
    /// The layer.
    pub layer: usize,
    /// The head within its layer.
    pub head: usize,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}H{}", self.layer, self.head)
    }
}

impl FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.strip_prefix('L').and_then(|rest| rest.split_once('H'));
        match parts.map(|(layer, head)| (layer.parse(), head.parse())) {
            Some((Ok(layer), Ok(head))) => Ok(Head { layer, head }),
            _ => Err(Error::Input(format!("`{text}` is not a head: write L2H0 for head 0 of layer 2"))),
        }
    }
}

/// Conversions that serde writes and reads names with.
macro_rules! written_as_text {
    ($($name:ident)*) => {
        $(impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        })*
    };
}

written_as_text! { Hook Head }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for &point in HookPoint::ALL {
            let hook = Hook::block(7, point);
            assert_eq!(hook.to_string().parse::<Hook>().unwrap(), hook);
        }
        assert_eq!(Hook::block(3, HookPoint::Z).to_string(), "blocks.3.attn.hook_z");
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let message = |name: &str| name.parse::<Hook>().unwrap_err().to_string();
        assert_eq!(
            message("blocks.2.attn.hook_zz"),
            "unknown hook `blocks.2.attn.hook_zz`; did you mean `blocks.2.attn.hook_z`?"
        );
        assert!(message("hook_resid_pre").ends_with("did you mean `blocks.0.hook_resid_pre`?"));
        assert!(message("blocks.x.hook_resid_pre").contains("unknown hook"));
    }

    #[test]
    fn hooks_are_written_by_name() {
        let hook = Hook::block(3, HookPoint::Z);
        let text = serde_json::to_string(&hook).unwrap();
        assert_eq!(text, r#""blocks.3.attn.hook_z""#);
        assert_eq!(serde_json::from_str::<Hook>(&text).unwrap(), hook);
    }

    #[test]
    fn heads_are_written_as_in_the_field() {
        assert_eq!("L9H6".parse::<Head>().unwrap(), Head { layer: 9, head: 6 });
        assert!("9.6".parse::<Head>().is_err());
    }
}
