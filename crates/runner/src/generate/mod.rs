//! Autoregressive decoding over a key/value cache, many prompts at once.

mod ahead;
mod column;
mod options;
mod process;
mod recommended;
mod sample;

use std::ops::ControlFlow;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::forward::{LogitPositions, Run};
use crate::intervention::{BoundInterventions, StepIndex};
use crate::kv_cache::KvCache;
use crate::model::Model;
use column::Columns;
pub use options::{DecodePath, Generate};
pub use sample::{Choice, Decoding};

/// One continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The new tokens, without the one that stopped it.
    pub tokens: Vec<i64>,
    /// Why it ended.
    pub outcome: Outcome,
}

/// Why a continuation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A stop token was chosen.
    Stopped,
    /// Prompt and continuation fill the context window.
    OutOfWindow,
    /// `max_new` tokens were generated.
    Limit,
}

/// What an observer sees of one step, for the prompts still running.
#[derive(Debug)]
pub struct StepView<'a> {
    /// The step t; 0 is the first choice, made on the prompt alone.
    pub step: usize,
    /// Which prompts the rows are.
    pub rows: &'a [usize],
    /// `[rows, vocab]`: the model's logits.
    pub logits: &'a Tensor,
    /// `[rows, vocab]`: what the choice was made from, the logits after [`Decoding::process`]; -inf for what is
    /// excluded.
    pub scores: &'a Tensor,
    /// The tokens chosen, a stop token included.
    pub chosen: &'a [i64],
    /// The forward pass that gave the logits; the prompt's is 0. Several steps may share one (see
    /// [`DecodePath::Fast`]).
    pub pass: usize,
}

impl Model {
    /// Continues every prompt. Prompts of different lengths are padded on the left; the result is that of each
    /// prompt alone.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty prompt, missing seeds, a decoding parameter out of range or processors that
    /// leave no token, [`Error::Window`] for a prompt that leaves no room for a new token, and what [`Model::run`]
    /// returns.
    pub fn generate(&self, prompts: &[Vec<i64>], options: Generate<'_>) -> Result<Vec<Generated>> {
        self.generate_with(prompts, options, |_| Ok(()))
    }

