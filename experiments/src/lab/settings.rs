//! From a command line and a TOML file with the same names to the settings of an experiment.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser};
use refrain_runner::{DeviceChoice, read_text};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::model_args::ModelArgs;
use super::number::{Bytes, Count};
use super::shard::Shard;

/// All flags of an experiment: its own, and those that every experiment has.
#[derive(Debug, Clone, Parser, Serialize, Deserialize)]
#[command(version = crate::VERSION, max_term_width = 100)]
pub struct Flags<S: Args> {
    /// The experiment's own
    #[command(flatten)]
    #[serde(flatten)]
    pub own: S,
    /// Every experiment's
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
}

/// The flags that every experiment has.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Common {
    /// Which model, and how it is loaded
    #[command(flatten)]
    #[serde(flatten)]
    pub model: ModelArgs,
    /// Interventions that hold in every run: a JSON list of them, or an object with `interventions` and
    /// `references` (docs/guide.md)
    #[arg(long, value_name = "FILE.json", help_heading = "Model")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervene: Option<PathBuf>,

    /// Folder of the run [default: runs/EXPERIMENT/MODEL-HASH-OF-THE-SETTINGS]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Settings from a TOML file; its keys are the names of the flags, and the command line wins
    #[arg(long, value_name = "FILE.toml", help_heading = "Run")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Seed of every random draw
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64),
        help_heading = "Run")]
    pub seed: u64,
    /// Resamples of a bootstrap interval
    #[arg(long, value_name = "N", default_value_t = Count::of::<1000>(), help_heading = "Run")]
    pub resamples: Count,
    /// CPU cores to use; affects at most the last bits of results [default: the machine's]
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<Count>,
    /// Memory that runs may take beside the model's weights, as 512MiB or 4GiB [default: half of what is free]
    #[arg(long, value_name = "SIZE", help_heading = "Run")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Keep the finished parts of a run that another build of this program started; the tables name both builds
    #[arg(long, help_heading = "Run")]
    #[serde(default)]
    pub accept_version: bool,
    /// Do only this stage of the run, for job arrays; the stages before it must be finished
    #[arg(long, value_name = "STAGE", help_heading = "Run")]
    #[serde(skip)]
    pub stage: Option<String>,
    /// Do only the parts I, I + N, I + 2 N, ... of the stage (I from 0); `refrain runs merge` makes the tables of
    /// them
    #[arg(long, value_name = "I/N", requires = "stage", help_heading = "Run")]
    #[serde(skip)]
    pub shard: Option<Shard>,
    /// Draw no figures
    #[arg(long, help_heading = "Run")]
    #[serde(default)]
    pub no_figures: bool,
    /// Print everything that was found, not only what is strongest
    #[arg(long, help_heading = "Run")]
    #[serde(default)]
    pub verbose: bool,
    /// Print nothing but errors
    #[arg(long, help_heading = "Run")]
    #[serde(default)]
    pub quiet: bool,
}

/// Flags that results do not depend on. The model, its tokenizer, the texts and the interventions are recorded by
/// their contents, the device as it was in the end, all in the provenance.
const UNRECORDED: [&str; 12] = [
    "model",
    "tokenizer",
    "offline",
    "device",
    "intervene",
    "out",
    "threads",
    "memory",
    "accept-version",
    "no-figures",
    "verbose",
    "quiet",
];

impl<S> Flags<S>
where
    S: Args + Serialize + DeserializeOwned,
{
    /// The settings of a command line that was parsed. With `--config FILE.toml` the file's values replace the
    /// defaults, and what the command line says replaces both.
    ///
    /// # Errors
    /// If the file cannot be read, does not parse, or has a key that is not a flag.
    pub fn resolve(matches: &ArgMatches) -> Result<Self> {
        let given = Self::from_arg_matches(matches)?;
        let Some(path) = &given.common.config else { return Ok(given) };
        let text = read_text(path)?;
        let mut merged = merge(&given, matches, &text)
            .with_context(|| format!("{} is not a configuration", path.display()))?;
        // What no file says: these are of this call and not of the run.
        (merged.common.stage, merged.common.shard) = (given.common.stage, given.common.shard);
        Ok(merged)
    }

    /// What the results depend on, as the manifest records it. `by_contents` are the experiment's own keys that the
    /// provenance records instead.
    ///
    /// # Errors
    /// If a number is too large for TOML.
    pub fn recorded(&self, by_contents: &[&str]) -> Result<toml::Table> {
        let mut table = toml::Table::try_from(self)?;
        for key in UNRECORDED.iter().chain(by_contents) {
            table.remove(*key);
        }
        Ok(table)
    }
}

