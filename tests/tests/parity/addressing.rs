//! Interventions by phase and position: the same whatever else is in the batch, cached or not.

use refrain_runner::{
    Action, BoundInterventions, Decoding, Generate, Hook, HookPoint, Intervention, Model, Phase, Positions,
    Run, StepIndex, StepView,
};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::Golden;
use tch::{Tensor, no_grad};

const NEW: usize = 6;

fn prompts() -> Vec<Vec<i64>> {
    vec![vec![3, 4, 5, 6, 7, 8], vec![9, 10, 11], vec![12, 13, 14, 15]]
}

/// Places by every way of counting that does not depend on the batch.
fn places() -> Vec<(Option<Positions>, Option<Phase>)> {
    vec![
        (Some(Positions::Tokens(vec![0])), None),
        (Some(Positions::Tokens(vec![1, 4])), None),
        (Some(Positions::Tokens(vec![3, 5, 6])), Some(Phase::Decode)),
        (Some(Positions::Tokens(vec![2, 3, 4])), Some(Phase::Prefill)),
        (Some(Positions::FromEnd(vec![1])), None),
        (Some(Positions::FromEnd(vec![1, 3, 5])), Some(Phase::Prefill)),
        (None, Some(Phase::Prefill)),
        (None, Some(Phase::Decode)),
        (None, Some(Phase::Steps(0, 1))),
        (None, Some(Phase::Steps(2, 3))),
        (None, None),
    ]
}

fn hooks() -> [Hook; 4] {
    [
        Hook::block(0, HookPoint::Z),
        Hook::block(0, HookPoint::Pattern),
        Hook::block(1, HookPoint::ResidPre),
        Hook::top(HookPoint::FinalScale),
    ]
}

fn scaled(hook: Hook, place: &(Option<Positions>, Option<Phase>)) -> [Intervention; 1] {
    let (positions, steps) = place.clone();
    [Intervention { positions, steps, ..Intervention::new(hook, Action::Scale(0.25)) }]
}

/// Greedy tokens and the logits of every step, by row.
fn generate(
    model: &Model,
    prompts: &[Vec<i64>],
    plan: &BoundInterventions<'_>,
) -> Result<Vec<(Vec<i64>, Tensor)>> {
    let seeds = vec![0; prompts.len()];
    let options = Generate {
        decoding: Decoding::GREEDY,
        seeds: &seeds,
        stop: &[],
        max_new: Some(NEW),
        interventions: Some(plan),
        ..Generate::default()
    };
    let mut logits: Vec<Vec<Tensor>> = prompts.iter().map(|_| Vec::new()).collect();
    let results = model.generate_with(prompts, options, |view: &StepView<'_>| -> Result {
        for (at, row) in view.rows.iter().enumerate() {
            logits[*row].push(view.logits.get(at as i64));
        }
        Ok(())
    })?;
    Ok(results.into_iter().zip(logits).map(|(one, logits)| (one.tokens, Tensor::stack(&logits, 0))).collect())
}

/// A padded batch equals each prompt alone, and cached generation equals one run over the whole text.
#[test]
fn batched_cached_and_whole_runs_agree() -> Result {
    let mut check = Check::new();
    for name in ["gpt2-tied", "llama-gqa"] {
        let golden = Golden::load(name)?;
        let model = &golden.model;
        let untouched = generate(model, &prompts(), &BoundInterventions::default())?;
        for hook in hooks() {
            for place in places() {
                let label = format!("{name}, {hook}, {place:?}");
                let what = scaled(hook, &place);
                let plan = BoundInterventions::new(model.architecture(), &what, &[])?;
                let together = generate(model, &prompts(), &plan)?;
                let mut moved = 0.0f64;
                for (row, prompt) in prompts().iter().enumerate() {
                    let (tokens, logits) = &together[row];
                    let alone = generate(model, std::slice::from_ref(prompt), &plan)?;
                    assert_eq!(alone[0].0, *tokens, "{label}, row {row}");
                    check.close(format!("{label}: alone"), &alone[0].1, logits, 1e-9);

                    let whole = [prompt.clone(), tokens[..NEW - 1].to_vec()].concat();
                    let steps = StepIndex { prompt_columns: Some(prompt.len()) };
                    let run = Run { interventions: Some(&plan), steps, ..Run::default() };
                    let anew = no_grad(|| model.run(&model.ids(&[whole])?, run))?;
                    let anew = anew.logits()?.get(0).narrow(0, prompt.len() as i64 - 1, NEW as i64);
                    check.close(format!("{label}: whole"), &anew, logits, 1e-9);
                    moved = moved.max(refrain_tests::check::largest(logits, &untouched[row].1));
                }
                // What is scaled for the first token alone, after the last attention, bears on no later one.
                assert!(
                    moved > 1e-6 || hook.layer().is_none(),
                    "{label}: nothing is changed, which shows nothing"
                );
            }
        }
    }
    check.finish();
    Ok(())
}

/// Prefill only and decoding only, against runs in which the plan is given to some calls and not to others.
#[test]
fn phases_are_calls_with_and_without_the_plan() -> Result {
    let mut check = Check::new();
    let golden = Golden::load("llama-gqa")?;
    let model = &golden.model;
    let prompt = vec![3, 4, 5, 6, 7];
    let hook = Hook::block(0, HookPoint::ResidMid);
    let everywhere = scaled(hook, &(None, None));
    let everywhere = BoundInterventions::new(model.architecture(), &everywhere, &[])?;
    for (when, holds) in [
        (Phase::Prefill, [true, false, false, false]),
        (Phase::Decode, [false, true, true, true]),
        (Phase::Steps(2, 2), [false, false, true, false]),
        (Phase::Steps(0, 1), [true, true, false, false]),
    ] {
        let what = scaled(hook, &(None, Some(when)));
        let plan = BoundInterventions::new(model.architecture(), &what, &[])?;
        let got = generate(model, std::slice::from_ref(&prompt), &plan)?.remove(0);
        let (arch, device) = (model.architecture(), model.device());
        let mut kv = refrain_runner::KvCache::new(arch, 1, 20, device)?;
        let mut next = prompt.clone();
        for (step, holds) in holds.into_iter().enumerate() {
            let run =
                Run { kv: Some(&mut kv), interventions: holds.then_some(&everywhere), ..Run::default() };
            let output = no_grad(|| model.run(&model.ids(std::slice::from_ref(&next))?, run))?;
            let last = output.logits()?.get(0).get(-1);
            check.close(format!("{when:?}: step {step}"), &got.1.get(step as i64), &last, 1e-9);
            next = vec![got.0[step]];
        }
    }
    check.finish();
    Ok(())
}

#[test]
fn places_that_no_row_has_are_refused() -> Result {
    let golden = Golden::load("gpt2-tied")?;
    let refusal = |positions: Option<Positions>, steps: Option<Phase>| {
        let what = scaled(Hook::top(HookPoint::Embed), &(positions, steps));
        BoundInterventions::new(golden.model.architecture(), &what, &[]).map(|_| ()).unwrap_err().to_string()
    };
    for (positions, word) in [
        (Positions::FromEnd(vec![0]), "from_end"),
        (Positions::FromEnd(vec![65]), "from_end 65"),
        (Positions::Tokens(vec![64]), "token 64"),
        (Positions::Tokens(vec![]), "empty"),
        (Positions::Columns(vec![]), "empty"),
    ] {
        let error = refusal(Some(positions), None);
        assert!(error.contains(word), "{error}");
    }
    assert!(refusal(None, Some(Phase::Steps(3, 2))).contains("empty"));
    Ok(())
}
