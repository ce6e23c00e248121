//! The experiment's settings: flags and TOML keys of one name.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;
use refrain_runner::{Decoding, Schedule};
use serde::{Deserialize, Serialize};

use crate::model_args::{ModelArgs, UNRECORDED};

/// Find the heads that make a language model repeat itself, and see whether turning them down helps.
///
/// Scores every attention head by activation patching on a copy task, asks the model to repeat phrases 2 to 512 times, follows
/// entropy and toxicity along the way, does it again with the induction heads (and, as a control, random heads)
/// turned down, and measures what that costs in perplexity. Writes Parquet tables and figures. A killed run
/// continues where it stopped when it is started again.
#[derive(Debug, Clone, Parser, Serialize, Deserialize)]
#[command(name = "repetition-curse", version, max_term_width = 100)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Which model, and how it is loaded
    #[command(flatten)]
    #[serde(flatten)]
    pub model: ModelArgs,
    /// Output folder [default: runs/repetition-curse/NAME-OF-MODEL]
    #[arg(long, value_name = "DIR")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Settings from a TOML file; its keys are these flags' names, and the command line wins
    #[arg(long, value_name = "FILE.toml")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Seed of every random draw
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,

    /// Repetitions to ask for
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_values_t = [2, 4, 8, 16, 32, 64, 128, 256, 512], help_heading = "Counting")]
    pub counts: Vec<u32>,
    /// Repetitions put into the prompt when more than this are asked for
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Counting")]
    pub prefill: u32,
    /// Phrases per token pool
    #[arg(long, value_name = "N", default_value_t = 6, help_heading = "Counting")]
    pub phrases: u32,
    /// Words of the phrases, taken in turn [default: 1,2,3 for the embedded model's language, else 1]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', help_heading = "Counting")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phrase_words: Vec<u32>,
    /// Share of the words, by corpus frequency, in the pools `top` and `last` (at least 5 words)
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, help_heading = "Counting")]
    pub pool_share: f64,
    /// Sampled continuations per prompt, beside the greedy one
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Counting")]
    pub draws: u32,
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
    #[arg(long, value_name = "N", default_value_t = 4096, help_heading = "Counting")]
    pub max_new_tokens: usize,
    /// The instruction, with {phrase} and {n} [default: that of the model's language]
    #[arg(long, value_name = "TEXT", help_heading = "Counting")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,

    /// Trials of the copy task that scores the heads
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Heads")]
    pub trials: u32,
    /// M of the copy task: its filler tokens are x0..xM
    #[arg(long, value_name = "M", default_value_t = 40, help_heading = "Heads")]
    pub copy_length: usize,
    /// Share of the heads that are called induction heads, by their patching effect
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, help_heading = "Heads")]
    pub induction_share: f64,
    /// At least so many induction heads
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Heads")]
    pub min_induction_heads: usize,
    /// Sequences of the prefix-matching probe
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Heads")]
    pub probes: u32,
    /// Random tokens in the probe's block
    #[arg(long, value_name = "N", default_value_t = 50, help_heading = "Heads")]
    pub probe_block: usize,
    /// Copies of the block in the probe
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Heads")]
    pub probe_copies: usize,

    /// Ways to turn the heads down: log, linear, constant
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_values_t = ["log".to_owned(), "linear".into(), "constant".into()], help_heading = "Interventions")]
    pub interventions: Vec<String>,
    /// c of the log descaling min(1, 1/ln(t + c))
    #[arg(long, value_name = "C", default_value_t = 2.0, help_heading = "Interventions")]
    pub log_c: f64,
    /// Factor of the constant descaling
    #[arg(long, value_name = "FACTOR", default_value_t = 0.5, help_heading = "Interventions")]
    pub constant_factor: f64,
    /// Random head sets, as large as the induction heads, that get the same interventions
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Interventions")]
    pub random_sets: u32,

    /// Repetitions asked for where entropy and toxicity are followed
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Entropy and toxicity")]
    pub trace_count: u32,
    /// Followed phrases per pool, and four times as many ordinary texts
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Entropy and toxicity")]
    pub traces: u32,
    /// Steps to follow
    #[arg(long, value_name = "N", default_value_t = 512, help_heading = "Entropy and toxicity")]
    pub trace_steps: usize,
    /// Steps per doubling of t at which toxicity and the logit lens are measured
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Entropy and toxicity")]
    pub toxicity_density: u32,

    /// Ordinary texts, one a line [default: held-out text of the embedded model's language, or a few pages of plain
    /// English that come with the program]
    #[arg(long, value_name = "FILE", help_heading = "Perplexity")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<PathBuf>,
    /// At most so many texts
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Perplexity")]
    pub max_texts: usize,
    /// At most so many tokens of each
    #[arg(long, value_name = "N", default_value_t = 128, help_heading = "Perplexity")]
    pub text_tokens: usize,

    /// Resamples of every bootstrap interval
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Running")]
    pub resamples: usize,
    /// Sequences that run at once in a part of the work (four times as many while heads are scored)
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Running")]
    pub batch: usize,
    /// Parts of the work that run side by side, each on one core [default: the machine's cores]
    #[arg(long, value_name = "N", help_heading = "Running")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u16>,
    /// Draw no figures
    #[arg(long, help_heading = "Running")]
    #[serde(default)]
    pub no_figures: bool,
    /// Say nothing but errors, and print no summary
    #[arg(long, help_heading = "Running")]
    #[serde(default)]
    pub quiet: bool,
}

