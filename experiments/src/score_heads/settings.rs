//! The flags of `score-heads`.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command};
use refrain_patching::{Component, Corruption, Direction, Method, Metric, Task, TaskKind};
use refrain_runner::Head;
use serde::{Deserialize, Serialize};

use crate::lab::{Count, Share, choice, documented};
use crate::measure::scoring::{Receiver, is_verifiable};

/// The flags.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// What the pairs of prompts are: one of these, or a file FILE.jsonl with a pair a line (docs/guide.md)
    #[arg(long, value_name = "NAME|FILE.jsonl", value_parser = TaskOrFile, default_value = TaskKind::Copy.name(),
        help_heading = "Task")]
    pub task: String,
    /// Number of prompt pairs [default: 64; all pairs of a file]
    #[arg(long, value_name = "N", help_heading = "Task")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<Count>,
    /// Number of random tokens: M in copy (fillers x0..xM), block length in induction, phrase length in repetition
    /// [default: 40, 20, 6]
    #[arg(long, value_name = "N", help_heading = "Task")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Count>,
    /// Complete copies of the phrase before the final, partial one (task repetition) [default: 4]
    #[arg(long, value_name = "D", help_heading = "Task")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<Count>,

    /// Which tokens to replace in the corrupted prompts of copy, induction and repetition [default: value]
    #[arg(long, value_name = "WHAT", value_parser = choice(documented::<Corruption>), help_heading = "Task")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corruption: Option<Corruption>,

    /// How to score
    #[arg(long, value_name = "METHOD,...", value_delimiter = ',',
        value_parser = choice(|method: Method| method.info().doc), default_values_t = [Method::ActivationPatching],
        help_heading = "Scores")]
    pub method: Vec<Method>,
    /// What to patch or ablate
    #[arg(long, value_name = "COMPONENT,...", value_delimiter = ',', value_parser = choice(documented::<Component>),
        default_values_t = [Component::Z], help_heading = "Scores")]
    pub component: Vec<Component>,
    /// What to measure after the last token [default: logit_diff if every pair has an incorrect answer, else logit]
    #[arg(long, value_name = "METRIC,...", value_delimiter = ',', value_parser = choice(documented::<Metric>),
        help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metric: Vec<Metric>,
    /// Direction of patching [default: denoise]
    #[arg(long, value_name = "WAY", value_parser = choice(documented::<Direction>), help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Patch one position at a time; if prompts differ in length, count positions from the end
    #[arg(long, help_heading = "Scores")]
    #[serde(default)]
    pub by_position: bool,
    /// Single entries of the pattern, by query and key position (with --component pattern --by-position)
    #[arg(long, help_heading = "Scores")]
    #[serde(default)]
    pub by_key_position: bool,
    /// mean-ablation: average over positions, too, not position by position
    #[arg(long, help_heading = "Scores")]
    #[serde(default)]
    pub pooled: bool,
    /// path-patching, path-attribution: sender heads, e.g. L0H1
    #[arg(long, value_name = "HEAD,...", value_delimiter = ',', help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sender: Vec<HeadName>,
    /// path-patching, path-attribution: receivers, e.g. L5H3.q (or .k, .v), mlp5 or logits [default: logits]
    #[arg(long, value_name = "RECEIVER,...", value_delimiter = ',', help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receiver: Vec<Receiver>,
    /// integrated-gradients, eap-ig: steps between the two prompts' embeddings [default: 5]
    #[arg(long, value_name = "N", help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Count>,
    /// circuit: number of heads in the largest circuit [default: 8]
    #[arg(long, value_name = "N", help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_heads: Option<Count>,
    /// Check the top-ranked sites of each estimate with exact runs: this share of each component's sites, at least 10
    /// (table approximation)
    #[arg(long, value_name = "SHARE", help_heading = "Scores")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Share>,
}

/// Any text; help lists the tasks, each with what it is.
#[derive(Debug, Clone, Copy)]
struct TaskOrFile;

impl TypedValueParser for TaskOrFile {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |kind: &TaskKind| PossibleValue::new(kind.name()).help(kind.info().doc);
        Some(Box::new(TaskKind::ALL.iter().map(value)))
    }
}

/// A head as the command line and files write it: `L0H1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadName(pub Head);

