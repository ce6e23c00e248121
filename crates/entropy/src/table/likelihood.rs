//! `perplexity`.

use serde::{Deserialize, Serialize};

use crate::schema::Table;

/// The likelihood of one text, or of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerplexityRow {
    /// What it was made under.
    pub condition: String,
    /// Which text; null: all.
    pub text: Option<u32>,
    /// Tokens predicted.
    pub tokens: u32,
    /// Mean negative log-likelihood of a token.
    pub nll_nats: f64,
    /// exp(`nll_nats`).
    pub perplexity: f64,
    /// Lower end of the 95 % interval of `perplexity` over texts.
    pub ci_low: Option<f64>,
    /// Its upper end.
    pub ci_high: Option<f64>,
    /// Texts.
    pub n_texts: u32,
    /// Why there is no interval.
    pub reason: Option<String>,
}

/// The table `perplexity`.
pub struct Perplexity;

impl Table for Perplexity {
    type Row = PerplexityRow;
    const NAME: &'static str = "perplexity";
}