    /// As [`Model::generate`]; `observe` is called once a step, as soon as its tokens are chosen. For text as it
    /// comes, give each row's tokens to a [`crate::TextStream`]. An error of `observe` ends the generation.
    ///
    /// # Errors
    /// As [`Model::generate`], and what `observe` returns.
    pub fn generate_with<E: From<Error>>(
        &self,
        prompts: &[Vec<i64>],
        options: Generate<'_>,
        mut observe: impl FnMut(&StepView<'_>) -> Result<(), E>,
    ) -> Result<Vec<Generated>, E> {
        // An error that is not this crate's waits here while the loop ends.
        let mut failed = None;
        let guard = tch::no_grad_guard();
        let result = self.generate_without_grad(prompts, options, &mut |view| {
            observe(view).map_or_else(
                |error| {
                    failed = Some(error);
                    ControlFlow::Break(())
                },
                ControlFlow::Continue,
            )
        });
        drop(guard);
        match failed {
            Some(error) => Err(error),
            None => Ok(result?),
        }
    }

    fn generate_without_grad(
        &self,
        prompts: &[Vec<i64>],
        mut options: Generate<'_>,
        observe: &mut dyn FnMut(&StepView<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>> {
        let window = self.architecture().n_ctx;
        let decoding = options.decoding.validated()?;
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        if decoding.choice == Choice::Sample && options.seeds.len() != prompts.len() {
            return Err(Error::Input(format!("{} seeds for {} prompts", options.seeds.len(), prompts.len())));
        }
        if options.interventions.is_some_and(BoundInterventions::names_rows) {
            // Finished rows leave the batch, so a row's number does not stay.
            return Err(Error::Input(
                "an intervention on some rows of the batch cannot be used in generation".into(),
            ));
        }
        if let Some(row) = prompts.iter().position(Vec::is_empty) {
            return Err(Error::Input(format!("prompt {row} is empty")));
        }
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let shortest = prompts.iter().map(Vec::len).min().unwrap_or(0);
        if longest >= window {
            return Err(Error::Window { tokens: longest + 1, window });
        }
        // The shortest prompt may run longest; its padding takes columns too.
        let most_new = options.max_new.unwrap_or(window).min(window - shortest);
        let capacity = longest + most_new;
        let device = self.device();
        let mut kv = KvCache::new(self.architecture(), prompts.len(), capacity, device)?;

        let mut results: Vec<Generated> =
            prompts.iter().map(|_| Generated { tokens: Vec::new(), outcome: Outcome::Limit }).collect();
        if most_new == 0 {
            return Ok(results);
        }
        let mut rngs: Vec<ChaCha8Rng> = options.seeds.iter().map(|s| ChaCha8Rng::seed_from_u64(*s)).collect();
        // The prompts that the rows of the cache belong to, finished ones included until the next clearing.
        let mut rows: Vec<usize> = (0..prompts.len()).collect();
        let mut done = vec![false; prompts.len()];
        let steps = StepIndex { prompt_columns: Some(longest) };
        // Without padding, which no processor may take for a part of the text.
        let mut texts = prompts.to_vec();

        let mut logits = self.whole_rows(prompts, longest, &mut kv, steps, &mut options)?;
        let mut columns = Columns::new(self, &mut options)?;
        for step in 0.. {
            let live: Vec<usize> = rows.iter().copied().filter(|row| !done[*row]).collect();
            let at: Vec<i64> = (0..rows.len() as i64).filter(|i| !done[rows[*i as usize]]).collect();
            if live.len() < rows.len() {
                logits = logits.f_index_select(0, &Tensor::f_from_slice(&at)?.f_to_device(device)?)?;
            }
            let mut drawing: Vec<&mut ChaCha8Rng> = rngs
                .iter_mut()
                .enumerate()
                .filter(|(row, _)| live.contains(row))
                .map(|(_, rng)| rng)
                .collect();
            if logits.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                return Err(Error::NotFinite);
            }
            let so_far: Vec<&[i64]> = live.iter().map(|row| &texts[*row][..]).collect();
            let scores = decoding.process(&logits, &so_far)?;
            let chosen = decoding.choose(&scores, &mut drawing)?;
            let pass = columns.passes();
            let view =
                StepView { step, rows: &live, logits: &logits, scores: &scores, chosen: &chosen, pass };
            if observe(&view).is_break() {
                break;
            }
            for (&row, &token) in live.iter().zip(&chosen) {
                if options.stop.contains(&token) {
                    results[row].outcome = Outcome::Stopped;
                    done[row] = true;
                    continue;
                }
                results[row].tokens.push(token);
                texts[row].push(token);
                let tokens = results[row].tokens.len();
                if prompts[row].len() + tokens >= window {
                    results[row].outcome = Outcome::OutOfWindow;
                    done[row] = true;
                } else if Some(tokens) == options.max_new {
                    done[row] = true;
                }
            }
            let left = rows.iter().filter(|row| !done[**row]).count();
            if left == 0 {
                break;
            }
            // Clearing copies the cache: worth it when a quarter of its rows is of no more use, and necessary
            // when a row has no position left to idle on.
            let full = rows.iter().any(|row| prompts[*row].len() + step >= window);
            if full || 4 * left <= 3 * rows.len() {
                let kept: Vec<i64> = (0..rows.len() as i64).filter(|i| !done[rows[*i as usize]]).collect();
                columns.settle(&mut kv)?;
                kv.keep_rows(&kept)?;
                rows.retain(|row| !done[*row]);
            }
            let outgrown = |row: &usize| self.architecture().rotation_switch() == Some(texts[*row].len() - 1);
            if rows.iter().any(outgrown) {
                // From here on every position of that row is rotated otherwise: what was kept is of no more use.
                rows.retain(|row| !done[*row]);
                let all: Vec<Vec<i64>> = rows.iter().map(|row| texts[*row].clone()).collect();
                kv = KvCache::new(self.architecture(), rows.len(), capacity, device)?;
                logits = self.whole_rows(&all, longest + step + 1, &mut kv, steps, &mut options)?;
                continue;
            }
            // A finished row runs on over its last token until it is cleared; nobody reads it.
            let last: Vec<i64> = rows
                .iter()
                .map(|row| results[*row].tokens.last().copied().unwrap_or(prompts[*row][0]))
                .collect();
            let text = |row: &usize| (!done[*row]).then_some(&texts[*row][..]);
            let so_far: Vec<Option<&[i64]>> = rows.iter().map(text).collect();
            logits = columns.next(&last, &so_far, &mut kv, steps, &mut options)?;
        }
        Ok(results)
    }

    /// Runs whole rows, padded to `length` columns, into an empty cache: the logits of the last column,
    /// `[rows, vocab]`.
    fn whole_rows(
        &self,
        rows: &[Vec<i64>],
        length: usize,
        kv: &mut KvCache,
        steps: StepIndex,
        options: &mut Generate<'_>,
    ) -> Result<Tensor> {
        let (ids, mask) = self.left_padded(rows, length)?;
        let padded = rows.iter().any(|row| row.len() < length);
        let run = Run { mask: padded.then_some(&mask), kv: Some(kv), steps, ..options.run() };
        self.last_logits(&ids, run)
    }

    /// The logits of the last column, `[rows, vocab]`.
    fn last_logits(&self, ids: &Tensor, run: Run<'_>) -> Result<Tensor> {
        let output = self.run(ids, Run { logits: LogitPositions::Last, ..run })?;
        Ok(output.logits()?.f_squeeze_dim(1)?)
    }

    /// Rows of different lengths as `[rows, length]` ids, padded on the left, and the mask of the real ones.
    ///
    /// # Errors
    /// [`Error::Input`] if a row is longer than `length`.
    pub fn left_padded(&self, rows: &[Vec<i64>], length: usize) -> Result<(Tensor, Tensor)> {
        let mut ids = Vec::with_capacity(rows.len() * length);
        let mut mask = Vec::with_capacity(rows.len() * length);
        for row in rows {
            let Some(pad) = length.checked_sub(row.len()) else {
                return Err(Error::Input(format!(
                    "a row of {} tokens does not fit {length} columns",
                    row.len()
                )));
            };
            // Which token stands in the padding makes no difference; 0 always exists.
            ids.extend(std::iter::repeat_n(0, pad).chain(row.iter().copied()));
            mask.extend(std::iter::repeat_n(false, pad).chain(std::iter::repeat_n(true, row.len())));
        }
        let shape = [rows.len() as i64, length as i64];
        let ids = Tensor::f_from_slice(&ids)?.f_reshape(shape)?.f_to_device(self.device())?;
        let mask = Tensor::f_from_slice(&mask)?.f_to_kind(Kind::Bool)?.f_reshape(shape)?;
        Ok((ids, mask.f_to_device(self.device())?))
    }
}
