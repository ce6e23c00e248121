//! What restarted runs cost: the floating-point operations that an ideal restart needs, and memory.

use refrain_runner::architecture::Mlp;
use refrain_runner::{Architecture, Model};
use tch::Kind;

use super::job::{Batch, Job};
use super::settings::Settings;
use crate::component::Component;

/// A matrix product: `rows` vectors of `inputs` numbers to `outputs` numbers each, done `times` times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MatMul {
    /// Vectors at once.
    pub rows: usize,
    /// Length of each.
    pub inputs: usize,
    /// Length of each result.
    pub outputs: usize,
    /// How often.
    pub times: usize,
}

impl MatMul {
    /// Floating-point operations of all of them: two for each multiplication and addition.
    pub fn operations(&self) -> f64 {
        2.0 * self.rows as f64 * self.inputs as f64 * self.outputs as f64 * self.times as f64
    }
}

/// The matrix products that `rows` runs need which begin within block `layer` after the heads' z, at `columns` columns
/// from the end of prompts of `length` tokens: W_O of one head and the MLP of that block, the blocks above it, and of
/// the last block only keys and values but at the last column. The unembedding is not among them; attention's own
/// products are.
pub fn restart_products(
    arch: &Architecture,
    layer: usize,
    rows: usize,
    columns: usize,
    length: usize,
) -> Vec<MatMul> {
    let mut products = Vec::new();
    for (index, shape) in arch.layers.iter().enumerate().skip(layer) {
        let tokens = rows * columns;
        let last = index + 1 == arch.n_layers;
        // Tokens that leave the block.
        let leaving = if last { rows } else { tokens };
        let (d_head, heads) = (shape.d_head, arch.n_heads);
        let mut add = |rows: usize, inputs: usize, outputs: usize, times: usize| {
            products.push(MatMul { rows, inputs, outputs, times });
        };
        if index == layer {
            add(leaving, d_head, arch.d_model, 1);
        } else {
            add(leaving, arch.d_model, heads * d_head, 1);
            add(tokens, arch.d_model, shape.n_kv_heads * d_head, 2);
            let queries = if last { 1 } else { columns };
            add(queries, d_head, length, rows * heads);
            add(queries, length, d_head, rows * heads);
            add(leaving, heads * d_head, arch.d_model, 1);
        }
        let gate = usize::from(matches!(arch.mlp, Mlp::Gated { .. }));
        if let Some(d_mlp) = shape.d_mlp {
            add(leaving, arch.d_model, d_mlp, 1 + gate);
            add(leaving, d_mlp, arch.d_model, 1);
        }
        if let Some(experts) = &shape.experts {
            let each = (leaving * experts.per_token).div_ceil(experts.count);
            add(each, arch.d_model, experts.d_expert, experts.count * (1 + gate));
            add(each, experts.d_expert, arch.d_model, experts.count);
        }
    }
    products
}

/// Floating-point operations of `job`.
pub(crate) fn job(arch: &Architecture, job: &Job, batch: &Batch) -> f64 {
    let Some(column) = job.column else { return 0.0 };
    let layer = match job.unit.component {
        Component::ResidPost => job.unit.layer + 1,
        _ => job.unit.layer,
    };
    let rows = job.sites.len() * batch.pairs.len();
    let blocks = restart_products(arch, layer, rows, batch.length - column, batch.length);
    let unembedding = MatMul { rows, inputs: arch.d_model, outputs: arch.n_vocab, times: 1 };
    blocks.iter().chain([&unembedding]).map(MatMul::operations).sum()
}

/// Estimates of memory, on the safe side.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes: u64,
    layers: u64,
    d_model: u64,
    heads: u64,
    width: u64,
    kv_width: u64,
    d_mlp: u64,
    vocab: u64,
    /// Tensors of the logits' size that a readout makes.
    readouts: u64,
    /// Attention goes through scores and patterns that are kept.
    scores: bool,
    neurons: bool,
}

impl Memory {
    pub(crate) fn new(model: &Model, settings: &Settings) -> Self {
        let arch = model.architecture();
        let most = |of: &dyn Fn(&refrain_runner::architecture::Layer) -> usize| {
            arch.layers.iter().map(of).max().unwrap_or(0) as u64
        };
        Memory {
            bytes: match model.kind() {
                Kind::Double => 8,
                Kind::Float => 4,
                _ => 2,
            },
            layers: arch.n_layers as u64,
            d_model: arch.d_model as u64,
            heads: arch.n_heads as u64,
            width: most(&|layer| layer.d_head * arch.n_heads),
            kv_width: most(&|layer| layer.d_head * layer.n_kv_heads),
            d_mlp: most(&|layer| {
                let experts =
                    layer.experts.as_ref().map_or(0, |experts| experts.d_expert * experts.per_token);
                layer.d_mlp.unwrap_or(0) + experts
            }),
            vocab: arch.n_vocab as u64,
            readouts: if settings.metrics.iter().all(|metric| metric.is_of_logits()) { 1 } else { 4 },
            scores: arch.caps.scores.is_some() || settings.components.contains(&Component::Pattern),
            neurons: settings.components.contains(&Component::Neuron),
        }
    }

    /// Bytes of the base runs of `pairs` prompts of `length` tokens, and of what is made of a block for its sites.
    pub(crate) fn base(&self, pairs: usize, length: usize) -> u64 {
        let tokens = (pairs * length) as u64;
        // Both runs' streams and z, the base run's keys and values, and one pass through a block.
        let kept = 2 * (self.layers + 1) * (self.d_model + self.width) + 2 * self.layers * self.kv_width;
        let passing = 6 * self.d_model + 6 * self.width + 3 * self.d_mlp;
        let neurons = if self.neurons { 3 * self.d_mlp } else { 0 };
        let scores = if self.scores { 4 * self.heads * length as u64 } else { 0 };
        tokens * (kept + passing + neurons + scores) * self.bytes
            + pairs as u64 * self.vocab * (self.bytes + 4 * (2 + self.readouts))
    }

    /// Bytes of one row of a restarted run over `columns` columns of `length`.
    pub(crate) fn row(&self, columns: usize, length: usize) -> u64 {
        let (columns, length) = (columns as u64, length as u64);
        let token = 7 * self.d_model + 5 * self.width + 2 * self.kv_width + 3 * self.d_mlp;
        let scores = if self.scores { 3 * self.heads * length } else { 0 };
        // Keys and values with those before them, spread over the query heads where these share them.
        let spread = if self.kv_width < self.width { 2 * self.width } else { 0 };
        (columns * (token + scores) + length * (2 * self.kv_width + spread)) * self.bytes
            + self.vocab * (self.bytes + 4 * self.readouts)
    }
}
