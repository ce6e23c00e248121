//! What can go wrong here.

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model could not be run.
    #[error(transparent)]
    Runner(#[from] refrain_runner::Error),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A clean and a corrupted prompt, or two pairs of one sweep, differ in length.
    #[error(
        "pair {pair}: {found} tokens where {wanted} are needed: patching aligns positions, so all prompts of a sweep need one length"
    )]
    Length {
        /// Index of the offending pair.
        pair: usize,
        /// Its length.
        found: usize,
        /// The first clean prompt's length.
        wanted: usize,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Input(String),
}
