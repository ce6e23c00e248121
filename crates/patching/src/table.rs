//! The tables `head_scores`, `edge_scores` and `approximation`. docs/tables.md explains the columns.

use arrow::datatypes::FieldRef;
use refrain_entropy::schema::{Table, count, count_or_null, flag, label, label_or_null, number_or_null};
use serde::{Deserialize, Serialize};

/// One score of one head, stream or neuron.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the columns are documented in docs/tables.md
pub struct HeadScoreRow {
    pub method: String,
    pub component: String,
    pub direction: Option<String>,
    pub layer: u32,
    pub head: Option<u32>,
    pub neuron: Option<u32>,
    pub position: Option<u32>,
    pub key_position: Option<u32>,
    pub prompt: Option<u32>,
    pub metric: String,
    pub value: Option<f64>,
    pub clean_value: Option<f64>,
    pub corrupted_value: Option<f64>,
    pub change: Option<f64>,
    pub effect: Option<f64>,
    pub ci_low: Option<f64>,
    pub ci_high: Option<f64>,
    pub p_value: Option<f64>,
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
            count_or_null("head"),
            count_or_null("neuron"),
            count_or_null("position"),
            count_or_null("key_position"),
            count_or_null("prompt"),
            label("metric"),
            number_or_null("value"),
            number_or_null("clean_value"),
            number_or_null("corrupted_value"),
            number_or_null("change"),
            number_or_null("effect"),
            number_or_null("ci_low"),
            number_or_null("ci_high"),
            number_or_null("p_value"),
            flag("induction"),
            label_or_null("reason"),
        ]
    }
}

/// One score of one edge of the graph of components.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the columns are documented in docs/tables.md
pub struct EdgeScoreRow {
    pub method: String,
    pub direction: Option<String>,
    pub sender: String,
    pub receiver: String,
    pub receiver_input: Option<String>,
    pub prompt: Option<u32>,
    pub metric: String,
    pub value: Option<f64>,
    pub effect: Option<f64>,
    pub p_value: Option<f64>,
    pub reason: Option<String>,
}

/// The table `edge_scores`.
pub struct EdgeScores;

impl Table for EdgeScores {
    type Row = EdgeScoreRow;
    const NAME: &'static str = "edge_scores";

    fn fields() -> Vec<FieldRef> {
        vec![
            label("method"),
            label_or_null("direction"),
            label("sender"),
            label("receiver"),
            label_or_null("receiver_input"),
            count_or_null("prompt"),
            label("metric"),
            number_or_null("value"),
            number_or_null("effect"),
            number_or_null("p_value"),
            label_or_null("reason"),
        ]
    }
}

/// How well an approximation agrees with the exact score, or one of its worst misses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the columns are documented in docs/tables.md
pub struct ApproximationRow {
    pub method: String,
    pub component: String,
    pub direction: Option<String>,
    pub metric: String,
    pub n: u32,
    pub estimated: u32,
    pub spearman: Option<f64>,
    pub kendall: Option<f64>,
    pub pearson: Option<f64>,
    pub rms_error: Option<f64>,
    pub max_error: Option<f64>,
    pub top_k: Option<u32>,
    pub overlap: Option<f64>,
    pub miss: Option<u32>,
    pub layer: Option<u32>,
    pub head: Option<u32>,
    pub neuron: Option<u32>,
    pub position: Option<u32>,
    pub key_position: Option<u32>,
    pub exact: Option<f64>,
    pub estimate: Option<f64>,
    pub reason: Option<String>,
}

/// The table `approximation`.
pub struct Approximation;

impl Table for Approximation {
    type Row = ApproximationRow;
    const NAME: &'static str = "approximation";

    fn fields() -> Vec<FieldRef> {
        vec![
            label("method"),
            label("component"),
            label_or_null("direction"),
            label("metric"),
            count("n"),
            count("estimated"),
            number_or_null("spearman"),
            number_or_null("kendall"),
            number_or_null("pearson"),
            number_or_null("rms_error"),
            number_or_null("max_error"),
            count_or_null("top_k"),
            number_or_null("overlap"),
            count_or_null("miss"),
            count_or_null("layer"),
            count_or_null("head"),
            count_or_null("neuron"),
            count_or_null("position"),
            count_or_null("key_position"),
            number_or_null("exact"),
            number_or_null("estimate"),
            label_or_null("reason"),
        ]
    }
}
