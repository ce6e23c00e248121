//! What can go wrong between a table and a drawing.

/// Why a figure could not be drawn. Each message says which figure, what it lacks and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A table that the figure reads is not among those given.
    #[error(
        "figure `{figure}` needs the table `{table}`, found: {found}\nhint: does the run write it? docs/tables.md \
            says which do"
    )]
    MissingTable {
        /// The figure, by its name in the registry.
        figure: &'static str,
        /// The table that is missing, by its name in docs/tables.md.
        table: &'static str,
        /// The tables that are there.
        found: String,
    },
    /// The table lacks a column that the figure reads.
    #[error(
        "figure `{figure}` needs the column `{column}`, which its table lacks (it has: {found}); \
         hint: give it the table `{table}` as docs/tables.md describes it"
    )]
    MissingColumn {
        /// The figure, by its name in the registry.
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
        /// The figure, by its name in the registry.
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
        /// The figure, by its name in the registry.
        figure: &'static str,
        /// The table that the figure reads.
        table: &'static str,
    },
    /// The table has rows, but none that the figure shows.
    #[error("figure `{figure}`: no row of `{table}` has {wanted}\nhint: {hint}")]
    NothingToDraw {
        /// The figure, by its name in the registry.
        figure: &'static str,
        /// The table that the figure reads.
        table: &'static str,
        /// Which rows the figure shows.
        wanted: &'static str,
        /// What to run to get them.
        hint: &'static str,
    },
    /// A label in the column `condition` that the table `conditions` does not explain.
    #[error(
        "figure `{figure}`: no row of `conditions` explains the condition `{condition}`\nhint: take both tables from \
            one run"
    )]
    UnknownCondition {
        /// The figure, by its name in the registry.
        figure: &'static str,
        /// The label.
        condition: String,
    },
    /// The schema's metadata holds something that the figure cannot read.
    #[error(
        "figure `{figure}`: the key `{key}` in the schema's metadata of `{table}` is not what docs/tables.md \
         describes: {why}\nhint: write the table again with this version"
    )]
    Metadata {
        /// The figure, by its name in the registry.
        figure: &'static str,
        /// The table that the figure reads.
        table: &'static str,
        /// The key of the metadata.
        key: &'static str,
        /// What is wrong with its value.
        why: String,
    },
    /// The embedded font could not be read: the build is damaged.
    #[error("an embedded font could not be read\nhint: restore crates/figures/fonts from the repository")]
    Font,
    /// A backend refused to draw.
    #[error("drawing failed: {0}")]
    Backend(String),
    /// The image could not be encoded.
    #[error("encoding the PNG failed: {0}")]
    Png(#[from] png::EncodingError),
}

impl Error {
    /// Whether the tables are all right and just hold nothing that this figure shows: no reason to stop a run.
    pub fn is_nothing_to_draw(&self) -> bool {
        matches!(self, Self::NothingToDraw { .. } | Self::EmptyTable { .. })
    }
}
