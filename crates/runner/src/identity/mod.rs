//! What must hold between the activations of a run. Every hook is computed anew from the hooks before it and the
//! weights, slowly and plainly, by formulas that share no code with the forward pass and in double precision
//! whatever the model's dtype. In an f64 model nothing but rounding remains; in a narrower one, the rounding of
//! single steps. A model that is computed wrongly differs by more, and the name of the identity says where.

mod attention;
mod mlp;
mod rotation;
mod stream;
mod textbook;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tch::{Device, Kind, Tensor};

use crate::architecture::Architecture;
use crate::cache::{ActivationCache, NameFilter};
use crate::error::{Error, Result};
use crate::forward::Run;
use crate::hook::{Hook, HookPoint};
use crate::model::Model;
use crate::tap::Edit;
use crate::weights::Weights;
use textbook::wide;

/// What was found of one identity, over all layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The largest absolute difference between its sides; infinite for a NaN and for sides of different shapes.
    pub error: f64,
    /// The largest difference in a layer over the largest magnitude there (over 1 for what is 0 or 1).
    pub relative: f64,
    /// Where the relative difference is largest.
    pub worst: Hook,
    /// The hooks that were computed anew: its left side.
    pub hooks: BTreeSet<Hook>,
}

/// Identities by name. The names are those of `docs/hooks.md`.
pub type Identities = BTreeMap<String, Identity>;

/// What a run gave of which every activation was computed anew.
#[derive(Debug)]
pub struct Recomputation {
    /// What was found, by the name of the identity.
    pub identities: Identities,
    /// The run's logits, `[batch, pos, vocab]`.
    pub logits: Tensor,
}

/// Runs `ids`, `[batch, pos]`, and computes each activation anew. `mask` is that of [`Run`]. Gives the worst absolute
/// error over the layers of each identity that the model has, infinite for a NaN and for a wrong shape.
///
/// # Errors
/// As [`Model::run`].
pub fn identities(model: &Model, ids: &Tensor, mask: Option<&Tensor>) -> Result<BTreeMap<String, f64>> {
    let found = recompute(model, ids, mask, None)?.identities;
    Ok(found.into_iter().map(|(name, identity)| (name, identity.error)).collect())
}

/// The same, with all that is known of each identity. The run goes block by block, each from the stream that the one
/// below it left, so that only the activations of one block are in memory at once (of several where a block uses the
/// keys of another). `edit` changes activations, or looks at them: what it changes breaks the identities of its hooks,
/// and no others.
///
/// # Errors
/// As [`Model::run`].
pub fn recompute(
    model: &Model,
    ids: &Tensor,
    mask: Option<&Tensor>,
    mut edit: Option<Edit<'_>>,
) -> Result<Recomputation> {
    tch::no_grad(|| {
        let arch = model.architecture();
        let mut recomputed = Recomputed::new(model, ids, mask)?;
        let mut stream: Option<Tensor> = None;
        let mut first = 0;
        loop {
            let end = step_end(arch, first);
            let output = model.run(
                ids,
                Run {
                    mask,
                    names: NameFilter::all(),
                    edit: edit.as_mut().map(Edit::again),
                    start: stream.as_ref().map(|stream| (first, stream)),
                    stop_at_layer: (end < arch.n_layers).then_some(end),
                    ..Run::default()
                },
            )?;
            recomputed.cache.extend(output.cache);
            recomputed.blocks(first..end)?;
            if let Some(logits) = output.logits {
                return Ok(Recomputation { identities: recomputed.found, logits });
            }
            // The stream is all that the next step needs of this one, and what entered the first block.
            let stream_before = Hook::block(end - 1, HookPoint::ResidPost);
            recomputed.cache.keep(|hook| hook.layer().is_none() || hook == stream_before);
            (stream, first) = (Some(output.resid), end);
        }
    })
}

/// Where a step of a run ends that begins at layer `first`: no block above reads keys and values of one below.
fn step_end(arch: &Architecture, first: usize) -> usize {
    let ends = (first + 1..arch.n_layers).find(|end| arch.restart_layer(*end) == *end);
    ends.unwrap_or(arch.n_layers)
}

