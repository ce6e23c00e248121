//! What can go wrong, said so that the reader knows what, where and what to do about it.

use std::path::PathBuf;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The way from quantised weights to ones that can be computed with.
pub(crate) const DEQUANTISE: &str =
    "take the checkpoint from before quantisation, or dequantise it with transformers and save it in bf16";

/// An error of the runner.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the model folder is absent or unreadable.
    #[error("{}: cannot read: {cause}\nhint: {hint}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A file could not be written.
    #[error("{}: cannot write: {cause}\nhint: check free space and permissions there", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// A file was read and makes no sense.
    #[error("{file}: {what}")]
    Format {
        /// The file (or "NAME/FILE (built in)").
        file: String,
        /// What is wrong with it, and the way out where there is one.
        what: String,
    },
    /// A model could not be had from the hub, or from its cache.
    #[error("{what}: {cause}\nhint: {hint}")]
    Hub {
        /// The model, and the file where it is one file's fault.
        what: String,
        /// What went wrong, and where.
        cause: String,
        /// What to do.
        hint: String,
    },
    /// `config.json` asks for something that this program does not know or do.
    #[error("config.json: {0}")]
    Config(String),
    /// A weight is missing, has the wrong shape or type, or holds NaN or infinity.
    #[error("weights: tensor `{name}` {what}")]
    Weight {
        /// The tensor's name in the file.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A hook name that does not exist.
    #[error("unknown hook `{name}`; did you mean `{nearest}`?")]
    UnknownHook {
        /// The name given.
        name: String,
        /// The existing name nearest to it.
        nearest: String,
    },
    /// The input does not fit the model or the other inputs.
    #[error("{0}")]
    Input(String),
    /// The model computed NaN or infinity.
    #[error(
        "the logits are not finite\nhint: an intervention that amplifies, or weights in too narrow a dtype, can do that"
    )]
    NotFinite,
    /// The prompt and what is to follow do not fit the context window.
    #[error(
        "{tokens} tokens do not fit the model's context window of {window}\nhint: shorten the prompt or ask for fewer \
            tokens"
    )]
    Window {
        /// Tokens asked for.
        tokens: usize,
        /// Positions that the model has.
        window: usize,
    },
    /// An intervention that cannot be applied as stated.
    #[error("intervention on `{hook}`: {what}")]
    Intervention {
        /// The hook that it names.
        hook: String,
        /// What is wrong.
        what: String,
    },
    /// The function of a [`crate::Edit`] failed.
    #[error("the edit at `{hook}` failed: {cause}")]
    Edit {
        /// Where it was called.
        hook: String,
        /// Its own error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tokenizer refused its file or a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A device that cannot be used.
    #[error("device: {0}")]
    Device(String),
    /// A chat template is broken, asks for too much, or refused the conversation.
    #[error("chat template {place}: {what}")]
    Template {
        /// The file, and the line where it is known.
        place: String,
        /// What is wrong, in the template's own words where it raised the error itself.
        what: String,
    },
    /// libtorch refused an operation (out of memory, for one).
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl Error {
    pub(crate) fn weight(name: impl Into<String>, what: impl Into<String>) -> Self {
        Error::Weight { name: name.into(), what: what.into() }
    }

    pub(crate) fn intervention(hook: impl ToString, what: impl Into<String>) -> Self {
        Error::Intervention { hook: hook.to_string(), what: what.into() }
    }
}
