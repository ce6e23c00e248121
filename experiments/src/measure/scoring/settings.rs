//! What the methods are told: on what, of what, with what.

use anyhow::Result;
use refrain_patching::attribution::{Input, Node};
use refrain_patching::detect::Detector;
use refrain_patching::sweep;
use refrain_patching::{Change, Component, Direction, Method, Metric, Pair};
use refrain_runner::{Head, Intervention, Model, Tokenizer};

/// What every method reads.
pub struct Scoring<'a> {
    /// The model.
    pub model: &'a Model,
    /// The same in bf16, for screening.
    pub narrow: Option<&'a Model>,
    /// For the strings of tokens.
    pub tokenizer: Option<&'a Tokenizer>,
    /// The task that the pairs are from.
    pub task: &'a str,
    /// The pairs.
    pub pairs: &'a [Pair],
    /// What is read of every run.
    pub metrics: Vec<Metric>,
    /// What is changed.
    pub components: Vec<Component>,
    /// Which way.
    pub direction: Direction,
    /// One position at a time.
    pub by_position: bool,
    /// One entry of the pattern at a time.
    pub by_key_position: bool,
    /// Means over positions too.
    pub pooled: bool,
    /// Path patching's senders.
    pub senders: Vec<Head>,
    /// Its receivers.
    pub receivers: Vec<(Node, Input)>,
    /// Steps of integrated gradients.
    pub steps: usize,
    /// Heads of the largest circuit.
    pub circuit_heads: usize,
    /// Interventions that hold in every run.
    pub background: &'a [Intervention],
    /// The detectors' sequences.
    pub probe: RepeatedSequences<'a>,
    /// Bytes that runs may take beside the weights.
    pub memory: u64,
    /// Runs side by side.
    pub cores: usize,
    /// Resamples of intervals.
    pub resamples: usize,
    /// Of every draw.
    pub seed: u64,
}

/// The sequences that detectors look at: random tokens in a block that is repeated.
pub struct RepeatedSequences<'a> {
    /// Tokens to draw from.
    pub tokens: &'a [i64],
    /// Sequences.
    pub sequences: usize,
    /// Tokens of the block; fewer where the window has no room.
    pub block: usize,
    /// Copies of it.
    pub copies: usize,
    /// What is measured.
    pub detectors: Vec<Detector>,
}

impl Scoring<'_> {
    /// The change that a method makes; none for those that make none or many.
    pub(super) fn change(&self, method: Method) -> Option<Change> {
        match method {
            Method::ZeroAblation => Some(Change::Zero),
            Method::MeanAblation => Some(Change::Mean { pooled: self.pooled }),
            Method::ResampleAblation => Some(Change::Resample { seed: self.seed }),
            Method::Dla | Method::LogitLens | Method::Detectors | Method::Circuit => None,
            _ => Some(self.direction.into()),
        }
    }

    /// What the exact engine, and the approximations of it, are asked for.
    pub(super) fn sweep(&self, change: Change) -> sweep::Settings {
        sweep::Settings {
            components: self.components.clone(),
            metrics: self.metrics.clone(),
            change,
            by_position: self.by_position,
            by_key_position: self.by_key_position,
            memory: self.memory,
            threads: self.cores,
        }
    }

    /// Refuses a method that does not know interventions in the background.
    pub(super) fn without_background(&self, method: Method) -> Result<()> {
        anyhow::ensure!(
            self.background.is_empty(),
            "--intervene: {method} does not run under interventions: its derivatives are those of the unmodified blocks\n\
                hint: exact sweeps do: activation-patching and the ablations"
        );
        Ok(())
    }
}
