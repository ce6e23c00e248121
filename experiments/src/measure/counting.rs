//! "Repeat this N times": how often a model does, and how the run ends (Wang et al. 2025, arXiv 2505.13514).

use anyhow::{Result, bail};
use clap::Args;
use refrain_entropy::repetition::text::{Copies, outcome};
use refrain_entropy::repetition::{rep_n, trailing_cycle};
use refrain_entropy::schema::Table;
use refrain_entropy::stats::seed;
use refrain_entropy::table::{
    CountRow, CountSweep, DecodingLabel, End, PromptKind, PromptRow, ResponseRow, Responses,
};
use refrain_runner::{BoundInterventions, Decoding, Generate, Generated, Model, Tokenizer};
use serde::{Deserialize, Serialize};

use super::asking::{AskArgs, Asking};
use super::condition::Condition;
use super::prompts::{blank_response, end_of, prompt_row, with_tokens};
use super::words::{Phrase, stream};
use crate::lab::{Count, CountOrNone, Found, Subject};

/// Sizes of trailing cycles that are looked for, in tokens.
const CYCLES: std::ops::RangeInclusive<usize> = 1..=500;
/// Prompts that are continued together.
const BATCH: usize = 64;

/// What is asked, and how it is continued.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CountArgs {
    /// Repetitions to ask for
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_values_t = COUNTS, help_heading = "Counting")]
    pub counts: Vec<Count>,
    /// Copies to put in the prompt when more than this many are requested
    #[arg(long, value_name = "N", default_value_t = CountOrNone::of::<8>(), help_heading = "Counting")]
    pub prefill: CountOrNone,
    /// Sampled continuations per prompt, beside the greedy one
    #[arg(long, value_name = "N", default_value_t = CountOrNone::of::<1>(), help_heading = "Counting")]
    pub samples: CountOrNone,
    /// Temperature of the sampled continuations
    #[arg(long, value_name = "T", default_value_t = 1.0, help_heading = "Counting")]
    pub temperature: f64,
    /// Sample from the fewest tokens that reach this probability
    #[arg(long, value_name = "P", default_value_t = 1.0, help_heading = "Counting")]
    pub top_p: f64,
    /// Sample from the K most probable tokens (0: all)
    #[arg(long, value_name = "K", default_value_t = 0, help_heading = "Counting")]
    pub top_k: usize,
    /// Stop a continuation after so many tokens even if the window is larger
    #[arg(long, value_name = "N", default_value_t = Count::of::<4096>(), help_heading = "Counting")]
    pub max_new_tokens: Count,
    /// How it is asked
    #[command(flatten)]
    #[serde(flatten)]
    pub asking: AskArgs,
}

const COUNTS: [Count; 9] = [
    Count::of::<2>(),
    Count::of::<4>(),
    Count::of::<8>(),
    Count::of::<16>(),
    Count::of::<32>(),
    Count::of::<64>(),
    Count::of::<128>(),
    Count::of::<256>(),
    Count::of::<512>(),
];

impl CountArgs {
    /// Refuses what does not go together.
    ///
    /// # Errors
    /// Naming the flag.
    pub fn check(&self) -> Result<()> {
        let mut counts = self.counts.clone();
        counts.sort_unstable();
        counts.dedup();
        if counts.len() < self.counts.len() {
            bail!("--counts names a number twice");
        }
        self.asking.check()?;
        self.sampling().validated()?;
        Ok(())
    }

    /// Refuses counts that no phrase can reach in the model's window.
    ///
    /// # Errors
    /// Naming the largest count and the window.
    pub fn check_window(&self, window: usize) -> Result<()> {
        match self.counts.iter().max() {
            Some(most) if most.get() >= window => bail!(
                "--counts {most}: the model's window has {window} positions, too few for as many copies of any \
                    phrase\nhint: ask for fewer repetitions"
            ),
            _ => Ok(()),
        }
    }

    /// How sampled continuations are drawn.
    pub fn sampling(&self) -> Decoding {
        Decoding { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, ..Decoding::SAMPLE }
    }

    /// Copies put into the prompt when `n` are asked for.
    pub fn prefilled(&self, n: u32) -> u32 {
        if n > self.prefill.u32() { self.prefill.u32() } else { 0 }
    }
}

/// A question: a phrase, how often it is to be repeated, and the prompt that asks for it.
#[derive(Debug, Clone)]
pub struct Question {
    /// The phrase.
    pub phrase: Phrase,
    /// Repetitions asked for.
    pub n: u32,
    /// Copies in the prompt.
    pub prefilled: u32,
    /// Their tokens.
    pub given: Vec<i64>,
    /// The prompt.
    pub tokens: Vec<i64>,
}

impl Question {
    /// The prompt's id.
    pub fn id(&self) -> String {
        format!("count/{}/{}/{}", self.phrase.pool, self.phrase.item, self.n)
    }

    /// Its row in the table `prompts`.
    pub fn row(&self, tokenizer: &Tokenizer) -> PromptRow {
        prompt_row(Some(tokenizer), &self.id(), PromptKind::Count, &self.tokens)
    }
}

