//! The program's settings: flags and TOML keys of one name.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;
use refrain_patching::{Component, Metric, Task};
use refrain_runner::Head;
use serde::{Deserialize, Serialize};

use super::method::{Cut, Method};
use super::names::named;
use crate::model_args::{ModelArgs, UNRECORDED};

/// Score the heads, layers or neurons of a language model by what they do on pairs of prompts.
///
/// Every method gives the same table: the metric of the changed run beside those of the clean and the corrupted one,
/// by place and prompt, and the mean over prompts with an interval. Writes a Parquet table and heat maps, and prints the
/// strongest places. A killed run continues where it stopped when it is started again.
#[derive(Debug, Clone, Parser, Serialize, Deserialize)]
#[command(name = "score-heads", version, max_term_width = 100)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Which model, and how it is loaded
    #[command(flatten)]
    #[serde(flatten)]
    pub model: ModelArgs,
    /// Output folder [default: runs/score-heads/NAME-OF-MODEL/TASK]
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

    /// copy, induction, repetition, ioi, greater-than, or a file with one pair of prompts a line (docs/guide.md)
    #[arg(long, value_name = "NAME|FILE.jsonl", default_value = "copy", help_heading = "Task")]
    pub task: String,
    /// Pairs of prompts [default: 64; of a file, all]
    #[arg(long, value_name = "N", help_heading = "Task")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<usize>,
    /// Random tokens: M of copy (its fillers are x0..xM), the block of induction, the phrase of repetition [default: 40, 20, 6]
    #[arg(long, value_name = "N", help_heading = "Task")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// Whole copies of the phrase before the one that is cut, in the task repetition [default: 4]
    #[arg(long, value_name = "D", help_heading = "Task")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,

    /// activation-patching, activation-patching-bf16, zero-ablation, mean-ablation, resample-ablation, attribution-patching,
    /// atp-star, eap, eap-ig, path-patching, dla, detectors
    #[arg(long, value_name = "M,M,...", value_delimiter = ',', default_values_t = ["activation-patching".to_owned()], help_heading = "Scores")]
    pub method: Vec<String>,
    /// z, q, k, v, pattern, result, attn_out, mlp_out, resid_pre, resid_mid, resid_post, neuron
    #[arg(long, value_name = "C,C,...", value_delimiter = ',', default_values_t = ["z".to_owned()], help_heading = "Scores")]
    pub component: Vec<String>,
    /// logit, logit_diff, log_prob, prob, rank, kl_to_clean, entropy, entropy_change [default: logit_diff if every pair has a
    /// foil, else logit]
    #[arg(long, value_name = "M,M,...", value_delimiter = ',', help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metric: Vec<String>,
    /// denoise: clean values into the corrupted run; noise: corrupted values into the clean run [default: denoise]
    #[arg(long, value_name = "WAY", help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// One position at a time instead of all at once
    #[arg(long, help_heading = "Scores")]
    #[serde(default)]
    pub by_position: bool,
    /// Single entries of the pattern, by query and key position (with --component pattern --by-position)
    #[arg(long, help_heading = "Scores")]
    #[serde(default)]
    pub by_key_position: bool,
    /// mean-ablation: the mean over positions too, not position by position
    #[arg(long, help_heading = "Scores")]
    #[serde(default)]
    pub pooled: bool,
    /// path-patching: the heads that send, as L0H1
    #[arg(long, value_name = "HEAD,...", value_delimiter = ',', help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sender: Vec<String>,
    /// path-patching: who receives, as L5H3.q (or .k, .v), mlp5 or logits [default: logits]
    #[arg(long, value_name = "RECEIVER,...", value_delimiter = ',', help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receiver: Vec<String>,
    /// eap-ig: steps between the two prompts' embeddings
    #[arg(long, value_name = "N", default_value_t = STEPS, help_heading = "Scores")]
    pub steps: usize,
    /// Confirm the places that approximations rank highest by exact runs: this share of each component's, 0 to 1 (table
    /// approximation)
    #[arg(long, value_name = "FRACTION", help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<f64>,

    /// Resamples of every bootstrap interval
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Running")]
    pub resamples: usize,
    /// Memory that the runs of a sweep may take beside the model's weights, as 512MiB or 4GiB [default: half of what is free]
    #[arg(long, value_name = "SIZE", help_heading = "Running")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Runs side by side, each on one core [default: the machine's cores]
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

