//! Gradients of the logits with respect to what stands at a hook, by autograd and by finite differences.

use std::collections::BTreeSet;

use refrain_runner::{
    Action, Axes, BoundInterventions, Head, Hook, HookPoint, Intervention, Model, NameFilter, Output,
    Positions, Run, Schedule,
};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::Golden;
use tch::{Kind, Tensor, no_grad};

/// Small enough that next to nothing crosses a kink of a ReLU, a clip or another choice of experts.
const STEP: f64 = 1e-6;

/// Numbers between -1 and 1 without a pattern.
fn scattered(count: usize, seed: usize) -> Vec<f64> {
    let number = |i: usize| ((i * 131 + seed * 7919 + 1) as f64 * 12.9898).sin() * 43758.5453;
    (0..count).map(|i| 2.0 * (number(i) - number(i).floor()) - 1.0).collect()
}

/// A linear function of the logits, no two of which have the same weight.
fn loss(output: &Output) -> Result<Tensor> {
    let logits = output.logits()?;
    let weights = Tensor::from_slice(&scattered(logits.numel(), 1)).reshape(logits.size());
    Ok((logits * weights).sum(Kind::Double))
}

fn run(model: &Model, ids: &Tensor, plan: &[Intervention], names: NameFilter) -> Result<Output> {
    let plan = BoundInterventions::new(model.architecture(), plan, &[])?;
    Ok(model.run(ids, Run { interventions: Some(&plan), names, ..Run::default() })?)
}

/// Lets gradients be recorded from what enters the first block on.
fn record(model: &Model) {
    for weight in [Some(&model.weights().embed), model.weights().positions.as_ref()].into_iter().flatten() {
        let _ = weight.shallow_clone().set_requires_grad(true);
    }
}

/// A step of `size` in a scattered direction at `hook`, where `value` stands, and that direction, `[1, ...]` as
/// `value` otherwise.
fn step(hook: Hook, value: &Tensor, size: f64) -> Result<(Vec<Intervention>, Tensor)> {
    let shape = value.size();
    let (positions, heads) = match hook.point().axes() {
        Axes::Stream => (shape[1], None),
        Axes::Heads | Axes::KvHeads => (shape[1], Some(shape[2])),
        Axes::Pairs => (shape[2], Some(shape[1])),
    };
    let width = shape[shape.len() - 1] as usize;
    let direction = value.get(0).zeros_like();
    let mut steps = Vec::new();
    for position in 0..positions {
        for head in 0..heads.unwrap_or(1) {
            let vector = scattered(width, (position * 31 + head) as usize + 2);
            let mut place = match hook.point().axes() {
                Axes::Stream => direction.get(position),
                Axes::Heads | Axes::KvHeads => direction.get(position).get(head),
                Axes::Pairs => direction.get(head).get(position),
            };
            place.copy_(&Tensor::from_slice(&vector));
            steps.push(Intervention {
                positions: Some(Positions::Columns(vec![position as usize])),
                heads: heads.map(|_| vec![head as usize]),
                ..Intervention::new(hook, Action::Add(vector.iter().map(|entry| entry * size).collect()))
            });
        }
    }
    Ok((steps, direction.unsqueeze(0)))
}

/// Compares both derivatives at `hook` under `plan`; `output` is a recorded run under it.
fn compare(
    check: &mut Check,
    what: &str,
    model: &Model,
    ids: &Tensor,
    plan: &[Intervention],
    output: &Output,
    hook: Hook,
) -> Result {
    let value = output.cache.get(hook)?;
    let gradient = Tensor::f_run_backward(&[loss(output)?], &[value], true, false)?.remove(0);
    let value = value.detach();
    // What is masked stays masked, and an expert that was not chosen is not computed: no gradient for its weight is
    // promised.
    let (forward, direction) = match hook.point() {
        HookPoint::ExpertWeights => {
            let scaled = |by: f64| vec![Intervention::new(hook, Action::Scale(by))];
            ([scaled(1.0 + STEP), scaled(1.0 - STEP)], value.shallow_clone())
        }
        _ => {
            let (more, direction) = step(hook, &value, STEP)?;
            ([more, step(hook, &value, -STEP)?.0], direction)
        }
    };
    let at = |steps: &Vec<Intervention>| -> Result<f64> {
        let plan = [plan, steps].concat();
        Ok(loss(&no_grad(|| run(model, ids, &plan, NameFilter::none()))?)?.double_value(&[]))
    };
    let difference = (at(&forward[0])? - at(&forward[1])?) / (2.0 * STEP);
    // Where everything that reads a norm is normalised again (Gemma 4), what it divides by has next to no gradient.
    let terms = gradient * direction;
    let scale = terms.abs().sum(Kind::Double).double_value(&[]);
    check.holds(format!("{what}: has a gradient"), scale > 0.0);
    let error = (terms.sum(Kind::Double).double_value(&[]) - difference).abs() / scale.max(1.0);
    check.holds(format!("{what}: off by {error:.1e} of {scale:.1e}"), error < 1e-6);
    Ok(())
}

/// One model of each family, and those of other layouts.
fn one_of_each() -> Result<Vec<Golden>> {
    let mut families = BTreeSet::new();
    let others =
        ["opt-350m", "gemma4-ple", "gemma4-keqv", "gemma4-moe", "qwen2-moe-shared", "gpt-neox-serial"];
    let all = Golden::all()?.into_iter();
    let chosen = all.filter(|golden| {
        families.insert(golden.model.architecture().family.clone()) || others.contains(&golden.name.as_str())
    });
    Ok(chosen.collect())
}

#[test]
fn at_every_hook_of_every_family() -> Result {
    let mut check = Check::new();
    for golden in one_of_each()? {
        let (model, ids) = (&golden.model, golden.get("input_ids")?.narrow(1, 0, 6));
        record(model);
        let output = run(model, &ids, &[], NameFilter::all())?;
        for hook in output.cache.hooks().collect::<Vec<_>>() {
            let what = format!("{}: {hook}", golden.name);
            compare(&mut check, &what, model, &ids, &[], &output, hook)?;
        }
    }
    check.finish();
    Ok(())
}

/// What an intervention writes has the gradient of what it writes.
#[test]
fn through_interventions() -> Result {
    let mut check = Check::new();
    for name in ["gpt2-tied", "llama-gqa", "gemma4-moe"] {
        let golden = Golden::load(name)?;
        let (model, ids) = (&golden.model, golden.get("input_ids")?.narrow(1, 0, 6));
        record(model);
        let d_head = model.architecture().layers[0].d_head;
        for action in [
            Action::Zero,
            Action::Scale(0.5),
            Action::Schedule(Schedule::Constant { factor: 0.3 }),
            Action::Add(scattered(d_head, 5)),
        ] {
            let whole = Intervention::on_heads(&[Head { layer: 0, head: 1 }], &action);
            let mut part = whole.clone();
            (part[0].positions, part[0].rows) = (Some(Positions::Columns(vec![1, 2, 4])), Some((1, 2)));
            (part[0].neurons, part[0].heads) = (Some(vec![0, 3]), None);
            for plan in [whole, part] {
                let output = run(model, &ids, &plan, NameFilter::all())?;
                for hook in [
                    Hook::top(HookPoint::Embed),
                    Hook::block(0, HookPoint::V),
                    Hook::block(0, HookPoint::Pattern),
                ] {
                    let what = format!("{name}: {hook} through {action:?}");
                    compare(&mut check, &what, model, &ids, &plan, &output, hook)?;
                }
            }
        }
    }
    check.finish();
    Ok(())
}
