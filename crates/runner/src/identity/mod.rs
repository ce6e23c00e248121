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

use tch::{Device, Kind, Tensor};

use crate::architecture::Architecture;
use crate::cache::{ActivationCache, NameFilter};
use crate::error::{Error, Result};
use crate::forward::Run;
use crate::hook::{Hook, HookPoint};
use crate::model::Model;
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

/// Runs `ids`, `[batch, pos]`, keeping every activation, and computes each anew. `mask` is that of [`Run`]. Gives
/// the worst absolute error over the layers of each identity that the model has, infinite for a NaN and for a wrong
/// shape.
///
/// # Errors
/// As [`Model::run`].
pub fn identities(model: &Model, ids: &Tensor, mask: Option<&Tensor>) -> Result<BTreeMap<String, f64>> {
    let run = Run { mask, names: NameFilter::all(), ..Run::default() };
    let cache = tch::no_grad(|| model.run(ids, run))?.cache;
    let found = identities_of(model, ids, mask, &cache)?;
    Ok(found.into_iter().map(|(name, identity)| (name, identity.error)).collect())
}

/// The same for the activations of a run of `ids` under `mask` that kept all of them. A run under interventions
/// breaks the identities of the hooks that are changed, and no others.
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
        let mut recomputed = Recomputed::new(model, ids, mask, cache)?;
        recomputed.embedding()?;
        for layer in 0..model.architecture().n_layers {
            recomputed.block(layer)?;
        }
        recomputed.unembedding()?;
        Ok(recomputed.found)
    })
}

/// A run's activations and what is found about them.
struct Recomputed<'a> {
    arch: &'a Architecture,
    weights: &'a Weights,
    cache: &'a ActivationCache,
    /// `[batch, pos]` i64.
    ids: Tensor,
    /// Which tokens are real, by row.
    real: Vec<Vec<bool>>,
    /// The position of each token, by row; a pad has that of the token before it.
    positions: Vec<Vec<i64>>,
    found: Identities,
}

impl<'a> Recomputed<'a> {
    fn new(
        model: &'a Model,
        ids: &Tensor,
        mask: Option<&Tensor>,
        cache: &'a ActivationCache,
    ) -> Result<Self> {
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
        Ok(Recomputed { arch, weights, cache, ids, real, positions, found: Identities::new() })
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
