//! Runs that start or stop inside, and runs with an intervention that does nothing.

use refrain_runner::{Action, BoundInterventions, Intervention};
use refrain_runner::{HookPoint, NameFilter, Run};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::Golden;
use tch::no_grad;

#[test]
fn stopping_at_a_layer_gives_its_input() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let (ids, layers) = (golden.get("input_ids")?, golden.model.architecture().n_layers);
        let (_, cache) =
            no_grad(|| golden.model.run_with_cache(ids, NameFilter::points(&[HookPoint::ResidPre])))?;
        for layer in 0..layers {
            let run = Run { stop_at_layer: Some(layer), names: NameFilter::all(), ..Run::default() };
            let output = no_grad(|| golden.model.run(ids, run))?;
            let name = &golden.name;
            check.holds(format!("{name}: no logits"), output.logits.is_none() && output.logits().is_err());
            check.holds(
                format!("{name}: nothing kept of layer {layer}"),
                output.cache.hooks().all(|hook| hook.layer().is_none_or(|kept| kept < layer)),
            );
            check.close(
                format!("{name}: stop at {layer}"),
                &output.resid,
                cache.block(layer, HookPoint::ResidPre)?,
                1e-12,
            );
            let want = golden.double(&format!("resid_pre.{layer}"))?;
            check.close(format!("{name}: stop at {layer}, transformers"), &output.resid, want, 1e-9);
        }
    }
    check.finish();
    Ok(())
}

#[test]
fn starting_at_a_layer_from_its_input_gives_the_logits() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        for side in ["left", "right"] {
            let (ids, mask) =
                (golden.get(&format!("{side}.input_ids"))?, golden.get(&format!("{side}.attention_mask"))?);
            let names = NameFilter::points(&[HookPoint::ResidPre]);
            let whole = no_grad(|| golden.model.run(ids, Run { mask: Some(mask), names, ..Run::default() }))?;
            let architecture = golden.model.architecture();
            for layer in 0..architecture.n_layers {
                let start = Some((layer, whole.cache.block(layer, HookPoint::ResidPre)?));
                let part =
                    no_grad(|| golden.model.run(ids, Run { mask: Some(mask), start, ..Run::default() }));
                let what = format!("{}, padded {side}: start at {layer}", golden.name);
                let lowest = architecture.restart_layer(layer);
                if lowest != layer {
                    let error = part.unwrap_err().to_string();
                    check.holds(what, error.ends_with(&format!("hint: start at layer {lowest}")));
                    continue;
                }
                let part = part?;
                check.close(what, part.logits()?, whole.logits()?, 1e-12);
            }
        }
    }
    check.finish();
    Ok(())
}

#[test]
fn no_intervention_is_no_change() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let ids = golden.get("input_ids")?;
        let plan = BoundInterventions::new(golden.model.architecture(), &[], &[])?;
        let output = no_grad(|| golden.model.run(ids, Run { interventions: Some(&plan), ..Run::default() }))?;
        check.same(&golden.name, output.logits()?, &no_grad(|| golden.model.logits(ids))?);
    }
    check.finish();
    Ok(())
}

/// Multiplying by 1, adding 0, or replacing an activation by itself, at every hook of the model: which of them goes
/// round from hook to hook and from model to model.
#[test]
fn an_intervention_that_does_nothing_changes_nothing() -> Result {
    let mut check = Check::new();
    for (turn, golden) in Golden::all()?.into_iter().enumerate() {
        let (ids, architecture) = (golden.get("input_ids")?, golden.model.architecture());
        let (plain, cache) = no_grad(|| golden.model.run_with_cache(ids, NameFilter::all()))?;
        for (at, hook) in cache.hooks().enumerate() {
            let width = cache.get(hook)?.size().last().copied().unwrap_or(0);
            let action = match (at + turn) % 3 {
                0 => Action::Scale(1.0),
                1 => Action::Add(vec![0.0; width as usize]),
                _ => Action::Replace("self".into()),
            };
            let one = [Intervention::new(hook, action)];
            let plan = BoundInterventions::new(architecture, &one, &[("self", &cache)])?;
            let output =
                no_grad(|| golden.model.run(ids, Run { interventions: Some(&plan), ..Run::default() }))?;
            check.close(format!("{}: {hook}", golden.name), output.logits()?, &plain, 1e-12);
        }
    }
    check.finish();
    Ok(())
}

/// An intervention at any hook reaches the logits: no hook is only looked at.
#[test]
fn an_intervention_at_every_hook_counts() -> Result {
    let mut check = Check::new();
    for golden in Golden::all()? {
        let (ids, architecture) = (golden.get("input_ids")?, golden.model.architecture());
        let (plain, cache) = no_grad(|| golden.model.run_with_cache(ids, NameFilter::all()))?;
        for hook in cache.hooks() {
            // Half of the entries: a norm that follows would take a common factor out again.
            let width = cache.get(hook)?.size().last().map_or(1, |width| *width as usize);
            let neurons = Some((0..width.div_ceil(2)).collect());
            let one = [Intervention { neurons, ..Intervention::new(hook, Action::Scale(1.5)) }];
            let plan = BoundInterventions::new(architecture, &one, &[])?;
            let output =
                no_grad(|| golden.model.run(ids, Run { interventions: Some(&plan), ..Run::default() }))?;
            let change = refrain_tests::check::largest(output.logits()?, &plain);
            check.holds(
                format!("{}: {hook} x 1.5 moves the logits (by {change:.1e})", golden.name),
                change > 1e-9,
            );
        }
    }
    check.finish();
    Ok(())
}
