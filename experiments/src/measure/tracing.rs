//! Entropy and toxicity along a generation.

use anyhow::Result;
use clap::Args;
use refrain_entropy::distribution::LogProbs;
use refrain_entropy::schema::Table;
use refrain_entropy::stats::{rng, seed};
use refrain_entropy::table::{
    DecodingLabel, EntropyTrace, PromptKind, ResponseRow, Responses, TraceKind, TraceQuantity, TraceRow,
};
use refrain_entropy::toxicity;
use refrain_patching::{Change, FLOOR, induction_pair, normalised_effect, patch_heads, read_out};
use refrain_runner::{
    BoundInterventions, Decoding, Generate, Head, HookPoint, LogitPositions, Model, NameFilter, Run,
    StepIndex, StepView, Tokenizer,
};
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::prompts::{blank_response, end_of, prompt_row, with_tokens};
use super::words::{self, Phrase};
use crate::lab::{Count, Found, Speed};

/// Tokens of an ordinary text that are given; the model continues it.
const GIVEN: usize = 16;
/// Ordinary texts for each phrase that is followed.
const ORDINARY: u32 = 4;

/// What is followed.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TraceArgs {
    /// Repetitions asked for where entropy and toxicity are followed
    #[arg(long, value_name = "N", default_value_t = Count::of::<256>(), help_heading = "Entropy and toxicity")]
    pub trace_count: Count,
    /// Phrases to trace per pool; four times as many ordinary texts are traced
    #[arg(long, value_name = "N", default_value_t = Count::of::<3>(), help_heading = "Entropy and toxicity")]
    pub traces: Count,
    /// Steps to follow
    #[arg(long, value_name = "N", default_value_t = Count::of::<512>(), help_heading = "Entropy and toxicity")]
    pub trace_steps: Count,
    /// Steps per doubling of t at which toxicity and the logit lens are measured
    #[arg(long, value_name = "N", default_value_t = Count::of::<2>(), help_heading = "Entropy and toxicity")]
    pub toxicity_density: Count,
}

/// A prompt whose continuation is followed.
#[derive(Debug, Clone)]
pub struct Traced {
    /// What it is.
    pub kind: TraceKind,
    /// The phrase, for repetition.
    pub phrase: Option<Phrase>,
    /// Its number: of the phrase in its pool, or of the text.
    pub item: u32,
    /// The prompt.
    pub tokens: Vec<i64>,
}

impl Traced {
    /// The prompt's id.
    pub fn id(&self) -> String {
        match &self.phrase {
            Some(phrase) => format!("trace/{}/{}", phrase.pool, self.item),
            None => format!("trace/ordinary/{}", self.item),
        }
    }

    /// Its row in the table `prompts`.
    pub fn row(&self, tokenizer: &Tokenizer) -> refrain_entropy::table::PromptRow {
        let kind = match self.kind {
            TraceKind::Repetition => PromptKind::RepetitionTrace,
            TraceKind::Ordinary => PromptKind::OrdinaryTrace,
        };
        prompt_row(Some(tokenizer), &self.id(), kind, &self.tokens)
    }
}

impl TraceArgs {
    /// Whether the phrase is followed: the first of each pool are.
    pub fn follows(&self, phrase: &Phrase) -> bool {
        phrase.item < self.traces.u32()
    }

    /// The beginnings of ordinary texts that are continued.
    pub fn ordinary(&self, texts: &[Vec<i64>]) -> Vec<Traced> {
        let traced = |(text, item): (&Vec<i64>, u32)| {
            // A short text leaves at least its last token to predict.
            let given = GIVEN.min(text.len() - 1);
            Traced { kind: TraceKind::Ordinary, phrase: None, item, tokens: text[..given].to_vec() }
        };
        texts.iter().zip(0..ORDINARY * self.traces.u32()).map(traced).collect()
    }
}

