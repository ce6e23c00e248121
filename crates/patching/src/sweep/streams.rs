//! A run of which the residual streams are kept, and single activations of it, made by running a block again.

use refrain_runner::{
    ActivationCache, BoundInterventions, Hook, HookPoint, KnownActivations, KvCache, LogitPositions, Model,
    NameFilter, Run, StepIndex,
};
use tch::Tensor;

use super::background::Background;
use crate::component::Component;
use crate::error::Result;

/// A run's input and its residual streams.
#[derive(Debug)]
pub(crate) struct Streams {
    /// `[pair, pos]`.
    pub(crate) ids: Tensor,
    /// `[pair, pos, d_model]`: what enters each block, and what leaves the last.
    pub(crate) at: Vec<Tensor>,
    /// `[pair, pos, head, d_head]` by layer, if heads are patched: `attn.hook_z`.
    z: Vec<Tensor>,
}

impl Streams {
    pub(crate) fn shallow_clone(&self) -> Self {
        Streams {
            ids: self.ids.shallow_clone(),
            at: self.at.iter().map(Tensor::shallow_clone).collect(),
            z: self.z.iter().map(Tensor::shallow_clone).collect(),
        }
    }

    /// Runs `ids`; also the logits of the last position, `[pair, vocab]`. Keys and values go into `kv`.
    pub(crate) fn run(
        model: &Model,
        ids: Tensor,
        kv: Option<&mut KvCache>,
        heads: bool,
        background: &Background,
    ) -> Result<(Self, Tensor)> {
        let n_layers = model.architecture().n_layers;
        let last = Hook::block(n_layers - 1, HookPoint::ResidPost);
        let streams: Vec<Hook> =
            (0..n_layers).map(|layer| Hook::block(layer, HookPoint::ResidPre)).chain([last]).collect();
        let z: Vec<Hook> = match heads {
            true => (0..n_layers).map(|layer| Hook::block(layer, HookPoint::Z)).collect(),
            false => Vec::new(),
        };
        let names = NameFilter::hooks(&[&streams[..], &z[..]].concat());
        let plan = BoundInterventions::new(model.architecture(), &background.what, &[])?;
        let (plan, steps, logits) = (Some(&plan), background.steps, LogitPositions::Last);
        let output =
            model.run(&ids, Run { names, interventions: plan, steps, kv, logits, ..Run::default() })?;
        let kept = |hooks: &[Hook]| -> Result<Vec<Tensor>> {
            hooks.iter().map(|hook| Ok(output.cache.get(*hook)?.shallow_clone())).collect()
        };
        let (at, z) = (kept(&streams)?, kept(&z)?);
        Ok((Streams { ids, at, z }, output.logits()?.f_squeeze_dim(1)?))
    }

    /// `attn.hook_z` of `layer`.
    pub(crate) fn z(&self, model: &Model, background: &Background, layer: usize) -> Result<Tensor> {
        match self.z.get(layer) {
            Some(z) => Ok(z.shallow_clone()),
            None => at(model, self, background, layer, Component::Z.hook(layer)),
        }
    }
}

/// Runs block `layer` of a run with `streams`, under `plan`, and keeps `hooks`. `copies` of the pairs are run.
pub(crate) fn block(
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
    background: &Background,
    layer: usize,
    hook: Hook,
) -> Result<Tensor> {
    let arch = model.architecture();
    let plan = BoundInterventions::new(arch, &background.what, &[])?;
    let first = arch.restart_layer(layer);
    if first == layer {
        let kept = block(model, streams, layer, (&plan, background.steps), &[hook], 1)?;
        return Ok(kept.get(hook)?.shallow_clone());
    }
    let run = Run {
        start: Some((first, &streams.at[first])),
        stop_at_layer: Some(layer + 1),
        names: NameFilter::hooks(&[hook]),
        interventions: Some(&plan),
        steps: background.steps,
        ..Run::default()
    };
    Ok(model.run(&streams.ids, run)?.cache.get(hook)?.shallow_clone())
}
