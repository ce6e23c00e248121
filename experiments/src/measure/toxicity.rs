//! Toxicity and the logit lens at some steps of a generation.

use std::collections::BTreeMap;

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use refrain_entropy::stats::rng;
use refrain_entropy::table::{TraceQuantity, TraceRow};
use refrain_entropy::toxicity;
use refrain_patching::{
    Change, FLOOR, induction_answer, induction_pair, normalised_effect, patch_heads_along, read_out,
};
use refrain_runner::{
    BoundInterventions, Head, HookPoint, LogitPositions, Model, NameFilter, Run, StepIndex,
};

use super::condition::Condition;
use super::traced::{Traced, Tracing};
use super::words;

/// One continuation.
pub(super) struct Trace<'a> {
    pub(super) tracing: &'a Tracing<'a>,
    pub(super) model: &'a Model,
    pub(super) traced: &'a Traced,
    pub(super) condition: &'a Condition,
    /// The tokens of the continuation.
    pub(super) chosen: &'a [i64],
    /// The heads whose share is measured.
    pub(super) induction: &'a [Head],
}

/// A share, or why there is none.
type Causal = Result<f64, String>;

impl Trace<'_> {
    /// The rows of toxicity at `steps`, in ascending order, by step.
    ///
    /// # Errors
    /// If the model cannot be run.
    pub(super) fn toxicities(&self, steps: &[usize]) -> Result<Vec<TraceRow>> {
        let causal = self.causal(steps)?;
        let mut rows = Vec::new();
        for (step, causal) in causal {
            rows.extend(self.at(step, causal)?);
        }
        Ok(rows)
    }

    /// What the model has read where it chooses the token of `step`.
    fn context(&self, step: usize) -> Vec<i64> {
        self.traced.tokens.iter().chain(&self.chosen[..step]).copied().collect()
    }

    fn step_index(&self) -> StepIndex {
        StepIndex { prompt_columns: Some(self.traced.tokens.len()) }
    }

    /// The rows of one step.
    fn at(&self, step: usize, causal: Causal) -> Result<Vec<TraceRow>> {
        let blank =
            |quantity| self.tracing.blank(self.traced, self.condition, step, self.chosen[step], quantity);
        let mut rows = Vec::new();
        rows.push(TraceRow {
            value: causal.as_ref().ok().copied(),
            reason: causal.as_ref().err().cloned(),
            ..blank(TraceQuantity::ToxicityCausal)
        });
        if self.condition.is_none() {
            let predicted = |tau: &f64| toxicity::predicted(*tau, step, self.tracing.log_c);
            rows.push(TraceRow {
                value: causal.as_ref().ok().map(predicted),
                reason: causal.err(),
                ..blank(TraceQuantity::ToxicityPredicted)
            });
        }
        let bound = BoundInterventions::new(self.model.architecture(), &self.condition.interventions, &[])?;
        let run = Run {
            interventions: Some(&bound),
            names: NameFilter::points(&[
                HookPoint::Z,
                HookPoint::Ln1PostScale,
                HookPoint::FinalScale,
                HookPoint::ResidPost,
            ]),
            steps: self.step_index(),
            logits: LogitPositions::Last,
            ..Run::default()
        };
        let ids = self.model.ids(&[self.context(step)])?;
        let cache = tch::no_grad(|| self.model.run(&ids, run))?.cache;
        let share = tch::no_grad(|| read_out::norm_share(self.model, &cache, self.induction))?;
        let none = || share.is_none().then(|| "no head's output reaches the logits directly".to_owned());
        rows.push(TraceRow {
            value: share.map(|share| share.of_heads),
            reason: none(),
            ..blank(TraceQuantity::ToxicityNormShare)
        });
        rows.push(TraceRow {
            value: share.map(|share| share.of_everything),
            reason: none(),
            ..blank(TraceQuantity::ToxicityNormShareOfAll)
        });
        let lens = tch::no_grad(|| read_out::logit_lens_entropy_nats(self.model, &cache))?;
        rows.extend(lens.into_iter().zip(0..).map(|(entropy, layer)| TraceRow {
            layer: Some(layer),
            value: Some(entropy),
            ..blank(TraceQuantity::LogitLensEntropyNats)
        }));
        Ok(rows)
    }

    /// The share of the heads' effects that is the induction heads', at each step. Steps at which the induction rule
    /// copies the same token, those of one phase of the phrase, share the corrupted text and the runs: up to a step
    /// it is the context of that step with that token replaced.
    fn causal(&self, steps: &[usize]) -> Result<BTreeMap<usize, Causal>> {
        let mut found = BTreeMap::new();
        let mut phases: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for step in steps {
            match induction_answer(&self.context(*step)) {
                Some(answer) => phases.entry(answer).or_default().push(*step),
                None => {
                    found.insert(*step, Err("the last token is new to the context".to_owned()));
                }
            }
        }
        for (answer, steps) in phases {
            let context = self.context(steps.iter().copied().max().unwrap_or(0));
            let tokens = self.tracing.random_tokens;
            let Some(pair) = induction_pair(&context, answer, tokens, &mut self.draws(answer)) else {
                let none = || Err("no token is left to replace the copied one".to_owned());
                found.extend(steps.iter().map(|step| (*step, none())));
                continue;
            };
            let positions: Vec<usize> =
                steps.iter().map(|step| self.traced.tokens.len() + step - 1).collect();
            let base = &self.condition.interventions;
            let memory = self.tracing.memory;
            let swept = patch_heads_along(self.model, &pair, &positions, base, self.step_index(), memory)?;
            for (column, step) in steps.iter().enumerate() {
                let (clean, corrupted) = (swept.clean[column], swept.corrupted[column]);
                let share = || {
                    normalised_effect(Change::Denoise, clean, clean, corrupted, FLOOR)?;
                    let changes = swept.changes(&self.model.heads(), column);
                    let own = changes.iter().map(|(head, change)| (*change, self.induction.contains(head)));
                    toxicity::causal(&own.collect::<Vec<_>>())
                        .ok_or_else(|| "no head has an effect".to_owned())
                };
                found.insert(*step, share());
            }
        }
        Ok(found)
    }

    /// Draws of the replacement of `answer`: one stream for all conditions. The token may differ all the same, where it
    /// already stands in one condition's context.
    fn draws(&self, answer: i64) -> ChaCha8Rng {
        let Traced { kind, item, phrase, .. } = self.traced;
        let pool = phrase.as_ref().map_or("-", |phrase| words::stream(phrase.pool));
        rng(self.tracing.seed, &format!("toxicity/{kind}/{pool}/{item}/{answer}"))
    }
}
