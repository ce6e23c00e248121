//! The flags of counting.

use anyhow::{Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::asking::AskArgs;
use super::sampling::SamplingArgs;
use crate::lab::{Count, CountOrNone};

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
    /// How those are drawn
    #[command(flatten)]
    #[serde(flatten)]
    pub sampling: SamplingArgs,
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
        self.sampling.check()
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

    /// Copies put into the prompt when `n` are asked for.
    pub fn prefilled(&self, n: u32) -> u32 {
        if n > self.prefill.u32() { self.prefill.u32() } else { 0 }
    }
}