/// Of integrated gradients, as published.
const STEPS: usize = 5;

/// No number of anything needs to be larger.
const MOST: usize = 1_000_000;

/// What is asked for, as values instead of names.
#[derive(Debug, Clone)]
pub struct ResolvedSettings {
    /// None: a file.
    pub task: Option<Task>,
    /// The methods, in order.
    pub methods: Vec<Method>,
    /// The components.
    pub components: Vec<Component>,
    /// The metrics; empty: as the pairs allow.
    pub metrics: Vec<Metric>,
    /// Whether corrupted values go into the clean run.
    pub noise: bool,
    /// Path patching's senders.
    pub senders: Vec<Head>,
    /// Bytes.
    pub memory: u64,
}

impl Settings {
    /// Reads and checks the names and numbers.
    ///
    /// # Errors
    /// Naming the flag, and the nearest name for one that does not exist.
    pub fn asked(&self) -> Result<ResolvedSettings> {
        let counts = [
            ("pairs", self.pairs.unwrap_or(1)),
            ("length", self.length.unwrap_or(1)),
            ("depth", self.depth.unwrap_or(1)),
            ("steps", self.steps),
            ("resamples", self.resamples),
            ("threads", self.threads.unwrap_or(1) as usize),
        ];
        for (flag, value) in counts {
            if value == 0 {
                bail!("--{flag} must be at least 1");
            }
            if value > MOST {
                bail!("--{flag} {value} is more than {MOST}");
            }
        }
        if let Some(share) = self.verify.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            bail!("--verify {share} must be more than 0 and at most 1");
        }
        let methods = named("method", &self.method, &Method::ALL.map(|method| (method.name(), method)))?;
        let asked = ResolvedSettings {
            task: self.named_task()?,
            components: named("component", &self.component, &by_name(Component::ALL, Component::name))?,
            metrics: match &self.metric[..] {
                [] => Vec::new(),
                given => named("metric", given, &by_name(Metric::ALL, Metric::name))?,
            },
            noise: match &self.direction {
                None => false,
                Some(way) => {
                    named("direction", std::slice::from_ref(way), &[("denoise", false), ("noise", true)])?[0]
                }
            },
            senders: self.sender.iter().map(|head| head.parse()).collect::<Result<_, _>>()?,
            memory: match &self.memory {
                Some(size) => bytes(size)?,
                None => free_memory() / 2,
            },
            methods,
        };
        self.check(&asked)?;
        Ok(asked)
    }

    /// What does not go together.
    fn check(&self, asked: &ResolvedSettings) -> Result<()> {
        let has = |which: fn(Method) -> bool| asked.methods.iter().any(|method| which(*method));
        if self.direction.is_some() && !has(Method::has_direction) {
            bail!(
                "--direction is for patching; ablations change the clean run, and the others change nothing"
            );
        }
        if has(|method| method == Method::PathPatching) && asked.senders.is_empty() {
            bail!(
                "path-patching needs a sender\nhint: --sender L0H1 names head 1 of layer 0; --receiver says to whom, by default the logits"
            );
        }
        for name in &self.receiver {
            super::edges::receiver(name)?;
        }
        for (flag, given) in [("sender", &self.sender), ("receiver", &self.receiver)] {
            if !given.is_empty() && !has(|method| method == Method::PathPatching) {
                bail!("--{flag} is for --method path-patching");
            }
        }
        let with_places =
            |method: Method| !matches!(method.cut(self, asked), Cut::Whole) && method != Method::Dla;
        if !asked.methods.iter().any(|method| with_places(*method)) {
            let methods = self.method.join(", ");
            if self.by_position {
                bail!("--by-position: {methods} has no scores by position");
            }
            if self.component != ["z"] {
                bail!("--component: what {methods} scores is not chosen by component");
            }
        }
        if !self.metric.is_empty() && asked.methods == [Method::Detectors] {
            bail!("--metric: the detectors have measures of their own");
        }
        if self.steps != STEPS && !has(|method| method == Method::EapIg) {
            bail!("--steps is for --method eap-ig");
        }
        if self.pooled && !has(|method| method == Method::MeanAblation) {
            bail!("--pooled is for --method mean-ablation");
        }
        if self.by_key_position && !(self.by_position && asked.components == [Component::Pattern]) {
            bail!("--by-key-position goes with --by-position and --component pattern alone");
        }
        if self.verify.is_some() && !has(Method::is_approximate) {
            bail!(
                "--verify is for approximations: activation-patching-bf16, attribution-patching, atp-star, eap, eap-ig"
            );
        }
        match asked.task {
            Some(task) if !task.is_of_tokens() && self.length.is_some() => {
                bail!("--length is for tasks of random tokens, and `{task}` is text")
            }
            None if self.length.is_some() => bail!("--length is for tasks of random tokens, not for files"),
            Some(Task::Repetition { .. }) => {}
            _ if self.depth.is_some() => bail!("--depth is for the task repetition"),
            _ => {}
        }
        Ok(())
    }

    /// None for a file.
    fn named_task(&self) -> Result<Option<Task>> {
        if let Some(task) = Task::named(&self.task, self.length, self.depth.unwrap_or(4)) {
            return Ok(Some(task));
        }
        let looks_like_a_file = self.task.contains(['/', '.']) || PathBuf::from(&self.task).exists();
        if looks_like_a_file {
            return Ok(None);
        }
        let tasks = Task::NAMES.map(|name| (name, ()));
        let error = named("task", std::slice::from_ref(&self.task), &tasks).err();
        bail!("{}, or a file FILE.jsonl", error.map(|error| error.to_string()).unwrap_or_default())
    }

    /// What the results depend on: all but where they go, how the run is watched, and what decides how many rows run
    /// together (memory and threads), which the last bits of single precision may depend on and nothing else.
    ///
    /// # Errors
    /// If a number is too large for TOML.
    pub fn recorded(&self, metrics: &[Metric]) -> Result<toml::Table> {
        let mut table = toml::Table::try_from(self)?;
        for key in ["out", "threads", "memory", "no-figures", "quiet"].iter().chain(&UNRECORDED) {
            table.remove(*key);
        }
        if self.named_task()?.is_none() {
            // Recorded by its contents, wherever it is.
            table.insert("task".into(), "a file".into());
        }
        let metrics: Vec<&str> = metrics.iter().map(|metric| metric.name()).collect();
        table.insert("metric".into(), metrics.into());
        Ok(table)
    }
}

