//! The table `head_scores`. docs/tables.md explains the columns.

use arrow::datatypes::FieldRef;
use refrain_entropy::schema::{Table, count, count_or_null, flag, label, label_or_null, number_or_null};
use serde::{Deserialize, Serialize};

/// One score of one head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the columns are documented in docs/tables.md
pub struct HeadScoreRow {
    pub method: String,
    pub component: String,
    pub direction: Option<String>,
    pub layer: u32,
    pub head: u32,
    pub position: Option<u32>,
    pub prompt: Option<u32>,
    pub metric: String,
    pub value: Option<f64>,
    pub clean_value: Option<f64>,
    pub corrupted_value: Option<f64>,
    pub effect: Option<f64>,
    pub ci_low: Option<f64>,
    pub ci_high: Option<f64>,
    pub induction: bool,
    pub reason: Option<String>,
}

/// The table `head_scores`.
pub struct HeadScores;

impl Table for HeadScores {
    type Row = HeadScoreRow;
    const NAME: &'static str = "head_scores";

    fn fields() -> Vec<FieldRef> {
        vec![
            label("method"),
            label("component"),
            label_or_null("direction"),
            count("layer"),
            count("head"),
            count_or_null("position"),
            count_or_null("prompt"),
            label("metric"),
            number_or_null("value"),
            number_or_null("clean_value"),
            number_or_null("corrupted_value"),
            number_or_null("effect"),
            number_or_null("ci_low"),
            number_or_null("ci_high"),
            flag("induction"),
            label_or_null("reason"),
        ]
    }
}
