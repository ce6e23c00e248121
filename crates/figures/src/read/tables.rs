//! The tables of a run, by name.

use arrow::array::RecordBatch;
use std::collections::BTreeMap;

/// Tables by their name in docs/tables.md: what a figure draws from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables(BTreeMap<String, RecordBatch>);

impl Tables {
    /// No table yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a table; one of the same name is replaced.
    pub fn insert(&mut self, name: impl Into<String>, table: RecordBatch) {
        self.0.insert(name.into(), table);
    }

    /// The same with one table more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, table: RecordBatch) -> Self {
        self.insert(name, table);
        self
    }

    /// The table of that name.
    pub fn get(&self, name: &str) -> Option<&RecordBatch> {
        self.0.get(name)
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<N: Into<String>> FromIterator<(N, RecordBatch)> for Tables {
    fn from_iter<I: IntoIterator<Item = (N, RecordBatch)>>(tables: I) -> Self {
        Self(tables.into_iter().map(|(name, table)| (name.into(), table)).collect())
    }
}
