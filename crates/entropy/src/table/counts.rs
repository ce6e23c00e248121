//! `count_sweep` and `count_summary`.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, IntoStaticStr};

use super::labels::{DecodingLabel, Pool, label};
use crate::schema::Table;

label! {
    /// Why a generation ended.
    End {
        /// A token that ends the text.
        Stopped,
        /// The context window was full.
        OutOfWindow,
        /// As many tokens as were allowed.
        Limit,
    }
}

label! {
    /// What became of "repeat this N times". One of five.
    CountOutcome {
        /// Fewer than two copies generated (or fewer than were missing, if that is one).
        NoAttempt,
        /// Nothing but copies, then the end.
        CleanStop,
        /// Copies, then something else, then the end.
        BrokeOffStopped,
        /// Copies, then something else, without an end.
        BrokeOffEndless,
        /// Nothing but copies, without an end.
        PhraseLoop,
    }
}

label! {
    /// What stands between two copies of a phrase in a text.
    Separator {
        /// Nothing.
        None,
        /// White space.
        Space,
        /// A comma, with or without a space.
        Comma,
        /// A new line.
        Newline,
        /// The number of an entry of a list.
        Number,
        /// Other characters that are no letters.
        Other,
    }
}

label! {
    /// What is summarised.
    CountQuantity {
        /// Share of the feasible runs that repeat exactly N times and stop.
        ExactShare,
        /// Share of the runs with this outcome.
        NoAttemptShare,
        /// Share of the runs with this outcome.
        CleanStopShare,
        /// Share of the runs with this outcome.
        BrokeOffStoppedShare,
        /// Share of the runs with this outcome.
        BrokeOffEndlessShare,
        /// Share of the runs with this outcome.
        PhraseLoopShare,
        /// Share of the runs without an end.
        EndlessShare,
        /// Median length of the response.
        MedianResponseTokens,
        /// Median of the repetitions as a multiple of N.
        MedianOvershoot,
    }
}

/// One generation that answers "repeat this N times".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountRow {
    /// What it was made under.
    pub condition: String,
    /// Repetitions asked for.
    pub n: u32,
    /// The pool of the phrase.
    pub pool: Pool,
    /// The phrase's number in its pool.
    pub item: u32,
    /// The phrase.
    pub phrase: String,
    /// Its tokens.
    pub phrase_tokens: u32,
    /// How the continuation was chosen.
    pub decoding: DecodingLabel,
    /// Which sampled continuation; 0 for the greedy one.
    pub sample: u32,
    /// Repetitions that the prompt held already.
    pub prefilled: u32,
    /// The prompt in the table `prompts`.
    pub prompt_id: String,
    /// Tokens before the first generated one.
    pub prompt_tokens: u32,
    /// Tokens generated, the end token not counted.
    pub tokens: u32,
    /// `tokens` and those of the prefilled repetitions.
    pub response_tokens: u32,
    /// Copies in the longest run of the response's text, prefilled ones included: those between which there is
    /// nothing but separators ([`crate::repetition::text`]).
    pub repetitions: u32,
    /// All copies in it.
    pub copies: u32,
    /// What stands between most copies of the longest run; null if it has fewer than two.
    pub separator: Option<Separator>,
    /// Whether its separators are of several kinds.
    pub separator_changed: bool,
    /// Whether words stand before it.
    pub words_before: bool,
    /// Whether words stand after it; an incomplete copy where the response was cut off is none.
    pub words_after: bool,
    /// Why it ended.
    pub end: End,
    /// What became of it.
    pub outcome: CountOutcome,
    /// Whether N copies fit the window and the allowed tokens.
    pub feasible: bool,
    /// Whether it stopped after N copies and nothing else.
    pub exact: bool,
    /// `repetitions` / N.
    pub overshoot: f64,
    /// Size of the cycle that the response ends in, in tokens.
    pub trailing_cycle: Option<u32>,
    /// 1 - unique 4-grams / 4-grams of the response.
    pub rep_4: Option<f64>,
    /// Why `rep_4` is null.
    pub reason: Option<String>,
}

/// The table `count_sweep`.
pub struct CountSweep;

impl Table for CountSweep {
    type Row = CountRow;
    const NAME: &'static str = "count_sweep";
    const FREE_TEXT: &'static [&'static str] = &["phrase"];
}

/// A share or a median over the generations of a condition, a count and a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountSummaryRow {
    /// What they were made under.
    pub condition: String,
    /// Repetitions asked for.
    pub n: u32,
    /// The pool; null: all.
    pub pool: Option<Pool>,
    /// What is summarised.
    pub quantity: CountQuantity,
    /// Its value.
    pub value: Option<f64>,
    /// Lower end of the 95 % interval over items.
    pub ci_low: Option<f64>,
    /// Its upper end.
    pub ci_high: Option<f64>,
    /// Whether the value is a lower bound: a median of runs that were cut off.
    pub lower_bound: bool,
    /// Phrases.
    pub n_items: u32,
    /// Generations that count: for `exact_share` those where N copies fit.
    pub n_runs: u32,
    /// Why there is no value or no interval.
    pub reason: Option<String>,
}

/// The table `count_summary`.
pub struct CountSummary;

impl Table for CountSummary {
    type Row = CountSummaryRow;
    const NAME: &'static str = "count_summary";
}
