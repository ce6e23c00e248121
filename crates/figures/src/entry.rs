//! What a figure is.

use crate::draw::drawing::Drawing;
use crate::error::Error;
use crate::read::about::About;
use crate::read::tables::Tables;

/// A figure: a pure function of the tables that it names.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// Its name, as `refrain figures --only` takes it, and what the names of its drawings begin with.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub doc: &'static str,
    /// The tables that it reads, by their names in docs/tables.md; without one of them it cannot be drawn.
    pub tables: &'static [&'static str],
    /// Draws it: one drawing or several, each with a name of its own.
    ///
    /// # Errors When a table or a column is missing, a column has another type, or no row is of the kind that the
    /// figure shows ([`Error::is_nothing_to_draw`]).
    pub draw: fn(&Tables, &About) -> Result<Vec<Drawing>, Error>,
}

impl Figure {
    /// Whether `tables` has every table that the figure reads.
    pub fn has_tables(&self, tables: &Tables) -> bool {
        self.tables.iter().all(|name| tables.get(name).is_some())
    }
}
