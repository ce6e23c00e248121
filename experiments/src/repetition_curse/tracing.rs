//! Entropy and toxicity along a generation.

use anyhow::Result;
use refrain_entropy::distribution::LogProbs;
use refrain_entropy::stats::{rng, seed};
use refrain_entropy::table::TraceRow;
use refrain_entropy::toxicity;
use refrain_patching::{Change, FLOOR, induction_pair, normalised_effect, patch_heads, read_out};
use refrain_runner::{
    BoundInterventions, Decoding, Generate, Head, HookPoint, LogitPositions, NameFilter, Run, StepIndex,
    StepView,
};

use super::conditions::Condition;
use super::counting::prefilled;
use super::heads::MEMORY;
use super::settings::Settings;
use super::subject::{Phrase, Subject};

/// Tokens of an ordinary text that are given; the model continues it.
const GIVEN: usize = 16;

/// What is generated.
#[derive(Debug, Clone, Copy)]
pub enum Task<'a> {
    /// Repetitions of a phrase, greedily.
    Repetition(&'a [Phrase]),
    /// The continuation of ordinary texts, sampled: a greedy one would fall into a loop of its own.
    Ordinary(&'a [Vec<i64>]),
}

/// A trace's prompt and its labels.
struct Traced {
    ids: Vec<i64>,
    pool: Option<String>,
    prompt: u32,
}

/// The phrases to follow: the first of each pool.
pub fn followed(phrases: &[Phrase], settings: &Settings) -> Vec<Phrase> {
    phrases.iter().filter(|phrase| phrase.prompt < settings.traces).cloned().collect()
}

/// Follows `task` under `condition`. Toxicity is measured where `induction` says which heads count.
///
/// # Errors
/// If a prompt does not fit the window or the model cannot be run.
pub fn trace(
    subject: &Subject,
    settings: &Settings,
    condition: &Condition,
    task: Task<'_>,
    induction: Option<&[Head]>,
) -> Result<Vec<TraceRow>> {
    let model = &subject.model;
    let traced = prompts(subject, settings, task)?;
    let (label, decoding) = match task {
        Task::Repetition(_) => ("repetition", Decoding::GREEDY),
        Task::Ordinary(_) => ("ordinary", settings.sampling()),
    };
    let blank = |traced: &Traced, step: usize, token: i64, quantity: &str| TraceRow {
        condition: label.into(),
        intervention: condition.intervention.clone(),
        head_set: condition.head_set.clone(),
        n: matches!(task, Task::Repetition(_)).then_some(settings.trace_count),
        pool: traced.pool.clone(),
        prompt: traced.prompt,
        step: step as u32,
        token: subject.tokenizer.token(token).unwrap_or_default(),
        quantity: quantity.into(),
        layer: None,
        value: None,
        reason: None,
    };

    let plan = BoundInterventions::new(model.architecture(), &condition.interventions, &[])?;
    let prompts: Vec<Vec<i64>> = traced.iter().map(|traced| traced.ids.clone()).collect();
    let seeds: Vec<u64> = traced
        .iter()
        .map(|traced| seed(settings.seed, &format!("trace/{label}/{}", traced.prompt)))
        .collect();
    let options = Generate {
        decoding,
        seeds: &seeds,
        stop: subject.stop(),
        max_new: Some(settings.trace_steps),
        plan: Some(&plan),
    };
    let mut rows = Vec::new();
    let mut chosen: Vec<Vec<i64>> = vec![Vec::new(); traced.len()];
    let mut last: Option<(Vec<usize>, LogProbs)> = None;
    model.generate(&prompts, &options, &mut |view: &StepView<'_>| {
        let seen = || -> refrain_entropy::Result<_> {
            let now = LogProbs::from_logits(view.logits)?;
            let kl = match &last {
                None => None,
                Some((before, log_probs)) => {
                    let at = |row: &usize| before.iter().position(|other| other == row).unwrap_or(0) as i64;
                    let same = log_probs.select(&view.rows.iter().map(at).collect::<Vec<_>>())?;
                    Some(now.kl_to_nats(&same)?)
                }
            };
            Ok((now.entropy_nats()?, now.top1_probability()?, kl, now))
        };
        let (entropy, top1, kl, now) =
            seen().map_err(|error| refrain_runner::Error::Input(error.to_string()))?;
        for (i, &row) in view.rows.iter().enumerate() {
            chosen[row].push(view.chosen[i]);
            let blank = |quantity| blank(&traced[row], view.step, view.chosen[i], quantity);
            rows.push(TraceRow { value: Some(entropy[i]), ..blank("entropy_nats") });
            rows.push(TraceRow { value: Some(top1[i]), ..blank("top1_probability") });
            rows.push(match &kl {
                Some(kl) => TraceRow { value: Some(kl[i]), ..blank("kl_previous_nats") },
                None => TraceRow { reason: Some("first step".into()), ..blank("kl_previous_nats") },
            });
        }
        last = Some((view.rows.to_vec(), now));
        Ok(())
    })?;
    // By trace, then step, whatever the order of execution.
    rows.sort_by_cached_key(|row| (row.pool.clone(), row.prompt, row.step));

    let Some(induction) = induction else { return Ok(rows) };
    for (traced, chosen) in traced.iter().zip(&chosen) {
        for step in measured(settings.toxicity_density, chosen.len()) {
            let context: Vec<i64> = traced.ids.iter().chain(&chosen[..step]).copied().collect();
            let at = At { context: &context, prompt: traced.ids.len(), step, label, traced };
            let blank = |quantity: &str| blank(traced, step, chosen[step], quantity);
            rows.extend(toxicities(subject, settings, condition, induction, &at, &blank)?);
        }
    }
    Ok(rows)
}