/// What following needs beside the model.
pub struct Tracing<'a> {
    /// The flags.
    pub args: &'a TraceArgs,
    /// For the names of tokens.
    pub tokenizer: &'a Tokenizer,
    /// How ordinary text is continued: sampled, since greedy continuations fall into loops of their own.
    pub sampling: Decoding,
    /// Tokens that end a continuation.
    pub stop: &'a [i64],
    /// Tokens that random replacements are drawn from.
    pub random_tokens: &'a [i64],
    /// c of the log descaling whose toxicity is predicted.
    pub log_c: f64,
    /// Bytes that the runs of a sweep may take.
    pub memory: u64,
    /// Of every draw.
    pub seed: u64,
}

impl Tracing<'_> {
    /// The tables that [`Tracing::run`] has rows of.
    pub const TABLES: &'static [&'static str] = &[EntropyTrace::NAME, Responses::NAME];

    /// Follows the continuations of `traced`, all of one kind, under `condition`. Toxicity is measured where
    /// `induction` says which heads count.
    ///
    /// # Errors
    /// If a prompt does not fit the window or the model cannot be run.
    pub fn run(
        &self,
        model: &Model,
        traced: &[Traced],
        condition: &Condition,
        induction: Option<&[Head]>,
    ) -> Result<Found> {
        let Some(kind) = traced.first().map(|traced| traced.kind) else {
            return Found::rows::<EntropyTrace>(&[]);
        };
        let bound = BoundInterventions::new(model.architecture(), &condition.interventions, &[])?;
        let prompts: Vec<Vec<i64>> = traced.iter().map(|traced| traced.tokens.clone()).collect();
        let stream = |traced: &Traced| format!("trace/{kind}/{}", traced.item);
        let seeds: Vec<u64> = traced.iter().map(|traced| seed(self.seed, &stream(traced))).collect();
        let decoding = match kind {
            TraceKind::Repetition => DecodingLabel::Greedy,
            TraceKind::Ordinary => DecodingLabel::Sampled,
        };
        let options = Generate {
            decoding: if decoding == DecodingLabel::Greedy { Decoding::GREEDY } else { self.sampling },
            seeds: &seeds,
            stop: self.stop,
            max_new: Some(self.args.trace_steps.get()),
            interventions: Some(&bound),
            ..Generate::default()
        };
        let mut rows = Vec::new();
        let mut chosen: Vec<Vec<i64>> = vec![Vec::new(); traced.len()];
        let mut last: Option<(Vec<usize>, LogProbs)> = None;
        let mut speed = Speed::default();
        let mut observe = |view: &StepView<'_>| -> Result<()> {
            let now = LogProbs::from_logits(view.logits)?;
            let kl = match &last {
                None => None,
                Some((before, log_probs)) => {
                    let at = |row: &usize| before.iter().position(|other| other == row).unwrap_or(0) as i64;
                    let same = log_probs.select(&view.rows.iter().map(at).collect::<Vec<_>>())?;
                    Some(now.kl_to_nats(&same)?)
                }
            };
            let (entropy, top1) = (now.entropy_nats()?, now.top1_probability()?);
            for (i, &row) in view.rows.iter().enumerate() {
                chosen[row].push(view.chosen[i]);
                let blank =
                    |quantity| self.blank(&traced[row], condition, view.step, view.chosen[i], quantity);
                rows.push(TraceRow { value: Some(entropy[i]), ..blank(TraceQuantity::EntropyNats) });
                rows.push(TraceRow { value: Some(top1[i]), ..blank(TraceQuantity::Top1Probability) });
                let kl = kl.as_ref().map(|kl| kl[i]);
                let reason = kl.is_none().then(|| "first step".to_owned());
                rows.push(TraceRow { value: kl, reason, ..blank(TraceQuantity::KlPreviousNats) });
            }
            last = Some((view.rows.to_vec(), now));
            Ok(())
        };
        let generated = speed.of(|| model.generate_with(&prompts, options, &mut observe))?;
        // By trace, then step, whatever the order of execution.
        rows.sort_by_key(|row: &TraceRow| (row.pool, row.item, row.step));
        let responses: Vec<ResponseRow> = traced
            .iter()
            .zip(&generated)
            .map(|(traced, generated)| {
                let end = end_of(generated.outcome);
                let blank = ResponseRow { end, ..blank_response(traced.id(), condition, decoding) };
                with_tokens(Some(self.tokenizer), blank, &generated.tokens)
            })
            .collect();
        for (traced, chosen) in traced.iter().zip(&chosen) {
            let Some(induction) = induction else { break };
            for step in measured(self.args.toxicity_density.u32(), chosen.len()) {
                let context: Vec<i64> = traced.tokens.iter().chain(&chosen[..step]).copied().collect();
                let at = At { traced, condition, context: &context, step, token: chosen[step] };
                rows.extend(self.toxicities(model, induction, &at)?);
            }
        }
        Ok(Found::rows::<EntropyTrace>(&rows)?.and::<Responses>(&responses)?.at(speed))
    }

    fn blank(
        &self,
        traced: &Traced,
        condition: &Condition,
        step: usize,
        token: i64,
        quantity: TraceQuantity,
    ) -> TraceRow {
        TraceRow {
            prompt_kind: traced.kind,
            condition: condition.id(),
            n: traced.phrase.as_ref().map(|_| self.args.trace_count.u32()),
            pool: traced.phrase.as_ref().map(|phrase| phrase.pool),
            item: traced.item,
            step: step as u32,
            token: self.tokenizer.token(token).unwrap_or_default(),
            quantity,
            layer: None,
            value: None,
            reason: None,
        }
    }

    fn toxicities(&self, model: &Model, induction: &[Head], at: &At<'_>) -> Result<Vec<TraceRow>> {
        let blank = |quantity| self.blank(at.traced, at.condition, at.step, at.token, quantity);
        let steps = StepIndex { prompt_columns: Some(at.traced.tokens.len()) };
        let mut rows = Vec::new();
        let causal = self.causal(model, induction, at, steps)?;
        rows.push(TraceRow {
            value: causal.as_ref().ok().copied(),
            reason: causal.as_ref().err().cloned(),
            ..blank(TraceQuantity::ToxicityCausal)
        });
        if at.condition.is_none() {
            let predicted = |tau: &f64| toxicity::predicted(*tau, at.step, self.log_c);
            rows.push(TraceRow {
                value: causal.as_ref().ok().map(predicted),
                reason: causal.err(),
                ..blank(TraceQuantity::ToxicityPredicted)
            });
        }
        let bound = BoundInterventions::new(model.architecture(), &at.condition.interventions, &[])?;
        let run = Run {
            interventions: Some(&bound),
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
        let lens = tch::no_grad(|| read_out::logit_lens_entropy_nats(model, &cache))?;
        rows.extend(lens.into_iter().zip(0..).map(|(entropy, layer)| TraceRow {
            layer: Some(layer),
            value: Some(entropy),
            ..blank(TraceQuantity::LogitLensEntropyNats)
        }));
        Ok(rows)
    }

    /// The share of the heads' effects that is the induction heads', or why there is none.
    fn causal(
        &self,
        model: &Model,
        induction: &[Head],
        at: &At<'_>,
        steps: StepIndex,
    ) -> Result<Result<f64, String>> {
        let pool = at.traced.phrase.as_ref().map_or("-", |phrase| words::stream(phrase.pool));
        // The same replacement under every condition.
        let stream = format!("toxicity/{}/{pool}/{}/{}", at.traced.kind, at.traced.item, at.step);
        let pair = induction_pair(at.context, self.random_tokens, &mut rng(self.seed, &stream));
        let Some(pair) = pair else { return Ok(Err("the last token is new to the context".to_owned())) };
        let swept = patch_heads(model, &[pair], &at.condition.interventions, steps, self.memory, 1)?;
        let (clean, corrupted) = (swept.clean[0], swept.corrupted[0]);
        if let Err(reason) = normalised_effect(Change::Denoise, clean, clean, corrupted, FLOOR) {
            return Ok(Err(reason));
        }
        let changes = swept.changes(&model.heads(), 0);
        let own = changes.iter().map(|(head, change)| (*change, induction.contains(head)));
        Ok(toxicity::causal(&own.collect::<Vec<_>>()).ok_or_else(|| "no head has an effect".to_owned()))
    }
}

/// One measured step of a continuation.
struct At<'a> {
    traced: &'a Traced,
    condition: &'a Condition,
    context: &'a [i64],
    step: usize,
    token: i64,
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