/// Bytes that can be had without pushing others out, as Linux says; elsewhere, a small machine's.
fn free_memory() -> u64 {
    let of_linux = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    };
    of_linux().unwrap_or(4 << 30)
}

/// Bytes of a size such as `4GiB`.
fn bytes(written: &str) -> Result<u64> {
    let digits = written.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match written[digits.len()..].trim() {
        "" | "B" => Some(1u64),
        "KiB" | "K" => Some(1 << 10),
        "MiB" | "M" => Some(1 << 20),
        "GiB" | "G" => Some(1 << 30),
        "TiB" | "T" => Some(1 << 40),
        _ => None,
    };
    let size = digits.parse::<f64>().ok().zip(unit).map(|(number, unit)| number * unit as f64);
    match size.filter(|size| (1.0..1e18).contains(size)) {
        Some(size) => Ok(size as u64),
        None => bail!("--memory {written} is no size\nhint: write 512MiB or 4GiB"),
    }
}

/// Each of `all` with its name.
fn by_name<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> Vec<(&'static str, T)> {
    all.iter().map(|one| (name(*one), *one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("4GiB").ok(), Some(4 << 30));
        assert_eq!(bytes("512 MiB").ok(), Some(512 << 20));
        assert_eq!(bytes("0.5G").ok(), Some(1 << 29));
        assert_eq!(bytes("1000").ok(), Some(1000));
        for wrong in ["", "GiB", "4XiB", "-1GiB", "0", "nanGiB", "infB", "1e30"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_that_the_results_depend_on_are_recorded() {
        let settings =
            Settings::parse_from(["x", "--task", "./pairs.jsonl", "--out", "o", "--threads", "2", "--quiet"]);
        let recorded = settings.recorded(&[Metric::Logit]).unwrap();
        assert_eq!(recorded["task"].as_str(), Some("a file"));
        assert_eq!(recorded["metric"], toml::Value::from(vec!["logit"]));
        for key in ["out", "threads", "quiet", "no-figures", "model"] {
            assert!(!recorded.contains_key(key), "{key}");
        }
        assert!(!recorded.contains_key("memory") && recorded.contains_key("seed"));
    }
}
