//! The flags of `repetition-curse`: what several experiments measure, and how the heads are chosen.

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::lab::{Count, CountOrNone, Share};
use crate::measure::condition::ConditionArgs;
use crate::measure::counting::CountArgs;
use crate::measure::texts::TextArgs;
use crate::measure::tracing::TraceArgs;
use crate::measure::words::PhraseArgs;

/// The flags.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// What is asked
    #[command(flatten)]
    #[serde(flatten)]
    pub counting: CountArgs,
    /// Of which phrases
    #[command(flatten)]
    #[serde(flatten)]
    pub phrases: PhraseArgs,
    /// How the induction heads are found
    #[command(flatten)]
    #[serde(flatten)]
    pub heads: HeadArgs,
    /// What is done to them
    #[command(flatten)]
    #[serde(flatten)]
    pub conditions: ConditionArgs,
    /// What is followed
    #[command(flatten)]
    #[serde(flatten)]
    pub tracing: TraceArgs,
    /// What it costs
    #[command(flatten)]
    #[serde(flatten)]
    pub texts: TextArgs,
}

/// How the induction heads are found.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeadArgs {
    /// Trials of the copy task that scores the heads
    #[arg(long, value_name = "N", default_value_t = Count::of::<64>(), help_heading = "Heads")]
    pub trials: Count,
    /// M of the copy task: its filler tokens are x0..xM
    #[arg(long, value_name = "M", default_value_t = CountOrNone::of::<40>(), help_heading = "Heads")]
    pub copy_length: CountOrNone,
    /// Share of the heads that are called induction heads, by their patching effect
    #[arg(long, value_name = "SHARE", default_value_t = Share::percent(2), help_heading = "Heads")]
    pub induction_share: Share,
    /// At least so many induction heads
    #[arg(long, value_name = "N", default_value_t = Count::of::<1>(), help_heading = "Heads")]
    pub min_induction_heads: Count,
    /// Sequences of repeated random tokens that the attention patterns are read on
    #[arg(long, value_name = "N", default_value_t = Count::of::<5>(), help_heading = "Heads")]
    pub probes: Count,
    /// Random tokens in the block that such a sequence repeats
    #[arg(long, value_name = "N", default_value_t = Count::of::<50>(), help_heading = "Heads")]
    pub probe_block: Count,
    /// Copies of the block, from 2
    #[arg(long, value_name = "N", default_value_t = Count::of::<4>(), help_heading = "Heads")]
    pub probe_copies: Count,
}

impl Settings {
    /// Refuses what does not go together.
    ///
    /// # Errors
    /// Naming the flag.
    pub fn check(&self) -> Result<()> {
        self.counting.check()?;
        self.conditions.check()?;
        self.texts.check()?;
        anyhow::ensure!(
            self.heads.probe_copies.get() >= 2,
            "--probe-copies must be at least 2: a single copy of a block repeats nothing"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Flags, command};
    use crate::repetition_curse::RepetitionCurse;

    fn flags(line: &[&str]) -> Flags<Settings> {
        let line = [&["x"], line].concat();
        Flags::resolve(&command::<RepetitionCurse>().try_get_matches_from(line).unwrap()).unwrap()
    }

    #[test]
    fn the_sample_configuration_states_the_defaults() {
        let sample: toml::Table =
            toml::from_str(include_str!("../../configs/repetition-curse.toml")).unwrap();
        assert_eq!(sample, toml::Table::try_from(flags(&[])).unwrap());
    }

    #[test]
    fn what_does_not_go_together_names_its_flag() {
        for (line, words) in [
            (&["--counts", "4,4"][..], "--counts"),
            (&["--interventions", "log,log"], "--interventions"),
            (&["--interventions", "none,log"], "`none` stands alone"),
            (&["--temperature", "0"], "temperature"),
            (&["--template", "say it"], "--template"),
            (&["--text-tokens", "1"], "--text-tokens"),
            (&["--probe-copies", "1"], "--probe-copies"),
        ] {
            let error = flags(line).own.check().unwrap_err().to_string();
            assert!(error.contains(words), "{line:?}: {error}");
        }
        assert!(flags(&["--interventions", "none"]).own.check().is_ok());
    }
}
