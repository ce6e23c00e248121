//! What a change makes of the block that it is in, for all sites of a component at once.
//!
//! A head's mixed values depend on its own queries, keys, values and pattern only. So one run of the block with the
//! component changed in every head gives what each head alone would give, and every site among the heads comes down to
//! other values of z in its own heads.

use refrain_runner::{
    Action, ActivationCache, BoundInterventions, Hook, HookPoint, Intervention, Model, Positions,
};
use tch::Tensor;

use super::job::{Unit, is_within};
use super::runs::Runs;
use super::streams::{at, block};
use crate::component::Component;
use crate::error::{Error, Result};

/// What restarted runs are made of: for each kind of component what stands in the base run and what takes its place.
pub(crate) enum BlockPatch {
    /// z, `[pair, pos, head, d_head]`; `changed` with every head changed.
    Heads { base: Tensor, changed: Tensor },
    /// The same where what is changed is a key or value, which acts on later positions too: the source's, `[pair, pos,
    /// kv_head, d_head]`; z is made for the positions of a job.
    Columns { base: Tensor, source: ActivationCache },
    /// Single entries of patterns: their change, `[pair, head, query, key]`, and the values, `[pair, pos, kv_head,
    /// d_head]`.
    Entries { base: Tensor, change: Tensor, values: Tensor },
    /// The stream that enters block `layer`, `[pair, pos, d_model]`.
    Stream { layer: usize, base: Tensor, changed: Tensor },
    /// Attention's output.
    AttnOut { base: Tensor, changed: Tensor },
    /// The stream between attention and MLP.
    ResidMid { base: Tensor, changed: Tensor },
    /// The MLP's output, and what stands before it.
    MlpOut { before: Before, base: Tensor, changed: Tensor },
    /// The neurons' change, `[pair, pos, neuron]`, on its way to the MLP's output through `weight`, `[d_model,
    /// neuron]`.
    Neurons { before: Before, base: Tensor, change: Tensor, weight: Tensor },
    /// Nothing is known about how the change spreads in the block: the whole block is run anew, with the change as an
    /// intervention that takes its values from here.
    Hooked { source: ActivationCache },
}

/// What the block made before the MLP's output is added.
pub(crate) enum Before {
    ResidMid(Tensor),
    AttnOut(Tensor),
}

impl BlockPatch {
    /// What `unit` comes down to; `by_position` and `by_key_position` as in the settings.
    pub(crate) fn new(
        model: &Model,
        runs: &Runs,
        unit: Unit,
        by_position: bool,
        by_key_position: bool,
    ) -> Result<Self> {
        let (arch, layer, background) = (model.architecture(), unit.layer, &runs.background);
        let component = unit.component.made_by();
        let base = |component: Component| at(model, &runs.base, background, layer, component.hook(layer));
        let source = runs.source(model, component, layer, &|| match component {
            Component::ResidPre => Ok(runs.base.at[layer].shallow_clone()),
            Component::ResidPost => Ok(runs.base.at[layer + 1].shallow_clone()),
            _ => base(component),
        })?;
        let cache = |tensor: Tensor| {
            let mut cache = ActivationCache::default();
            cache.insert(component.hook(layer), tensor);
            cache
        };
        if !is_within(arch, component, layer) {
            return Ok(BlockPatch::Hooked { source: cache(source) });
        }
        let before = || -> Result<Before> {
            Ok(match arch.parallel {
                true => Before::AttnOut(base(Component::AttnOut)?),
                false => Before::ResidMid(base(Component::ResidMid)?),
            })
        };
        Ok(match component {
            Component::Z | Component::Result => {
                BlockPatch::Heads { base: runs.base.z(model, background, layer)?, changed: source }
            }
            Component::K | Component::V if by_position => {
                BlockPatch::Columns { base: runs.base.z(model, background, layer)?, source: cache(source) }
            }
            Component::Pattern if by_key_position => {
                let hooks = [Hook::block(layer, HookPoint::Pattern), Hook::block(layer, HookPoint::V)];
                let plan = BoundInterventions::new(arch, &background.what, &[])?;
                let kept = block(model, &runs.base, layer, (&plan, background.steps), &hooks, 1)?;
                let change = source.f_sub(kept.get(hooks[0])?)?;
                let values = kept.get(hooks[1])?.shallow_clone();
                BlockPatch::Entries { base: runs.base.z(model, background, layer)?, change, values }
            }
            Component::Q | Component::K | Component::V | Component::Pattern => {
                let kept = cache(source);
                let hook = component.hook(layer);
                let what = background.and([Intervention::new(hook, Action::Replace("source".into()))]);
                let plan = BoundInterventions::new(arch, &what, &[("source", &kept)])?;
                let z = Hook::block(layer, HookPoint::Z);
                let changed = block(model, &runs.base, layer, (&plan, background.steps), &[z], 1)?;
                BlockPatch::Heads {
                    base: runs.base.z(model, background, layer)?,
                    changed: changed.get(z)?.shallow_clone(),
                }
            }
            Component::AttnOut => BlockPatch::AttnOut { base: base(component)?, changed: source },
            Component::ResidMid => BlockPatch::ResidMid { base: base(component)?, changed: source },
            Component::MlpOut => {
                BlockPatch::MlpOut { before: before()?, base: base(component)?, changed: source }
            }
            Component::ResidPre => {
                BlockPatch::Stream { layer, base: runs.base.at[layer].shallow_clone(), changed: source }
            }
            Component::ResidPost => {
                let base = runs.base.at[layer + 1].shallow_clone();
                BlockPatch::Stream { layer: layer + 1, base, changed: source }
            }
            Component::Neuron => {
                let out = model.weights().blocks[layer].mlp.as_ref().map(|mlp| &mlp.output.weight);
                let missing = || Error::Input(format!("layer {layer} has no neurons"));
                let change = source.f_sub(&base(component)?)?;
                BlockPatch::Neurons {
                    before: before()?,
                    base: base(Component::MlpOut)?,
                    change,
                    weight: out.ok_or_else(missing)?.shallow_clone(),
                }
            }
        })
    }

    /// z of block `layer`, `[position, pair, pos, head, d_head]`, with the keys or values of every head changed at one
    /// of `positions`, for each of them.
    pub(crate) fn columns(
        model: &Model,
        runs: &Runs,
        unit: Unit,
        source: &ActivationCache,
        positions: &[usize],
    ) -> Result<Tensor> {
        let pairs = runs.base.ids.size()[0] as usize;
        let background = &runs.background;
        let what = background.and(positions.iter().enumerate().map(|(copy, position)| Intervention {
            positions: Some(Positions::Columns(vec![*position])),
            rows: Some((copy * pairs, (copy + 1) * pairs)),
            ..Intervention::new(unit.component.hook(unit.layer), Action::Replace("source".into()))
        }));
        let plan = BoundInterventions::new(model.architecture(), &what, &[("source", source)])?;
        let z = Hook::block(unit.layer, HookPoint::Z);
        let kept = block(model, &runs.base, unit.layer, (&plan, background.steps), &[z], positions.len())?;
        Ok(kept.get(z)?.f_unflatten(0, [positions.len() as i64, pairs as i64])?)
    }
}
