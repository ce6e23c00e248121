//! What a change makes of the block that it is in, for all sites of a component at once.
//!
//! A head's mixed values depend on its own queries, keys, values and pattern only. So one run of the block with the
//! component changed in every head gives what each head alone would give, and every site among the heads comes down to
//! other values of z in its own heads.

use refrain_runner::architecture::{Keys, QkNorm};
use refrain_runner::{
    Action, ActivationCache, Architecture, BoundInterventions, Hook, HookPoint, Intervention,
    KnownActivations, Model, NameFilter, Positions, Run, StepIndex,
};
use tch::Tensor;

use super::Unit;
use super::runs::{Runs, Streams};
use super::under::Background;
use crate::component::Component;
use crate::error::Result;

/// What restarted runs are made of: for each kind of component what stands in the base run and what takes its place.
pub(crate) enum BlockPatch {
    /// z, `[pair, pos, head, d_head]`; `changed` with every head changed.
    Heads { base: Tensor, changed: Tensor },
    /// The same where what is changed is a key or value, which acts on later positions too: the source's, `[pair, pos,
    /// kv_head, d_head]`; z is made for the positions of a job.
    Columns { base: Tensor, source: ActivationCache },
    /// Single entries of patterns: their change, `[pair, head, query, key]`, and the values, `[pair, pos, kv_head, d_head]`.
    Entries { base: Tensor, change: Tensor, values: Tensor },
    /// The stream that enters block `layer`, `[pair, pos, d_model]`.
    Stream { layer: usize, base: Tensor, changed: Tensor },
    /// Attention's output.
    AttnOut { base: Tensor, changed: Tensor },
    /// The stream between attention and MLP.
    ResidMid { base: Tensor, changed: Tensor },
    /// The MLP's output, and what stands before it.
    MlpOut { before: Before, base: Tensor, changed: Tensor },
    /// The neurons' change, `[pair, pos, neuron]`, on its way to the MLP's output through `weight`, `[d_model, neuron]`.
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

/// Whether sites of `component` in `layer` can be run from within the block; else the whole block is run for each.
pub(crate) fn is_within(arch: &Architecture, component: Component, layer: usize) -> bool {
    // Keys that layers share, queries and keys that are normalised together, and neurons whose output is not simply added:
    // there a site acts on more than its own.
    if arch.layers.iter().any(|layer| matches!(layer.keys, Keys::OfLayer(_))) {
        return false;
    }
    match component {
        Component::Q | Component::K => arch.qk_norm != Some(QkNorm::AllHeads),
        Component::Neuron => !arch.norm_place.has_post() && arch.layers[layer].experts.is_none(),
        // One projection serves keys and values, but the hooks are apart: a change at one is none at the other.
        _ => true,
    }
}

/// Whether a change at one position is felt in the last block at that position alone, so that only the last one matters.
pub(crate) fn stays_at_its_position(component: Component) -> bool {
    !matches!(component, Component::K | Component::V | Component::ResidPre)
}

/// Runs block `layer` of a run with `streams`, under `plan`, and keeps `hooks`. `copies` of the pairs are run.
fn block(
    model: &Model,
    streams: &Streams,
    layer: usize,
    (plan, steps): (&BoundInterventions<'_>, StepIndex),
    hooks: &[Hook],
    copies: usize,
) -> Result<ActivationCache> {
    let repeat = |t: &Tensor| -> Result<Tensor> {
        let mut times = vec![1; t.dim()];
        times[0] = copies as i64;
        Ok(if copies == 1 { t.shallow_clone() } else { t.f_repeat(&times)? })
    };
    let (ids, stream) = (repeat(&streams.ids)?, repeat(&streams.at[layer])?);
    // Where only attention is looked at, the MLP need not be run: what it would add is not read.
    let of_attention = |hook: &Hook| {
        use HookPoint::{AttnOut, K, Pattern, Q, V, Z};
        matches!(hook.point(), Q | K | V | Pattern | Z | AttnOut)
    };
    let skip = hooks.iter().all(of_attention).then_some(&stream);
    let run = Run {
        start: Some((layer, &stream)),
        given: KnownActivations { mlp_out: skip, ..KnownActivations::default() },
        stop_at_layer: Some(layer + 1),
        names: NameFilter::hooks(hooks),
        interventions: Some(plan),
        steps,
        ..Run::default()
    };
    Ok(model.run(&ids, run)?.cache)
}

/// The activation at `hook` in `layer`.
pub(crate) fn at(
    model: &Model,
    streams: &Streams,
    under: &Background,
    layer: usize,
    hook: Hook,
) -> Result<Tensor> {
    let arch = model.architecture();
    let plan = BoundInterventions::new(arch, &under.what, &[])?;
    let first = arch.restart_layer(layer);
    if first == layer {
        let kept = block(model, streams, layer, (&plan, under.steps), &[hook], 1)?;
        return Ok(kept.get(hook)?.shallow_clone());
    }
    let run = Run {
        start: Some((first, &streams.at[first])),
        stop_at_layer: Some(layer + 1),
        names: NameFilter::hooks(&[hook]),
        interventions: Some(&plan),
        steps: under.steps,
        ..Run::default()
    };
    Ok(model.run(&streams.ids, run)?.cache.get(hook)?.shallow_clone())
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
        let (arch, layer, under) = (model.architecture(), unit.layer, &runs.under);
        let component = unit.component.made_by();
        let base = |component: Component| at(model, &runs.base, under, layer, component.hook(layer));
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
                BlockPatch::Heads { base: runs.base.z(model, under, layer)?, changed: source }
            }
            Component::K | Component::V if by_position => {
                BlockPatch::Columns { base: runs.base.z(model, under, layer)?, source: cache(source) }
            }
            Component::Pattern if by_key_position => {
                let hooks = [Hook::block(layer, HookPoint::Pattern), Hook::block(layer, HookPoint::V)];
                let plan = BoundInterventions::new(arch, &under.what, &[])?;
                let kept = block(model, &runs.base, layer, (&plan, under.steps), &hooks, 1)?;
                let change = source.f_sub(kept.get(hooks[0])?)?;
                let values = kept.get(hooks[1])?.shallow_clone();
                BlockPatch::Entries { base: runs.base.z(model, under, layer)?, change, values }
            }
            Component::Q | Component::K | Component::V | Component::Pattern => {
                let kept = cache(source);
                let hook = component.hook(layer);
                let what = under.and([Intervention::new(hook, Action::Replace("source".into()))]);
                let plan = BoundInterventions::new(arch, &what, &[("source", &kept)])?;
                let z = Hook::block(layer, HookPoint::Z);
                let changed = block(model, &runs.base, layer, (&plan, under.steps), &[z], 1)?;
                BlockPatch::Heads {
                    base: runs.base.z(model, under, layer)?,
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
                let missing = || crate::Error::Input(format!("layer {layer} has no neurons"));
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

    /// z of block `layer`, `[position, pair, pos, head, d_head]`, with the keys or values of every head changed at one of
    /// `positions`, for each of them.
    pub(crate) fn columns(
        model: &Model,
        runs: &Runs,
        unit: Unit,
        source: &ActivationCache,
        positions: &[usize],
    ) -> Result<Tensor> {
        let pairs = runs.base.ids.size()[0] as usize;
        let under = &runs.under;
        let what = under.and(positions.iter().enumerate().map(|(copy, position)| Intervention {
            positions: Some(Positions::Columns(vec![*position])),
            rows: Some((copy * pairs, (copy + 1) * pairs)),
            ..Intervention::new(unit.component.hook(unit.layer), Action::Replace("source".into()))
        }));
        let plan = BoundInterventions::new(model.architecture(), &what, &[("source", source)])?;
        let z = Hook::block(unit.layer, HookPoint::Z);
        let kept = block(model, &runs.base, unit.layer, (&plan, under.steps), &[z], positions.len())?;
        Ok(kept.get(z)?.f_unflatten(0, [positions.len() as i64, pairs as i64])?)
    }
}
