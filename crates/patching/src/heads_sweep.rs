//! The sweep that most callers want: every head's z, denoising, all positions at once, read as the answer's logit.

use ndarray::Array2;
use refrain_runner::{Head, Intervention, Model, StepIndex};

use crate::change::Change;
use crate::component::Component;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::pair::Pair;
use crate::sweep::{Settings, Sweep};

/// The logit of the answer at the last position, in three kinds of run.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadSweep {
    /// Per pair: the clean run.
    pub clean: Vec<f64>,
    /// Per pair: the corrupted run.
    pub corrupted: Vec<f64>,
    /// `[head, pair]`: the corrupted run with the head's z, at all positions, from the clean run. Heads in
    /// the order of [`Model::heads`].
    pub patched: Array2<f64>,
}

/// Patches each head in turn. `base` holds in all three runs and comes before the patch; `steps` tells it which
/// generation step a position belongs to.
///
/// # Errors
/// As [`Sweep::new`] and [`Sweep::run`].
pub fn patch_heads(
    model: &Model,
    pairs: &[Pair],
    base: &[Intervention],
    steps: StepIndex,
    memory: u64,
    threads: usize,
) -> Result<HeadSweep> {
    let settings = Settings {
        components: vec![Component::Z],
        metrics: vec![Metric::Logit],
        change: Change::Denoise,
        by_position: false,
        by_key_position: false,
        memory,
        threads,
    };
    let sweep = Sweep::new(model, pairs, settings)?.under(base.to_vec(), steps)?;
    let n_heads = model.architecture().n_heads;
    let mut swept = HeadSweep {
        clean: vec![f64::NAN; pairs.len()],
        corrupted: vec![f64::NAN; pairs.len()],
        patched: Array2::from_elem((model.heads().len(), pairs.len()), f64::NAN),
    };
    sweep.run(sweep.units(), &mut |_, scores| {
        for (row, pair) in scores.pairs.iter().enumerate() {
            swept.clean[*pair] = scores.clean[[0, row]];
            swept.corrupted[*pair] = scores.corrupted[[0, row]];
            for (site, values) in scores.iter() {
                swept.patched[[site.layer * n_heads + site.index, *pair]] = values[[0, row]];
            }
        }
        Ok::<(), Error>(())
    })?;
    Ok(swept)
}

impl HeadSweep {
    /// Changes of the logit by each head in `pair`, patched - corrupted, with the head.
    pub fn changes(&self, heads: &[Head], pair: usize) -> Vec<(Head, f64)> {
        let change = |(row, head): (usize, &Head)| (*head, self.patched[[row, pair]] - self.corrupted[pair]);
        heads.iter().enumerate().map(change).collect()
    }
}
