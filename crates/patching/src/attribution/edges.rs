//! Edges between components: who writes what into the stream, and who reads it.

use std::fmt;

use ndarray::{Array2, Array3};
use refrain_runner::{Head, Model};
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::component::{Component, Site};
use crate::metric::Metric;
use crate::named::named;
use crate::scores::{ByMetric, Scores};

/// A component that writes into the stream or reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Node {
    /// Token and position embedding together.
    Embed,
    /// A head. As a receiver of keys and values under grouped queries it is a key/value head.
    Head(Head),
    /// MLP and experts of a layer.
    Mlp(usize),
    /// The final norm and what follows.
    Logits,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Embed => f.write_str("embed"),
            Node::Head(head) => head.fmt(f),
            Node::Mlp(layer) => write!(f, "mlp{layer}"),
            Node::Logits => f.write_str("logits"),
        }
    }
}

named! {
    /// What of a node reads the stream.
    pub enum Input("input", "snake_case") {
        /// A head's queries.
        Q,
        /// A key/value head's keys.
        K,
        /// A key/value head's values.
        V,
        /// All of an MLP or of the logits.
        Whole,
    }
}

/// Scores of edges on some pairs of one length: by how much the metric changes when the receiver reads the sender's
/// value from the source run and everything else as in the base run.
#[derive(Debug, Clone, PartialEq)]
pub struct Edges {
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// Which pairs of the task they are.
    pub pairs: Vec<usize>,
    /// Rows of `scores`.
    pub senders: Vec<Node>,
    /// Columns of `scores`.
    pub receivers: Vec<(Node, Input)>,
    /// The clean runs.
    pub clean: ByMetric,
    /// The corrupted runs.
    pub corrupted: ByMetric,
    /// By metric, then by pair: `[sender, receiver]`, in the metric's unit; 0 where there is no such edge.
    pub scores: Vec<Vec<Array2<f64>>>,
    /// Attention and MLP of a layer read the same stream: there is no edge between them.
    pub parallel: bool,
}

impl Edges {
    /// All zero.
    pub(crate) fn empty(
        model: &Model,
        metrics: &[Metric],
        pairs: &[usize],
        ends: [&ByMetric; 2],
        senders: Vec<Node>,
        receivers: Vec<(Node, Input)>,
    ) -> Edges {
        let zeros = Array2::zeros((senders.len(), receivers.len()));
        Edges {
            metrics: metrics.to_vec(),
            pairs: pairs.to_vec(),
            senders,
            receivers,
            clean: ends[0].clone(),
            corrupted: ends[1].clone(),
            scores: vec![vec![zeros; pairs.len()]; metrics.len()],
            parallel: model.architecture().parallel,
        }
    }

    /// Whether the receiver reads what the sender writes.
    pub fn exists(&self, sender: usize, receiver: usize) -> bool {
        reaches(self.senders[sender], self.receivers[receiver].0, self.parallel)
    }

    /// The edges there are, as indices of sender and receiver.
    pub fn all(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let of = |sender| (0..self.receivers.len()).map(move |receiver| (sender, receiver));
        (0..self.senders.len()).flat_map(of).filter(|(sender, receiver)| self.exists(*sender, *receiver))
    }

    /// The senders' own scores, of heads as their z and of MLPs as their output: the sum over the edges that leave a
    /// node is what it changes, and the value the base run's metric plus that. `change` is that of the edges.
    pub fn nodes(&self, change: Change) -> Scores {
        let base = if change.into_clean() { &self.clean } else { &self.corrupted };
        let site = |node: &Node| {
            let (component, layer, index) = match node {
                Node::Head(head) => (Component::Z, head.layer, head.head),
                Node::Mlp(layer) => (Component::MlpOut, *layer, 0),
                Node::Embed | Node::Logits => return None,
            };
            Some(Site { component, layer, index, position: None, key_position: None })
        };
        let nodes = self.senders.iter().enumerate().filter_map(|(sender, node)| Some((sender, site(node)?)));
        let (senders, sites): (Vec<usize>, Vec<Site>) = nodes.unzip();
        let shape = (sites.len(), self.metrics.len(), self.pairs.len());
        let values = Array3::from_shape_fn(shape, |(site, metric, pair)| {
            base[[metric, pair]] + self.scores[metric][pair].row(senders[site]).sum()
        });
        Scores {
            metrics: self.metrics.clone(),
            pairs: self.pairs.clone(),
            clean: self.clean.clone(),
            corrupted: self.corrupted.clone(),
            sites,
            values,
        }
    }
}

/// Whether `receiver` reads what `sender` writes.
pub(crate) fn reaches(sender: Node, receiver: Node, parallel: bool) -> bool {
    // Each block has two places to write at; a parallel one reads for both before it writes.
    let written = match sender {
        Node::Embed => 0,
        Node::Head(head) => 2 * head.layer + 1,
        Node::Mlp(layer) => 2 * layer + 2,
        Node::Logits => return false,
    };
    let read = match receiver {
        Node::Embed => return false,
        Node::Head(head) => 2 * head.layer,
        Node::Mlp(layer) if parallel => 2 * layer,
        Node::Mlp(layer) => 2 * layer + 1,
        Node::Logits => usize::MAX,
    };
    written <= read
}

/// Every node that writes, in the order of the forward pass: the embedding, then layer by layer the heads and the MLP.
pub fn senders(model: &Model) -> Vec<Node> {
    let arch = model.architecture();
    let block = |layer| {
        let heads = (0..arch.n_heads).map(move |head| Node::Head(Head { layer, head }));
        heads.chain([Node::Mlp(layer)])
    };
    std::iter::once(Node::Embed).chain((0..arch.n_layers).flat_map(block)).collect()
}

/// Everything that reads: layer by layer the queries, keys and values of all heads and the MLP, then the logits.
pub fn receivers(model: &Model) -> Vec<(Node, Input)> {
    let arch = model.architecture();
    let mut all = Vec::new();
    for layer in 0..arch.n_layers {
        let kv = arch.layers[layer].n_kv_heads;
        for (input, heads) in [(Input::Q, arch.n_heads), (Input::K, kv), (Input::V, kv)] {
            all.extend((0..heads).map(|head| (Node::Head(Head { layer, head }), input)));
        }
        all.push((Node::Mlp(layer), Input::Whole));
    }
    all.push((Node::Logits, Input::Whole));
    all
}
