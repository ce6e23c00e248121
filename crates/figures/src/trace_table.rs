//! The table `entropy_trace`, sorted into series of samples.

use arrow::array::{Float64Array, StringArray};
use std::collections::BTreeMap;

use crate::error::Error;
use crate::table::{Table, index, label, value};
use crate::traces::Samples;

/// The columns of `entropy_trace` that figures read.
pub(crate) struct Rows {
    pub(crate) condition: StringArray,
    pub(crate) intervention: StringArray,
    pub(crate) head_set: StringArray,
    pub(crate) pool: StringArray,
    pub(crate) quantity: StringArray,
    pub(crate) n: Float64Array,
    pub(crate) prompt: Float64Array,
    pub(crate) step: Float64Array,
    pub(crate) value: Float64Array,
}

impl Rows {
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Error> {
        Ok(Self {
            condition: table.text("condition")?,
            intervention: table.text("intervention")?,
            head_set: table.text("head_set")?,
            pool: table.text("pool")?,
            quantity: table.text("quantity")?,
            n: table.number("n")?,
            prompt: table.number("prompt")?,
            step: table.number("step")?,
            value: table.number("value")?,
        })
    }

    /// The caption's words on N in the repetition prompts.
    pub(crate) fn asked(&self) -> Vec<String> {
        let (low, high) = (arrow::compute::min(&self.n), arrow::compute::max(&self.n));
        match (low, high) {
            (Some(low), Some(high)) if low == high => vec![format!("repetition of N = {low}")],
            (Some(low), Some(high)) => vec![format!("repetition of N = {low} to {high}")],
            _ => Vec::new(),
        }
    }

    /// Sorts the rows of one quantity into series; `series` names that of a row.
    pub(crate) fn series<K: Ord>(
        &self,
        rows: usize,
        quantity: &str,
        series: impl Fn(&Self, usize) -> Option<K>,
    ) -> BTreeMap<K, Samples> {
        let mut all: BTreeMap<K, Samples> = BTreeMap::new();
        for row in 0..rows {
            if label(&self.quantity, row) != quantity {
                continue;
            }
            let (Some(key), Some(step)) = (series(self, row), value(&self.step, row)) else { continue };
            // Prompts are numbered within the condition; pool and N are added in case they are numbered within these.
            let pool = match label(&self.pool, row) {
                "top" => 1,
                "random" => 2,
                "last" => 3,
                _ => 0,
            };
            let prompt = (pool, index(&self.n, row).unwrap_or(0), index(&self.prompt, row).unwrap_or(0));
            all.entry(key).or_default().add(prompt, step, value(&self.value, row));
        }
        all.retain(|_, samples| !samples.is_empty());
        all
    }
}
