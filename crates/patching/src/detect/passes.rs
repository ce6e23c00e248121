//! Running many sequences with their activations looked at layer by layer.

use refrain_runner::{ActivationCache, HookPoint, Model, NameFilter, Run};

use crate::error::Result;

/// Runs `rows` of one length and shows `see` the activations at `points`, a layer at a time: between two layers from
/// which a run can go on, no others are held. Nothing above the last block is computed.
pub(super) fn each_layer(
    model: &Model,
    rows: &[Vec<i64>],
    points: &[HookPoint],
    see: &mut dyn FnMut(usize, &ActivationCache) -> Result<()>,
) -> Result<()> {
    let ids = model.ids(rows)?;
    let mut stream = None;
    for (from, to) in segments(model) {
        let run = Run {
            names: NameFilter::points(points),
            start: stream.as_ref().map(|stream| (from, stream)),
            stop_at_layer: Some(to),
            ..Run::default()
        };
        let output = model.run(&ids, run)?;
        for layer in from..to {
            see(layer, &output.cache)?;
        }
        stream = Some(output.resid);
    }
    Ok(())
}

/// Runs of layers, from and up to, after which a run can go on from the stream alone.
fn segments(model: &Model) -> Vec<(usize, usize)> {
    let arch = model.architecture();
    let mut bounds: Vec<usize> =
        (0..arch.n_layers).filter(|layer| arch.restart_layer(*layer) == *layer).collect();
    bounds.push(arch.n_layers);
    bounds.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// How many rows of `length` tokens run at once in about `memory` bytes, at least one; `extra` bytes a row are held
/// beside the patterns.
pub(super) fn rows_at_once(model: &Model, length: usize, extra: usize, memory: usize) -> usize {
    let arch = model.architecture();
    let numbers = arch.n_heads.saturating_mul(length).saturating_mul(length);
    let layers = segments(model).iter().map(|(from, to)| to - from).max().unwrap_or(1);
    // Scores before and after the mask, the pattern in single precision and by key, and what is made of it.
    let patterns = numbers.saturating_mul(layers * model.kind().elt_size_in_bytes() + 6 * 4);
    let stream = length.saturating_mul(arch.d_model).saturating_mul(8 * 4);
    (memory / patterns.saturating_add(stream).saturating_add(extra).max(1)).max(1)
}