impl Default for Common {
    /// The flags of a call that gives none.
    fn default() -> Self {
        Common {
            model: ModelArgs {
                model: None,
                tokenizer: None,
                revision: None,
                offline: false,
                dtype: None,
                device: DeviceChoice::default(),
                allow_config_key: Vec::new(),
            },
            intervene: None,
            out: None,
            config: None,
            seed: 0,
            resamples: Count::of::<1000>(),
            threads: None,
            memory: None,
            accept_version: false,
            stage: None,
            shard: None,
            no_figures: false,
            verbose: false,
            quiet: false,
        }
    }
}

impl Common {
    /// The cores to use.
    pub fn cores(&self) -> usize {
        self.threads.map_or_else(|| tch::get_num_threads().max(1) as usize, Count::get)
    }

    /// The bytes that runs may take beside the weights.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.map_or_else(|| free_memory() / 2, Bytes::get)
    }

    /// The share of them that a part may take whose stage runs its parts side by side, one on each core.
    pub fn memory_per_part(&self) -> u64 {
        self.memory_bytes() / self.cores().max(1) as u64
    }
}

/// Bytes that can be had without pushing others out.
fn free_memory() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    system.available_memory()
}

fn merge<S>(given: &Flags<S>, matches: &ArgMatches, text: &str) -> Result<Flags<S>>
where
    S: Args + Serialize + DeserializeOwned,
{
    let file: toml::Table = toml::from_str(text)?;
    let defaults = toml::Table::try_from(given)?;
    let command = Flags::<S>::command();
    let mut merged = defaults.clone();
    for (key, value) in file {
        check_key(&command, &key)?;
        // A flattened structure forgets which key was wrong: each is tried on its own.
        let mut alone = defaults.clone();
        alone.insert(key.clone(), value.clone());
        alone.try_into::<Flags<S>>().with_context(|| format!("`{key}`"))?;
        let flag = command.get_arguments().find(|flag| flag.get_long() == Some(&key));
        let on_command_line = flag.is_some_and(|flag| {
            matches.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine)
        });
        if !on_command_line {
            merged.insert(key, value);
        }
    }
    Ok(merged.try_into()?)
}

/// Flags that a file cannot set.
const NOT_IN_FILES: [&str; 3] = ["config", "stage", "shard"];

fn check_key(command: &Command, key: &str) -> Result<()> {
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|flag| !NOT_IN_FILES.contains(flag))
        .collect();
    if known.contains(&key) {
        return Ok(());
    }
    Err(anyhow!("unknown key `{key}`\nhint: the keys are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Args, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Sample {
        #[arg(long, default_value_t = Count::of::<1>())]
        some_count: Count,
        #[arg(long, default_value_t = 2)]
        other: u32,
    }

    fn merged(line: &[&str], text: &str) -> Result<Sample> {
        let matches = Flags::<Sample>::command().try_get_matches_from(line).unwrap();
        Ok(merge(&Flags::<Sample>::from_arg_matches(&matches).unwrap(), &matches, text)?.own)
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let sample = merged(&["x", "--other", "9"], "some-count = 5\nother = 6").unwrap();
        assert_eq!((sample.some_count.get(), sample.other), (5, 9));
    }

    #[test]
    fn what_a_file_says_wrongly_is_named() {
        let error = merged(&["x"], "somecount = 5").err().unwrap().to_string();
        assert!(error.contains("unknown key `somecount`") && error.contains("some-count, other"), "{error}");
        let error = format!("{:#}", merged(&["x"], "other = \"six\"").unwrap_err());
        assert!(error.starts_with("`other`: "), "{error}");
        let error = format!("{:#}", merged(&["x"], "some-count = 0").unwrap_err());
        assert!(error.contains("`some-count`") && error.contains("between 1 and"), "{error}");
        assert!(merged(&["x"], "stage = \"heads\"").is_err());
    }

    #[test]
    fn parts_that_run_side_by_side_share_the_memory() {
        let line = ["x", "--memory", "4GiB", "--threads", "4"];
        let flags = Flags::<Sample>::resolve(&Flags::<Sample>::command().get_matches_from(line)).unwrap();
        assert_eq!((flags.common.memory_bytes(), flags.common.memory_per_part()), (4 << 30, 1 << 30));
    }

    #[test]
    fn only_what_results_depend_on_is_recorded() {
        let line = ["x", "--out", "o", "--threads", "2", "--quiet", "--memory", "1GiB", "--other", "5"];
        let flags = Flags::<Sample>::resolve(&Flags::<Sample>::command().get_matches_from(line)).unwrap();
        let recorded = flags.recorded(&["other"]).unwrap();
        let keys: std::collections::BTreeSet<&str> = recorded.keys().map(String::as_str).collect();
        assert_eq!(keys, ["resamples", "seed", "some-count"].into());
    }
}
