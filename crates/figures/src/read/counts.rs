//! The table `count_summary`, with its conditions.

use std::collections::BTreeSet;

use arrow::array::Array;

use crate::draw::estimate::Estimate;
use crate::error::Error;
use crate::read::columns::{Table, index, label, value};
use crate::read::conditions::{Condition, Conditions};
use crate::read::tables::Tables;

/// One row: what was summarised of the runs of a condition at one N.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    pub(crate) condition: Condition,
    pub(crate) n: u64,
    /// Empty: all pools.
    pub(crate) pool: String,
    pub(crate) quantity: String,
    pub(crate) estimate: Option<Estimate>,
    /// The true value is this or more.
    pub(crate) lower_bound: bool,
    pub(crate) items: u64,
    pub(crate) runs: u64,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) rows: Vec<Count>,
}

impl Counts {
    /// Reads `count_summary` and `conditions`.
    pub(crate) fn read(figure: &'static str, tables: &Tables) -> Result<Self, Error> {
        let conditions = Conditions::read(figure, tables)?;
        let table = Table::new(figure, "count_summary", tables)?;
        let (condition, pool, quantity) =
            (table.text("condition")?, table.text("pool")?, table.text("quantity")?);
        let (n, score) = (table.number("n")?, table.number("value")?);
        let (low, high, bound) =
            (table.number("ci_low")?, table.number("ci_high")?, table.flag("lower_bound")?);
        let (items, runs) = (table.number("n_items")?, table.number("n_runs")?);
        let mut rows = Vec::new();
        for row in 0..table.rows() {
            let Some(n) = index(&n, row).filter(|n| *n > 0) else { continue };
            let lower_bound = bound.is_valid(row) && bound.value(row);
            let estimate = value(&score, row).map(|at| {
                // The interval of a lower bound may have no upper end: it is drawn up to the value.
                let high = value(&high, row).or_else(|| lower_bound.then_some(at));
                Estimate { at, interval: value(&low, row).zip(high) }
            });
            rows.push(Count {
                condition: conditions.get(figure, label(&condition, row))?.clone(),
                n,
                pool: label(&pool, row).to_owned(),
                quantity: label(&quantity, row).to_owned(),
                estimate,
                lower_bound,
                items: index(&items, row).unwrap_or(0),
                runs: index(&runs, row).unwrap_or(0),
            });
        }
        Ok(Self { rows })
    }

    /// The rows of a quantity that have a value, of a pool (empty: all pools), by condition and N.
    pub(crate) fn of<'a>(&'a self, quantity: &'a str, pool: &'a str) -> impl Iterator<Item = &'a Count> {
        self.rows.iter().filter(move |r| r.quantity == quantity && r.pool == pool && r.estimate.is_some())
    }

    /// Every N, ascending.
    pub(crate) fn asked(&self) -> Vec<u64> {
        self.rows.iter().map(|r| r.n).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// How many items and runs there are at one N, in words.
    pub(crate) fn size<'a>(rows: impl Iterator<Item = &'a Count> + Clone) -> String {
        let range = |of: fn(&Count) -> u64| {
            let (low, high) = rows.clone().map(of).fold((u64::MAX, 0), |(l, h), v| (l.min(v), h.max(v)));
            if low >= high { high.to_string() } else { format!("{low} to {high}") }
        };
        format!("{} items, {} runs at each N", range(|r| r.items), range(|r| r.runs))
    }
}
