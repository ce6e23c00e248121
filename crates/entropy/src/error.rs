//! What can go wrong here.

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// Rows could not be turned into a table or back.
    #[error("table `{table}`: {what}")]
    Table {
        /// The table.
        table: &'static str,
        /// The reason.
        what: String,
    },
    /// The input makes no sense for what is asked.
    #[error("{0}")]
    Input(String),
}
