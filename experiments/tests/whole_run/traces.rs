//! `entropy_trace`: distributions and causal toxicity at every step, from full forward passes.

use refrain_entropy::stats::rng;
use refrain_entropy::table::{CountSweep, EntropyTrace, Pool, TraceQuantity, TraceRow};
use refrain_patching::induction_pair;
use refrain_tests::Result;
use refrain_tests::tiny::vocabulary;

use crate::slow::{Finished, best, close, log_probabilities, logits, patched};

/// Repetitions asked for and steps followed.
const ASKED: u32 = 16;
const STEPS: usize = 16;

/// The traces of one condition with their prompts.
fn traced<'a>(
    run: &Finished,
    rows: &'a [TraceRow],
    intervention: &str,
) -> Result<Vec<(Vec<i64>, Vec<&'a TraceRow>)>> {
    let counts = run.rows::<CountSweep>()?;
    let of = |pool: Pool| {
        let first = counts.iter().find(|row| row.pool == pool && row.item == 0).ok_or("no phrase")?;
        let condition = Finished::condition(intervention);
        let own = |row: &&TraceRow| row.condition == condition && row.pool == Some(pool);
        Ok((run.prompt(&first.phrase, ASKED, 8)?, rows.iter().filter(own).collect()))
    };
    [Pool::Top, Pool::Random, Pool::Rare].into_iter().map(of).collect()
}

fn find(rows: &[&TraceRow], quantity: TraceQuantity, step: usize) -> Result<TraceRow> {
    let mut found = rows.iter().filter(|row| row.quantity == quantity && row.step as usize == step);
    let first = found.next().ok_or_else(|| format!("no {quantity} at step {step}"))?;
    assert!(found.next().is_none(), "two rows of {quantity} at step {step}");
    Ok((*first).clone())
}

#[test]
fn distributions_are_those_of_full_forward_passes() -> Result {
    let run = Finished::run(&[])?;
    let rows = run.rows::<EntropyTrace>()?;
    let mut steps = 0;
    for intervention in ["none", "log", "linear", "constant"] {
        for (prompt, rows) in traced(&run, &rows, intervention)? {
            let mut ids = prompt.clone();
            let mut last: Option<Vec<f64>> = None;
            for step in 0..STEPS {
                let log_p = log_probabilities(&run.logits(&ids, prompt.len(), intervention)?);
                let expected = |f: &dyn Fn(f64) -> f64| log_p.iter().map(|l| l.exp() * f(*l)).sum::<f64>();
                let label = format!("{intervention} {:?} step {step}", rows[0].pool);
                let token = best(&log_p);
                for (quantity, wanted) in [
                    (TraceQuantity::EntropyNats, Some(expected(&|l| -l))),
                    (TraceQuantity::Top1Probability, Some(log_p[token as usize].exp())),
                    (
                        TraceQuantity::KlPreviousNats,
                        last.as_ref().map(|last| {
                            let terms =
                                log_p.iter().zip(last).map(|(now, before)| now.exp() * (now - before));
                            terms.sum::<f64>()
                        }),
                    ),
                ] {
                    let row = find(&rows, quantity, step)?;
                    assert_eq!((&row.token, row.n), (&vocabulary()[token as usize], Some(ASKED)), "{label}");
                    match wanted {
                        Some(wanted) => close(format!("{label} {quantity}"), row.value, wanted, 1e-4),
                        None => assert_eq!((row.value, row.reason.as_deref()), (None, Some("first step"))),
                    }
                }
                steps += 1;
                if token == 2 {
                    let after = rows.iter().filter(|row| row.step as usize > step).count();
                    assert_eq!(after, 0, "{label}: rows after the end");
                    break;
                }
                ids.push(token);
                last = Some(log_p);
            }
        }
    }
    assert!(steps > 100, "only {steps} steps");
    Ok(())
}

#[test]
fn causal_toxicity_by_one_pass_a_head() -> Result {
    let run = Finished::run(&[])?;
    let rows = run.rows::<EntropyTrace>()?;
    let plain: Vec<i64> = (3..vocabulary().len() as i64).collect();
    let mut compared = 0;
    for (prompt, rows) in traced(&run, &rows, "none")? {
        let pool = rows[0].pool.ok_or("no pool")?;
        // The longest context of the measured steps with the same answer decides what replaces it.
        let mut contexts: Vec<(usize, Vec<i64>, Option<i64>)> = Vec::new();
        let mut ids = prompt.clone();
        for step in 0..STEPS {
            // Every step up to the density of 1, then the powers of two.
            if step == 0 || step.is_power_of_two() {
                if find(&rows, TraceQuantity::ToxicityCausal, step).is_err() {
                    break;
                }
                let last = ids.len() - 1;
                let before = ids[..last].iter().rposition(|token| *token == ids[last]);
                contexts.push((step, ids.clone(), before.map(|before| ids[before + 1])));
            }
            ids.push(best(&logits(&run.model, &ids, &[])?));
        }
        for (step, context, answer) in &contexts {
            let row = find(&rows, TraceQuantity::ToxicityCausal, *step)?;
            let Some(answer) = answer else {
                assert!(row.value.is_none() && row.reason.is_some(), "{row:?}");
                continue;
            };
            let stream = refrain_experiments::measure::words::stream(pool);
            let id = format!("toxicity/repetition/{stream}/0/{answer}");
            let longest =
                contexts.iter().rfind(|(_, _, other)| *other == Some(*answer)).ok_or("no context")?;
            let pair = induction_pair(&longest.1, *answer, &plain, &mut rng(0, &id)).ok_or("no pair")?;
            let corrupted = &pair.corrupted[..context.len()];
            for (token, other) in context.iter().zip(corrupted) {
                assert_eq!(
                    *other != *token,
                    token == answer,
                    "every occurrence is replaced, and nothing else"
                );
            }
            let base = logits(&run.model, corrupted, &[])?[*answer as usize];
            let (mut toxic, mut all) = (0.0, 0.0);
            for head in run.model.heads() {
                let value = patched(&run.model, context, corrupted, head, *answer)?;
                all += (value - base).abs();
                toxic += if run.induction.contains(&head) { (value - base).abs() } else { 0.0 };
            }
            close(format!("{pool} step {step}"), row.value, toxic / all, 1e-3);
            compared += 1;
        }
    }
    println!("{compared} toxicities");
    assert!(compared >= 6, "only {compared} toxicities");
    Ok(())
}
