//! What can go wrong between a table and a drawing.

use crate::text;

/// Why a figure could not be drawn. Each message says which figure, what it lacks and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table lacks a column that the figure reads.
    #[error(
        "figure `{figure}` needs the column `{column}`, which its table lacks (it has: {found}); \
         hint: give it the table `{table}` as docs/tables.md describes it"
    )]
    MissingColumn {
        /// The figure, by the name of its function.
        figure: &'static str,
        /// The table that the figure reads, by its name in docs/tables.md.
        table: &'static str,
        /// The column that is missing.
        column: &'static str,
        /// The columns that are there.
        found: String,
    },
    /// A column is there but holds another type.
    #[error(
        "figure `{figure}` needs {expected} in the column `{column}` of `{table}`, found {found}; \
         hint: docs/tables.md has the types"
    )]
    ColumnType {
        /// The figure, by the name of its function.
        figure: &'static str,
        /// The table that the figure reads.
        table: &'static str,
        /// The column of the wrong type.
        column: &'static str,
        /// What the figure reads there.
        expected: &'static str,
        /// The Arrow type found.
        found: String,
    },
    /// The table has no rows.
    #[error(
        "figure `{figure}`: the table `{table}` has no rows\nhint: did the run that writes it finish? See its run.toml"
    )]
    EmptyTable {
        /// The figure, by the name of its function.
        figure: &'static str,
        /// The table that the figure reads.
        table: &'static str,
    },
    /// The table has rows, but none that the figure shows.
    #[error("figure `{figure}`: no row of `{table}` has {wanted}\nhint: {hint}")]
    NothingToDraw {
        /// The figure, by the name of its function.
        figure: &'static str,
        /// The table that the figure reads.
        table: &'static str,
        /// Which rows the figure shows.
        wanted: &'static str,
        /// What to run to get them.
        hint: &'static str,
    },
    /// The embedded font could not be read: the build is damaged.
    #[error(
        "the embedded font {0} could not be read\nhint: restore crates/figures/fonts from the repository",
        text::FAMILY
    )]
    Font,
    /// A backend refused to draw.
    #[error("drawing failed: {0}")]
    Backend(String),
    /// The image could not be encoded.
    #[error("encoding the PNG failed: {0}")]
    Png(#[from] png::EncodingError),
}
