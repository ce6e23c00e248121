//! Drawing made-up tables, and what must stand in a drawing.

#![allow(dead_code, reason = "shared by test files, each of which uses a part")]
#![allow(clippy::unwrap_used, reason = "a helper of a test may panic as a test may")]

use refrain_figures::{About, Drawing, Error, Figure, Tables};

use super::made_up::repetition::{self, Count};
use super::made_up::scores::{self, Row};
use super::svg::{has, texts};

pub fn draw(name: &str, tables: &Tables) -> Result<Vec<Drawing>, Error> {
    (Figure::find(name).unwrap().draw)(tables, &About::default())
}

pub fn heads(rows: &[Row]) -> Tables {
    Tables::new().with("head_scores", scores::head_scores(rows))
}

pub fn repetition(all: &[repetition::Condition], counts: &[Count]) -> Tables {
    Tables::new()
        .with("conditions", repetition::conditions(all))
        .with("count_summary", repetition::count_summary(counts))
        .with("trace_summary", repetition::trace_summary(all, 36, 300))
        .with("perplexity", repetition::perplexity(all))
        .with("contrasts", repetition::contrasts(all, 36))
}

pub fn expect(drawing: &Drawing, wanted: &[&str]) {
    for text in wanted {
        assert!(
            has(drawing, text),
            "{}: {text:?} is not in {:?}",
            drawing.name(),
            texts(&drawing.svg().unwrap())
        );
    }
}

/// A head of `dla` with this share, and its row's other columns.
pub fn head(head: u32, effect: Option<f64>) -> Row {
    Row {
        method: "dla",
        component: "result",
        head: Some(head),
        n_prompts: 8,
        metric: "logit_diff",
        effect,
        ..Row::default()
    }
}

pub fn count(n: u32, quantity: &'static str, value: f64, lower_bound: bool) -> Count {
    let interval = Some((value * 0.9, value * 1.1));
    Count {
        condition: "none",
        n,
        pool: None,
        quantity,
        value: Some(value),
        interval,
        lower_bound,
        runs: None,
    }
}
