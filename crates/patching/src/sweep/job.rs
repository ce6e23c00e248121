//! The pieces of a sweep, from large to small: a unit of sites on a batch of pairs, and the jobs that it is done in;
//! and what the architecture says about where a site acts.

use std::ops::Range;

use refrain_runner::Architecture;
use refrain_runner::architecture::{Keys, QkNorm};

use crate::component::{Component, Site};

/// A part of a sweep that is done as a whole: one component of one layer, or some of its heads or neurons, on one batch
/// of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// Which batch of pairs.
    pub batch: usize,
    /// The component.
    pub component: Component,
    /// Its layer.
    pub layer: usize,
    /// The first of its heads or neurons.
    pub from: usize,
    /// One past the last.
    pub to: usize,
}

impl Unit {
    /// A stable name.
    pub fn id(&self) -> String {
        format!("b{:04}.{}.l{:03}.i{:05}", self.batch, self.component, self.layer, self.from)
    }
}

/// Pairs of one length that share their base runs.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Indices of the pairs.
    pub(crate) pairs: Vec<usize>,
    /// For resampling: whose activations each pair is given.
    pub(crate) others: Vec<usize>,
    /// Tokens of each prompt.
    pub(crate) length: usize,
    /// The first column where a change can be felt; `length` if none can.
    pub(crate) first: usize,
}

/// Some sites of a unit whose runs go through the model together.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) unit: Unit,
    pub(crate) sites: Vec<Site>,
    /// The first column that is computed; none: the sites change nothing, and their runs are the base run.
    pub(crate) column: Option<usize>,
}

/// Whether sites of `component` in `layer` can be run from within the block; else the whole block is run for each.
pub(crate) fn is_within(arch: &Architecture, component: Component, layer: usize) -> bool {
    // Keys that layers share, queries and keys that are normalised together, and neurons whose output is not simply
    // added: there a site acts on more than its own.
    if arch.layers.iter().any(|layer| matches!(layer.keys, Keys::OfLayer(_))) {
        return false;
    }
    match component {
        Component::Q | Component::K => arch.norms.qk != Some(QkNorm::AllHeads),
        Component::Neuron => !arch.norms.place.has_post() && arch.layers[layer].experts.is_none(),
        // One projection serves keys and values, but the hooks are apart: a change at one is none at the other.
        _ => true,
    }
}

/// Whether a change at one position is felt in the last block at that position alone, so that only the last one
/// matters.
pub(crate) fn stays_at_its_position(component: Component) -> bool {
    !matches!(component, Component::K | Component::V | Component::ResidPre)
}

/// The query heads that `site` changes: a key/value head serves several.
pub(crate) fn heads_of(arch: &Architecture, site: Site) -> Range<usize> {
    let times = match site.component {
        Component::K | Component::V => arch.n_heads / arch.layers[site.layer].n_kv_heads,
        _ => 1,
    };
    site.index * times..(site.index + 1) * times
}
