//! The tables `count_sweep`, `entropy_trace` and `perplexity`. docs/tables.md explains the columns.

use arrow::datatypes::FieldRef;
use serde::{Deserialize, Serialize};

use crate::schema::{Table, count, count_or_null, flag, label, label_or_null, number, number_or_null, text};

/// One generation that answers "repeat X N times".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the columns are documented in docs/tables.md
pub struct CountRow {
    pub intervention: String,
    pub head_set: String,
    pub n: u32,
    pub pool: String,
    pub prompt: u32,
    pub phrase: String,
    pub phrase_tokens: u32,
    pub decoding: String,
    pub draw: u32,
    pub prefilled: u32,
    pub prompt_tokens: u32,
    pub tokens: u32,
    pub response_tokens: u32,
    pub repetitions: u32,
    pub outcome: String,
    pub exact: bool,
    pub overshoot: f64,
    pub trailing_cycle: Option<u32>,
    pub rep_4: Option<f64>,
    pub reason: Option<String>,
}

/// The table `count_sweep`.
pub struct CountSweep;

impl Table for CountSweep {
    type Row = CountRow;
    const NAME: &'static str = "count_sweep";

    fn fields() -> Vec<FieldRef> {
        vec![
            label("intervention"),
            label("head_set"),
            count("n"),
            label("pool"),
            count("prompt"),
            text("phrase"),
            count("phrase_tokens"),
            label("decoding"),
            count("draw"),
            count("prefilled"),
            count("prompt_tokens"),
            count("tokens"),
            count("response_tokens"),
            count("repetitions"),
            label("outcome"),
            flag("exact"),
            number("overshoot"),
            count_or_null("trailing_cycle"),
            number_or_null("rep_4"),
            label_or_null("reason"),
        ]
    }
}

/// One quantity at one step of a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the columns are documented in docs/tables.md
pub struct TraceRow {
    pub condition: String,
    pub intervention: String,
    pub head_set: String,
    pub n: Option<u32>,
    pub pool: Option<String>,
    pub prompt: u32,
    pub step: u32,
    pub token: String,
    pub quantity: String,
    pub layer: Option<u32>,
    pub value: Option<f64>,
    pub reason: Option<String>,
}

/// The table `entropy_trace`.
pub struct EntropyTrace;

impl Table for EntropyTrace {
    type Row = TraceRow;
    const NAME: &'static str = "entropy_trace";

    fn fields() -> Vec<FieldRef> {
        vec![
            label("condition"),
            label("intervention"),
            label("head_set"),
            count_or_null("n"),
            label_or_null("pool"),
            count("prompt"),
            count("step"),
            label("token"),
            label("quantity"),
            count_or_null("layer"),
            number_or_null("value"),
            label_or_null("reason"),
        ]
    }
}

/// The likelihood of one held-out text, or of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the columns are documented in docs/tables.md
pub struct PerplexityRow {
    pub intervention: String,
    pub head_set: String,
    pub text: Option<u32>,
    pub tokens: u32,
    pub nll_nats: f64,
    pub perplexity: f64,
    pub ci_low: Option<f64>,
    pub ci_high: Option<f64>,
}

/// The table `perplexity`.
pub struct Perplexity;

impl Table for Perplexity {
    type Row = PerplexityRow;
    const NAME: &'static str = "perplexity";

    fn fields() -> Vec<FieldRef> {
        vec![
            label("intervention"),
            label("head_set"),
            count_or_null("text"),
            count("tokens"),
            number("nll_nats"),
            number("perplexity"),
            number_or_null("ci_low"),
            number_or_null("ci_high"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::pretty::pretty_format_batches;

    #[test]
    fn rows_come_back_from_their_table() {
        let row = PerplexityRow {
            intervention: "log".into(),
            head_set: "induction".into(),
            text: None,
            tokens: 7,
            nll_nats: 1.5,
            perplexity: 4.5,
            ci_low: Some(4.0),
            ci_high: None,
        };
        let batch = Perplexity::batch(std::slice::from_ref(&row)).unwrap();
        let shown = pretty_format_batches(std::slice::from_ref(&batch)).unwrap().to_string();
        assert_eq!(
            shown,
            "\
+--------------+-----------+------+--------+----------+------------+--------+---------+
| intervention | head_set  | text | tokens | nll_nats | perplexity | ci_low | ci_high |
+--------------+-----------+------+--------+----------+------------+--------+---------+
| log          | induction |      | 7      | 1.5      | 4.5        | 4.0    |         |
+--------------+-----------+------+--------+----------+------------+--------+---------+"
        );
        assert_eq!(Perplexity::rows(&batch).unwrap(), std::slice::from_ref(&row));
        let nan = PerplexityRow { ci_low: Some(f64::NAN), ..row };
        let error = Perplexity::batch(&[nan]).unwrap_err().to_string();
        assert_eq!(error, "table `perplexity`: `ci_low` is NaN in row 0: what was computed is no number");
    }
}