impl std::str::FromStr for HeadName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        name.parse().map(HeadName).map_err(|error: refrain_runner::Error| error.to_string())
    }
}

impl Serialize for HeadName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HeadName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Settings {
    /// Refuses what does not go together.
    ///
    /// # Errors
    /// Naming the flag.
    pub fn check(&self) -> Result<()> {
        let has = |which: &dyn Fn(Method) -> bool| self.method.iter().any(|method| which(*method));
        for (flag, names) in [
            ("method", once(&self.method)),
            ("component", once(&self.component)),
            ("metric", once(&self.metric)),
        ] {
            ensure!(names, "--{flag} names one of them twice");
        }
        ensure!(
            self.direction.is_none() || has(&|method| method.info().has_direction),
            "--direction is for patching; ablations change the clean run, and the others change nothing"
        );
        let of_paths = |method| matches!(method, Method::PathPatching | Method::PathAttribution);
        ensure!(
            !has(&of_paths) || !self.sender.is_empty(),
            "path-patching needs a sender\nhint: --sender L0H1 names head 1 of layer 0; --receiver names the receiver \
                (default: logits)"
        );
        for (flag, given) in [("sender", !self.sender.is_empty()), ("receiver", !self.receiver.is_empty())] {
            ensure!(!given || has(&of_paths), "--{flag} is for --method path-patching and path-attribution");
        }
        if !has(&|method| method.info().by_components) {
            let methods: Vec<&str> = self.method.iter().map(|method| method.name()).collect();
            let methods = methods.join(", ");
            ensure!(!self.by_position, "--by-position: {methods} has no scores by position");
            ensure!(
                self.component == [Component::Z],
                "--component: what {methods} scores is not chosen by component"
            );
        }
        ensure!(
            self.metric.is_empty() || self.method != [Method::Detectors],
            "--metric: the detectors have measures of their own"
        );
        let gradients = |method| matches!(method, Method::EapIg | Method::IntegratedGradients);
        ensure!(
            self.steps.is_none() || has(&gradients),
            "--steps is for --method integrated-gradients and eap-ig"
        );
        ensure!(
            !self.pooled || has(&|method| method == Method::MeanAblation),
            "--pooled is for --method mean-ablation"
        );
        ensure!(
            self.circuit_heads.is_none() || has(&|method| method == Method::Circuit),
            "--circuit-heads is for --method circuit"
        );
        ensure!(
            !self.by_key_position || (self.by_position && self.component == [Component::Pattern]),
            "--by-key-position goes with --by-position and --component pattern alone"
        );
        if self.verify.is_some() {
            let names: Vec<&str> = Method::ALL
                .iter()
                .filter(|method| is_verifiable(**method))
                .map(|method| method.name())
                .collect();
            ensure!(has(&is_verifiable), "--verify is for estimates: {}", names.join(", "));
            ensure!(self.verify.is_some_and(|share| share.get() > 0.0), "--verify must be more than 0");
        }
        ensure!(
            self.corruption.is_none() || self.named_task()?.is_some_and(Task::is_of_tokens),
            "--corruption is for the tasks of random tokens: {}",
            TaskKind::of_tokens()
        );
        match self.named_task()? {
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

    /// The task; none for a file.
    ///
    /// # Errors
    /// For a name that is neither a task's nor a file's, with the nearest.
    pub fn named_task(&self) -> Result<Option<Task>> {
        if let Some(task) =
            Task::named(&self.task, self.length.map(Count::get), self.depth.map_or(4, Count::get))
        {
            return Ok(Some(task));
        }
        if self.task.contains(['/', '.']) || PathBuf::from(&self.task).exists() {
            return Ok(None);
        }
        let near = TaskKind::NAMES.iter().max_by(|a, b| {
            let like = |name: &str| strsim::jaro_winkler(&self.task, name);
            like(a).total_cmp(&like(b))
        });
        bail!(
            "--task: there is no `{}`; is `{}` meant?\nhint: choose one of {}, or a file FILE.jsonl",
            self.task,
            near.unwrap_or(&"copy"),
            TaskKind::NAMES.join(", ")
        )
    }
}

/// Whether each is there once.
fn once<T: PartialEq>(values: &[T]) -> bool {
    (1..values.len()).all(|i| !values[..i].contains(&values[i]))
}
