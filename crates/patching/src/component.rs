//! What is patched: a component of a layer, at all positions or at one.

use refrain_runner::{Architecture, Hook, HookPoint, Model};
use serde::{Deserialize, Serialize};

use crate::named::named;

named! {
    /// A kind of activation that a sweep changes.
    pub enum Component("component", "snake_case") {
        /// A head's attention-weighted values, before W_O.
        Z,
        /// A head's queries.
        Q,
        /// A key/value head's keys.
        K,
        /// A key/value head's values.
        V,
        /// A head's attention weights.
        Pattern,
        /// A head's contribution to the residual stream.
        Result,
        /// Attention's contribution to the residual stream.
        AttnOut,
        /// The MLP's contribution to the residual stream.
        MlpOut,
        /// The residual stream that enters the block.
        ResidPre,
        /// The residual stream between attention and MLP.
        ResidMid,
        /// The residual stream that leaves the block.
        ResidPost,
        /// One neuron of the MLP.
        Neuron,
    }
}

impl Component {
    /// The point where it stands.
    pub fn point(self) -> HookPoint {
        match self {
            Component::Z => HookPoint::Z,
            Component::Q => HookPoint::Q,
            Component::K => HookPoint::K,
            Component::V => HookPoint::V,
            Component::Pattern => HookPoint::Pattern,
            Component::Result => HookPoint::Result,
            Component::AttnOut => HookPoint::AttnOut,
            Component::MlpOut => HookPoint::MlpOut,
            Component::ResidPre => HookPoint::ResidPre,
            Component::ResidMid => HookPoint::ResidMid,
            Component::ResidPost => HookPoint::ResidPost,
            Component::Neuron => HookPoint::MlpPost,
        }
    }

    /// The hook in `layer`.
    pub fn hook(self, layer: usize) -> Hook {
        Hook::block(layer, self.point())
    }

    /// Its hooks in all layers that have it.
    pub(crate) fn hooks(self, model: &Model) -> impl Iterator<Item = Hook> + '_ {
        let arch = model.architecture();
        (0..arch.n_layers).map(move |layer| self.hook(layer)).filter(|hook| arch.has(*hook))
    }

    /// The component whose change is the same and easier to make: a head's contribution is a linear map of its z.
    pub(crate) fn made_by(self) -> Self {
        if self == Component::Result { Component::Z } else { self }
    }

    /// Whether it has a head axis.
    pub fn is_of_heads(self) -> bool {
        matches!(
            self,
            Component::Z
                | Component::Q
                | Component::K
                | Component::V
                | Component::Pattern
                | Component::Result
        )
    }

    /// How many there are in `layer`: 0 if the layer has none, 1 for the residual stream.
    pub fn count(self, arch: &Architecture, layer: usize) -> usize {
        let hook = self.hook(layer);
        match self {
            _ if !arch.has(hook) => 0,
            Component::Neuron => arch.width(hook).unwrap_or(0),
            _ => arch.heads(hook).unwrap_or(1),
        }
    }
}

named! {
    /// What a row of a table is about: a component that can be patched, or something else that a method scores.
    #[allow(missing_docs)] // the first are those of `Component`
    pub enum Part("component", "snake_case") {
        Z,
        Q,
        K,
        V,
        Pattern,
        Result,
        AttnOut,
        MlpOut,
        ResidPre,
        ResidMid,
        ResidPost,
        Neuron,
        /// The token embedding.
        Embed,
        /// The learned position embedding.
        PosEmbed,
        /// The bias of attention's output.
        AttnBias,
        /// The layer's own input beside the residual stream (Gemma 4).
        PerLayerOut,
        /// The bias of the final norm.
        LnFinalBias,
        /// The bias of the unembedding.
        UnembedBias,
        /// The circuit of a head's weights W_V and W_O.
        Ov,
        /// The values that a query head reads: those of its key/value head.
        Value,
    }
}

impl Part {
    /// The component that it is, if it is one that can be patched.
    pub fn component(self) -> Option<Component> {
        Component::ALL.iter().copied().find(|component| Part::from(*component) == self)
    }
}

impl From<Component> for Part {
    fn from(component: Component) -> Part {
        match component {
            Component::Z => Part::Z,
            Component::Q => Part::Q,
            Component::K => Part::K,
            Component::V => Part::V,
            Component::Pattern => Part::Pattern,
            Component::Result => Part::Result,
            Component::AttnOut => Part::AttnOut,
            Component::MlpOut => Part::MlpOut,
            Component::ResidPre => Part::ResidPre,
            Component::ResidMid => Part::ResidMid,
            Component::ResidPost => Part::ResidPost,
            Component::Neuron => Part::Neuron,
        }
    }
}

/// One place: a component, and where it is one of several, which; all positions or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Site {
    /// The component.
    pub component: Component,
    /// Its layer.
    pub layer: usize,
    /// The head, key/value head or neuron; 0 for a stream.
    pub index: usize,
    /// The position (of the query, at a pattern); none: all.
    pub position: Option<usize>,
    /// The key position, at a single entry of a pattern.
    pub key_position: Option<usize>,
}