/// One measured step of a trace.
struct At<'a> {
    context: &'a [i64],
    prompt: usize,
    step: usize,
    label: &'a str,
    traced: &'a Traced,
}

fn toxicities(
    subject: &Subject,
    settings: &Settings,
    condition: &Condition,
    induction: &[Head],
    at: &At<'_>,
    blank: &dyn Fn(&str) -> TraceRow,
) -> Result<Vec<TraceRow>> {
    let model = &subject.model;
    let steps = StepIndex { prompt_columns: Some(at.prompt) };
    let mut rows = Vec::new();

    let pool = at.traced.pool.as_deref().unwrap_or("-");
    // The same replacement under every condition.
    let id = format!("toxicity/{}/{pool}/{}/{}", at.label, at.traced.prompt, at.step);
    let pair = induction_pair(at.context, &subject.plain, &mut rng(settings.seed, &id));
    let causal = match pair {
        None => Err("the last token is new to the context".to_owned()),
        Some(pair) => {
            let swept = patch_heads(model, &[pair], &condition.interventions, steps, MEMORY, 1)?;
            normalised_effect(Change::Denoise, swept.clean[0], swept.clean[0], swept.corrupted[0], FLOOR)
                .and_then(|_| {
                    toxicity::causal(&swept.changes(&model.heads(), 0), induction)
                        .ok_or("no head has an effect".to_owned())
                })
        }
    };
    rows.push(TraceRow {
        value: causal.as_ref().ok().copied(),
        reason: causal.as_ref().err().cloned(),
        ..blank("toxicity_causal")
    });
    if condition.intervention == "none" {
        rows.push(TraceRow {
            value: causal.as_ref().ok().map(|&tau| toxicity::predicted(tau, at.step, settings.log_c)),
            reason: causal.err(),
            ..blank("toxicity_predicted")
        });
    }

    let plan = BoundInterventions::new(model.architecture(), &condition.interventions, &[])?;
    let run = Run {
        plan: Some(&plan),
        names: NameFilter::points(&[
            HookPoint::Z,
            HookPoint::Ln1PostScale,
            HookPoint::FinalScale,
            HookPoint::ResidPost,
        ]),
        steps,
        logits: LogitPositions::Last,
        ..Run::default()
    };
    let ids = model.ids(&[at.context.to_vec()])?;
    let cache = tch::no_grad(|| model.run(&ids, run))?.cache;
    let share = tch::no_grad(|| read_out::norm_share(model, &cache, induction))?;
    rows.push(TraceRow {
        value: share.map(|share| share.of_heads),
        reason: share.is_none().then(|| "no head's output reaches the logits directly".to_owned()),
        ..blank("toxicity_norm_share")
    });
    let lens = tch::no_grad(|| read_out::logit_lens_entropy_nats(model, &cache))?;
    rows.extend(lens.into_iter().zip(0..).map(|(entropy, layer)| TraceRow {
        layer: Some(layer),
        value: Some(entropy),
        ..blank("logit_lens_entropy_nats")
    }));
    Ok(rows)
}

fn prompts(subject: &Subject, settings: &Settings, task: Task<'_>) -> Result<Vec<Traced>> {
    match task {
        Task::Repetition(phrases) => {
            let given = prefilled(settings, settings.trace_count);
            let traced = |phrase: &Phrase| {
                let ids = subject.prompt(settings, phrase, settings.trace_count, given)?;
                Ok(Traced { ids, pool: Some(phrase.pool.to_owned()), prompt: phrase.prompt })
            };
            phrases.iter().map(traced).collect()
        }
        Task::Ordinary(texts) => {
            let wanted = 4 * settings.traces;
            let traced = |(text, prompt): (&Vec<i64>, u32)| {
                // A short text leaves at least its last token to predict.
                let given = GIVEN.min(text.len() - 1);
                Traced { ids: text[..given].to_vec(), pool: None, prompt }
            };
            Ok(texts.iter().zip(0..wanted).map(traced).collect())
        }
    }
}

/// The steps below `length` at which toxicity is measured: every one up to `density`, then `density` per doubling.
fn measured(density: u32, length: usize) -> Vec<usize> {
    let growth = 2f64.powf(1.0 / f64::from(density));
    let mut steps = Vec::new();
    let mut next = 0usize;
    while next < length {
        steps.push(next);
        next = ((next as f64 * growth).round() as usize).max(next + 1);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::measured;

    #[test]
    fn measured_steps_thin_out() {
        assert_eq!(measured(1, 40), [0, 1, 2, 4, 8, 16, 32]);
        assert_eq!(measured(2, 20), [0, 1, 2, 3, 4, 6, 8, 11, 16]);
        assert!(measured(2, 0).is_empty());
    }
}