/// The same as [`recompute`] for the activations of a run of `ids` under `mask` that kept all of them. A run under
/// interventions breaks the identities of the hooks that are changed, and no others.
///
/// # Errors
/// [`Error::Input`] if an activation is not in the cache or the mask does not fit the ids, [`Error::Torch`].
pub fn identities_of(
    model: &Model,
    ids: &Tensor,
    mask: Option<&Tensor>,
    cache: &ActivationCache,
) -> Result<Identities> {
    tch::no_grad(|| {
        let mut recomputed = Recomputed::new(model, ids, mask)?;
        recomputed.cache = cache.shallow_clone();
        recomputed.blocks(0..model.architecture().n_layers)?;
        Ok(recomputed.found)
    })
}

/// A run's activations and what is found about them.
struct Recomputed<'a> {
    arch: &'a Architecture,
    weights: &'a Weights,
    /// Of the blocks that are looked at.
    cache: ActivationCache,
    /// `[batch, pos]` i64.
    ids: Tensor,
    /// Which tokens are real, by row.
    real: Vec<Vec<bool>>,
    /// The position of each token, by row; a pad has that of the token before it.
    positions: Vec<Vec<i64>>,
    found: Identities,
}

impl<'a> Recomputed<'a> {
    fn new(model: &'a Model, ids: &Tensor, mask: Option<&Tensor>) -> Result<Self> {
        let ids = ids.f_to_device(Device::Cpu)?;
        let [batch, pos] = ids.size()[..] else {
            return Err(Error::Input(format!("token ids must be [batch, pos], not {:?}", ids.size())));
        };
        let mut real = vec![vec![true; pos as usize]; batch as usize];
        if let Some(mask) = mask {
            if mask.size() != ids.size() {
                return Err(Error::Input(format!(
                    "the mask is {:?}, the token ids are {:?}",
                    mask.size(),
                    ids.size()
                )));
            }
            let flat = Vec::<i64>::try_from(
                mask.f_to_device(Device::Cpu)?.f_ne(0)?.f_to_kind(Kind::Int64)?.f_reshape([-1])?,
            )?;
            for (row, columns) in real.iter_mut().zip(flat.chunks(pos as usize)) {
                row.iter_mut().zip(columns).for_each(|(real, column)| *real = *column != 0);
            }
        }
        let count = |row: &Vec<bool>| {
            let seen = row.iter().scan(0, |seen, real| {
                *seen += i64::from(*real);
                Some(*seen)
            });
            seen.map(|seen| (seen - 1).max(0)).collect()
        };
        let positions = real.iter().map(count).collect();
        let (arch, weights) = (model.architecture(), model.weights());
        let cache = ActivationCache::default();
        Ok(Recomputed { arch, weights, cache, ids, real, positions, found: Identities::new() })
    }

    /// These blocks, and what is before the first and after the last one of the model.
    fn blocks(&mut self, layers: Range<usize>) -> Result<()> {
        if layers.start == 0 {
            self.embedding()?;
        }
        let last = layers.end == self.arch.n_layers;
        for layer in layers {
            self.block(layer)?;
        }
        if last { self.unembedding() } else { Ok(()) }
    }

    /// The activation at `point` in `layer`, in double precision.
    fn at(&self, layer: usize, point: HookPoint) -> Result<Tensor> {
        wide(self.cache.block(layer, point)?)
    }

    /// Holds the activation at `hook` against `want`.
    fn equal(&mut self, name: &str, hook: Hook, want: &Tensor) -> Result<()> {
        let got = wide(self.cache.get(hook)?)?;
        let finite = want.f_masked_fill(&want.f_isfinite()?.f_logical_not()?, 0.0)?;
        let scale = match want.numel() {
            0 => 0.0,
            _ => finite.f_abs()?.f_max()?.f_double_value(&[])?,
        };
        let error = textbook::largest(&got, want)?;
        self.note(name, hook, error, scale);
        Ok(())
    }

    /// The same inside the block.
    fn equal_at(&mut self, name: &str, layer: usize, point: HookPoint, want: &Tensor) -> Result<()> {
        self.equal(name, Hook::block(layer, point), want)
    }

    /// Notes an error of the identity `name` at `hook`, where magnitudes go up to `scale`.
    fn note(&mut self, name: &str, hook: Hook, error: f64, scale: f64) {
        let relative = if error == 0.0 { 0.0 } else { error / scale };
        let known = self.found.entry(name.to_owned()).or_insert_with(|| Identity {
            error: 0.0,
            relative: 0.0,
            worst: hook,
            hooks: BTreeSet::new(),
        });
        known.error = known.error.max(error);
        if relative > known.relative || relative.is_nan() {
            known.relative = if relative.is_nan() { f64::INFINITY } else { relative };
            known.worst = hook;
        }
        known.hooks.insert(hook);
    }
}