/// Every phrase asked for every count.
///
/// # Errors
/// If the tokenizer refuses a prompt, or one does not fit the window.
pub fn questions(
    subject: &Subject,
    asking: &Asking<'_>,
    args: &CountArgs,
    phrases: &[Phrase],
) -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    for count in &args.counts {
        let (n, prefilled) = (count.u32(), args.prefilled(count.u32()));
        for phrase in phrases {
            let tokens = asking.prompt(phrase, n, prefilled)?;
            if tokens.len() >= subject.window() {
                bail!(
                    "the prompt for {n} repetitions of {:?} has {} tokens, and the model's window {} positions\nhint: \
                        choose a smaller --prefill",
                    phrase.text,
                    tokens.len(),
                    subject.window()
                );
            }
            let given = asking.copies(phrase, prefilled)?;
            questions.push(Question { phrase: phrase.clone(), n, prefilled, given, tokens });
        }
    }
    Ok(questions)
}

/// What a run of counting needs beside the model.
pub struct Counting<'a> {
    /// The flags.
    pub args: &'a CountArgs,
    /// For texts.
    pub tokenizer: &'a Tokenizer,
    /// Tokens that end a continuation.
    pub stop: &'a [i64],
    /// Of every draw.
    pub seed: u64,
}

impl Counting<'_> {
    /// The tables that [`Counting::run`] has rows of.
    pub const TABLES: &'static [&'static str] = &[CountSweep::NAME, Responses::NAME];

    /// Continues every question, greedily and sampled, under `condition`.
    ///
    /// # Errors
    /// If the model cannot be run.
    pub fn run(&self, model: &Model, questions: &[&Question], condition: &Condition) -> Result<Found> {
        let bound = BoundInterventions::new(model.architecture(), &condition.interventions, &[])?;
        let samples = (0..self.args.samples.u32()).map(|sample| (DecodingLabel::Sampled, sample));
        let (mut rows, mut responses) = (Vec::new(), Vec::new());
        for (decoding, sample) in std::iter::once((DecodingLabel::Greedy, 0)).chain(samples) {
            for chunk in questions.chunks(BATCH) {
                // The same draws under every condition, so that conditions can be compared pair by pair.
                let drawn = |asked: &&Question| {
                    format!("count/{}/{}/{}/{sample}", stream(asked.phrase.pool), asked.phrase.item, asked.n)
                };
                let seeds: Vec<u64> = chunk.iter().map(|asked| seed(self.seed, &drawn(asked))).collect();
                let prompts: Vec<Vec<i64>> = chunk.iter().map(|asked| asked.tokens.clone()).collect();
                let options = Generate {
                    decoding: if decoding == DecodingLabel::Greedy {
                        Decoding::GREEDY
                    } else {
                        self.args.sampling()
                    },
                    seeds: &seeds,
                    stop: self.stop,
                    max_new: Some(self.args.max_new_tokens.get()),
                    interventions: Some(&bound),
                    ..Generate::default()
                };
                let generated = model.generate(&prompts, options)?;
                for (asked, generated) in chunk.iter().zip(generated) {
                    let row = self.row(model, asked, condition, (decoding, sample), &generated)?;
                    responses.push(self.response(condition, &row, &generated));
                    rows.push(row);
                }
            }
        }
        Found::rows::<CountSweep>(&rows)?.and::<Responses>(&responses)
    }

    fn row(
        &self,
        model: &Model,
        asked: &Question,
        condition: &Condition,
        (decoding, sample): (DecodingLabel, u32),
        generated: &Generated,
    ) -> Result<CountRow> {
        let Question { phrase, n, prefilled, given, .. } = asked;
        let length = phrase.tokens.len();
        let mut response = given.clone();
        response.extend(&generated.tokens);
        let text = self.tokenizer.decode(&response)?;
        let own = self.tokenizer.decode(&generated.tokens)?;
        let copies = Copies::of(&phrase.text, &text);
        let repetitions = copies.longest as u32;
        let end = end_of(generated.outcome);
        let words_before = copies.words_before(&text);
        let words_after = copies.words_after(&phrase.text, &text, end != End::Stopped);
        let rep_4 = rep_n(&response, 4);
        let answer = n.saturating_sub(*prefilled) as usize * length;
        let room = model.architecture().n_ctx.saturating_sub(asked.tokens.len());
        Ok(CountRow {
            condition: condition.id(),
            n: *n,
            pool: phrase.pool,
            item: phrase.item,
            phrase: phrase.text.clone(),
            phrase_tokens: length as u32,
            decoding,
            sample,
            prefilled: *prefilled,
            prompt_id: asked.id(),
            prompt_tokens: asked.tokens.len() as u32,
            tokens: generated.tokens.len() as u32,
            response_tokens: response.len() as u32,
            repetitions,
            copies: copies.total as u32,
            separator: copies.separator,
            separator_changed: copies.separator_changed,
            words_before,
            words_after,
            end,
            outcome: outcome(&own, &phrase.text, end, *prefilled > 0, n.saturating_sub(*prefilled) as usize),
            // The end token takes a place, too.
            feasible: answer < room && answer < self.args.max_new_tokens.get(),
            exact: end == End::Stopped && repetitions == *n && !words_before && !words_after,
            overshoot: f64::from(repetitions) / f64::from(*n),
            trailing_cycle: trailing_cycle(&response, CYCLES).map(|size| size as u32),
            rep_4,
            reason: rep_4.is_none().then(|| "fewer than 4 tokens".to_owned()),
        })
    }

    fn response(&self, condition: &Condition, row: &CountRow, generated: &Generated) -> ResponseRow {
        let blank = blank_response(row.prompt_id.clone(), condition, row.decoding);
        let blank = ResponseRow { sample: row.sample, end: row.end, ..blank };
        with_tokens(Some(self.tokenizer), blank, &generated.tokens)
    }
}