/// No setting needs a larger number, and products of two of these still fit memory addresses.
const MOST: usize = 1_000_000;

impl Settings {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// Naming the flag.
    pub fn check(&self) -> Result<()> {
        let positive = [
            ("counts", self.counts.iter().copied().min().unwrap_or(0) as usize),
            ("phrases", self.phrases as usize),
            ("trials", self.trials as usize),
            ("probes", self.probes as usize),
            ("probe-block", self.probe_block),
            ("min-induction-heads", self.min_induction_heads),
            ("traces", self.traces as usize),
            ("trace-count", self.trace_count as usize),
            ("trace-steps", self.trace_steps),
            ("toxicity-density", self.toxicity_density as usize),
            ("max-new-tokens", self.max_new_tokens),
            ("max-texts", self.max_texts),
            ("resamples", self.resamples),
            ("batch", self.batch),
            ("threads", self.threads.unwrap_or(1) as usize),
            ("phrase-words", self.phrase_words.iter().copied().min().unwrap_or(1) as usize),
        ];
        if let Some((flag, _)) = positive.iter().find(|(_, value)| *value == 0) {
            bail!("--{flag} must be at least 1");
        }
        if let Some((flag, value)) = positive.iter().find(|(_, value)| *value > MOST) {
            bail!("--{flag} {value} is more than {MOST}");
        }
        let bounded = [
            ("counts", self.counts.iter().copied().max().unwrap_or(0) as usize),
            ("prefill", self.prefill as usize),
            ("draws", self.draws as usize),
            ("copy-length", self.copy_length),
            ("probe-copies", self.probe_copies),
            ("random-sets", self.random_sets as usize),
            ("text-tokens", self.text_tokens),
        ];
        if let Some((flag, value)) = bounded.iter().find(|(_, value)| *value > MOST) {
            bail!("--{flag} {value} is more than {MOST}");
        }
        let mut counts = self.counts.clone();
        counts.sort_unstable();
        counts.dedup();
        if counts.len() < self.counts.len() {
            bail!("--counts names a number twice");
        }
        if self.text_tokens < 2 {
            bail!("--text-tokens must be at least 2");
        }
        if self.probe_copies < 2 {
            bail!("--probe-copies must be at least 2");
        }
        for (flag, share) in [("pool-share", self.pool_share), ("induction-share", self.induction_share)] {
            if !(0.0..=1.0).contains(&share) {
                bail!("--{flag} {share} must be between 0 and 1");
            }
        }
        for (flag, value) in [("log-c", self.log_c), ("constant-factor", self.constant_factor)] {
            if !(0.0..=1000.0).contains(&value) {
                bail!("--{flag} {value} must be between 0 and 1000");
            }
        }
        if let Some(template) = &self.template
            && !(template.contains("{phrase}") && template.contains("{n}"))
        {
            bail!("--template must hold {{phrase}} and {{n}}");
        }
        let mut names = self.interventions.clone();
        names.sort_unstable();
        names.dedup();
        if names.len() < self.interventions.len() {
            bail!("--interventions names one of them twice");
        }
        self.schedules()?;
        self.sampling().validated()?;
        Ok(())
    }

    /// What the results depend on: all but where they go and how the run is watched.
    ///
    /// # Errors
    /// If a number is too large for TOML.
    pub fn recorded(&self) -> Result<toml::Table> {
        let mut table = toml::Table::try_from(self)?;
        // Model and texts are recorded by their contents, wherever they are.
        for key in ["texts", "out", "threads", "no-figures", "quiet"].iter().chain(&UNRECORDED) {
            table.remove(*key);
        }
        Ok(table)
    }

    /// The interventions by name.
    ///
    /// # Errors
    /// For a name that does not exist.
    pub fn schedules(&self) -> Result<Vec<(String, Schedule)>> {
        let schedule = |name: &String| match name.as_str() {
            "log" => Ok((name.clone(), Schedule::Log { c: self.log_c })),
            "linear" => Ok((name.clone(), Schedule::Linear)),
            "constant" => Ok((name.clone(), Schedule::Constant { factor: self.constant_factor })),
            _ => bail!("--interventions: `{name}` does not exist; there are log, linear and constant"),
        };
        self.interventions.iter().map(schedule).collect()
    }

    /// How sampled continuations are drawn.
    pub fn sampling(&self) -> Decoding {
        Decoding { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, ..Decoding::SAMPLE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_configuration_states_the_defaults() {
        let sample: toml::Table =
            toml::from_str(include_str!("../../configs/repetition-curse.toml")).unwrap();
        let shown = toml::Table::try_from(Settings::parse_from(["repetition-curse"])).unwrap();
        assert_eq!(sample, shown);
    }

    #[test]
    fn impossible_settings_name_their_flag() {
        let check = |line: &[&str]| Settings::parse_from([&["x"], line].concat()).check();
        assert!(check(&[]).is_ok());
        for (line, flag) in [
            (["--counts", "0,4"], "--counts"),
            (["--counts", "4,4"], "twice"),
            (["--resamples", "9000000000000000000"], "--resamples"),
            (["--interventions", "lag"], "`lag`"),
            (["--interventions", "log,log"], "twice"),
            (["--temperature", "0"], "temperature"),
            (["--template", "say it"], "--template"),
            (["--pool-share", "2"], "--pool-share"),
            (["--log-c", "nan"], "--log-c"),
        ] {
            let error = check(&line).unwrap_err().to_string();
            assert!(error.contains(flag), "{line:?}: {error}");
        }
    }
}
