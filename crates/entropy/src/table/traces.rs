//! `entropy_trace`, `trace_summary` and `trace_windows`.

use serde::{Deserialize, Serialize};

use super::labels::{Pool, TraceKind, TraceQuantity};
use crate::schema::Table;

/// One quantity at one step of a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceRow {
    /// What is followed.
    pub prompt_kind: TraceKind,
    /// What it was made under.
    pub condition: String,
    /// Repetitions asked for; null for ordinary text.
    pub n: Option<u32>,
    /// The pool of the phrase; null for ordinary text.
    pub pool: Option<Pool>,
    /// The phrase's number in its pool, or the text's.
    pub item: u32,
    /// The step t: at 0 the distribution is that after the prompt.
    pub step: u32,
    /// The token chosen at this step.
    pub token: String,
    /// What is measured.
    pub quantity: TraceQuantity,
    /// Of the logit lens.
    pub layer: Option<u32>,
    /// Its value.
    pub value: Option<f64>,
    /// Why there is none.
    pub reason: Option<String>,
}

/// The table `entropy_trace`.
pub struct EntropyTrace;

impl Table for EntropyTrace {
    type Row = TraceRow;
    const NAME: &'static str = "entropy_trace";
}

/// The mean of a quantity over the items that have it at a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceSummaryRow {
    /// What is followed.
    pub prompt_kind: TraceKind,
    /// What it was made under.
    pub condition: String,
    /// What is measured.
    pub quantity: TraceQuantity,
    /// Of the logit lens.
    pub layer: Option<u32>,
    /// The step.
    pub step: u32,
    /// The mean.
    pub value: Option<f64>,
    /// Lower end of the 95 % interval over items.
    pub ci_low: Option<f64>,
    /// Its upper end.
    pub ci_high: Option<f64>,
    /// Items that have a value at this step.
    pub n_items: u32,
    /// Items whose generation reaches this step, with a value or not.
    pub n_alive: u32,
    /// Items that were begun.
    pub n_begun: u32,
    /// Why there is no value or no interval.
    pub reason: Option<String>,
}

/// The table `trace_summary`.
pub struct TraceSummary;

impl Table for TraceSummary {
    type Row = TraceSummaryRow;
    const NAME: &'static str = "trace_summary";
}

/// The mean over items of a quantity's mean over a range of steps: each item counts once, however long it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceWindowRow {
    /// What is followed.
    pub prompt_kind: TraceKind,
    /// What it was made under.
    pub condition: String,
    /// What is measured.
    pub quantity: TraceQuantity,
    /// The first step.
    pub first_step: u32,
    /// The last step; null: to the end.
    pub last_step: Option<u32>,
    /// The mean; of `toxicity_correlation` Pearson's correlation over items.
    pub value: Option<f64>,
    /// Lower end of the 95 % interval over items.
    pub ci_low: Option<f64>,
    /// Its upper end.
    pub ci_high: Option<f64>,
    /// Items that have a value at one of these steps.
    pub n_items: u32,
    /// Why there is no value or no interval.
    pub reason: Option<String>,
}

/// The table `trace_windows`.
pub struct TraceWindows;

impl Table for TraceWindows {
    type Row = TraceWindowRow;
    const NAME: &'static str = "trace_windows";
}
