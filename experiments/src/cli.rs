//! What the command lines share: settings from flags and from a TOML file with the same names, and the way a
//! program ends.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::progress::say;

/// Exit code for input that cannot be used.
const BAD_INPUT: u8 = 2;

/// Runs a program: its result to stdout, its error to stderr with exit code 2.
pub fn finish(result: Result<String>) -> ExitCode {
    match result {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            // The reader of a pipe may have seen enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                say(&format!("error: cannot write to stdout: {error}"));
                ExitCode::from(BAD_INPUT)
            }
            _ => ExitCode::SUCCESS,
        },
        Err(error) => {
            say(&message(&error));
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// The whole chain of causes in one sentence, then every hint on a line of its own.
fn message(error: &anyhow::Error) -> String {
    let mut causes = Vec::new();
    let mut hints = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let (what, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
        // A wrapper that shows its cause repeats it.
        if !causes.iter().any(|earlier: &String| earlier.contains(what)) {
            causes.push(what.to_owned());
            if !hint.is_empty() {
                hints += &format!("\nhint: {hint}");
            }
        }
    }
    format!("error: {}{hints}", causes.join(": "))
}

/// The settings of this command line. With `--config FILE.toml` the file's values replace the defaults, and what the
/// command line says replaces both. Keys are the flags' names.
///
/// # Errors
/// If the file cannot be read, does not parse, or has a key that is no flag.
pub fn settings<S>() -> Result<S>
where
    S: CommandFactory + FromArgMatches + Serialize + DeserializeOwned,
{
    let matches = S::command().get_matches();
    let given = S::from_arg_matches(&matches)?;
    let Some(path) = matches.get_one::<PathBuf>("config") else { return Ok(given) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    merge(&given, &matches, &text).with_context(|| format!("{} is no configuration", path.display()))
}

fn merge<S>(given: &S, matches: &ArgMatches, text: &str) -> Result<S>
where
    S: CommandFactory + Serialize + DeserializeOwned,
{
    let file: toml::Table = toml::from_str(text)?;
    let mut merged = toml::Table::try_from(given)?;
    let command = S::command();
    for (key, value) in file {
        let flag = command.get_arguments().find(|flag| flag.get_long() == Some(&key));
        let Some(flag) = flag.filter(|flag| flag.get_id() != "config") else {
            let known: Vec<&str> = command
                .get_arguments()
                .filter_map(clap::Arg::get_long)
                .filter(|flag| *flag != "config")
                .collect();
            return Err(anyhow!("unknown key `{key}`\nhint: the keys are {}", known.join(", ")));
        };
        if matches.value_source(flag.get_id().as_str()) != Some(ValueSource::CommandLine) {
            merged.insert(key, value);
        }
    }
    Ok(merged.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde::Deserialize;

    #[derive(Parser, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Sample {
        #[arg(long, default_value_t = 1)]
        some_count: u32,
        #[arg(long, default_value_t = 2)]
        other: u32,
        #[arg(long)]
        #[serde(skip)]
        config: Option<PathBuf>,
    }

    fn merged(line: &[&str], text: &str) -> Result<Sample> {
        let matches = Sample::command().try_get_matches_from(line).unwrap();
        merge(&Sample::from_arg_matches(&matches).unwrap(), &matches, text)
    }

    #[test]
    fn hints_come_last_and_causes_once() {
        let error = anyhow!("no space left").context("cannot write x\nhint: free some").context("counting");
        assert_eq!(message(&error), "error: counting: cannot write x: no space left\nhint: free some");
        let error = anyhow!("inner").context("outer: inner");
        assert_eq!(message(&error), "error: outer: inner");
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let sample = merged(&["x", "--other", "9"], "some-count = 5\nother = 6").unwrap();
        assert_eq!((sample.some_count, sample.other), (5, 9));
    }

    #[test]
    fn an_unknown_key_lists_the_known_ones() {
        let error = merged(&["x"], "somecount = 5").err().unwrap().to_string();
        assert!(error.contains("unknown key `somecount`") && error.contains("some-count, other"), "{error}");
        assert!(merged(&["x"], "other = \"six\"").is_err());
    }
}
