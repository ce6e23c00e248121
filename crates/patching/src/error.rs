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
    /// A distribution or a statistic could not be computed.
    #[error(transparent)]
    Entropy(#[from] refrain_entropy::Error),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The clean and the corrupted prompt of a pair differ in length.
    #[error(
        "pair {pair}: the clean prompt has {clean} tokens, the corrupted one {corrupted}\n\
         hint: patching puts position i of one run into position i of the other: both need the same length"
    )]
    Length {
        /// Index of the offending pair.
        pair: usize,
        /// Tokens of the clean prompt.
        clean: usize,
        /// Tokens of the corrupted prompt.
        corrupted: usize,
    },
    /// The memory budget does not hold the smallest piece of the work.
    #[error(
        "a memory budget of {budget} bytes is too small: one prompt pair and one row take {needed}\n\
         hint: give at least {needed} bytes, or shorten the prompts"
    )]
    Memory {
        /// Bytes that were allowed.
        budget: u64,
        /// The smallest budget that works.
        needed: u64,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Input(String),
}

impl Error {
    /// A name that means nothing, with those that do.
    pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
        Error::Input(format!("there is no {what} `{name}`\nhint: choose one of {}", known.join(", ")))
    }
}
