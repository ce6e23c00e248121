//! What a task is, as data; each task's own [`TaskInfo`] stands in its file.

use std::fmt;

use crate::named::named;

named! {
    /// A task without what its prompts are made of.
    #[allow(missing_docs)] // `TaskInfo::doc` has a line for each
    pub enum TaskKind("task", "kebab-case") {
        Copy,
        Induction,
        Repetition,
        Ioi,
        GreaterThan,
    }
}

/// What there is to know about a task.
#[derive(Debug, Clone, Copy)]
pub struct TaskInfo {
    /// What the clean prompt is, in a line.
    pub doc: &'static str,
    /// Of a task of random tokens the usual length; none of a task of text, which takes a tokenizer and no length.
    pub length: Option<usize>,
    /// The task with that length and, where it has one, that depth.
    pub(super) with: fn(usize, usize) -> Task,
}

/// A task that pairs are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// [`super::CopyTask`] with `length` as its M.
    Copy {
        /// M.
        length: usize,
    },
    /// [`super::Repeated`] once.
    Induction {
        /// Tokens of the block.
        length: usize,
    },
    /// [`super::Repeated`] often.
    Repetition {
        /// Tokens of the phrase.
        length: usize,
        /// Whole copies of it.
        depth: usize,
    },
    /// [`super::Ioi`].
    Ioi,
    /// [`super::GreaterThan`].
    GreaterThan,
}

impl Task {
    /// Which it is.
    pub fn kind(self) -> TaskKind {
        match self {
            Task::Copy { .. } => TaskKind::Copy,
            Task::Induction { .. } => TaskKind::Induction,
            Task::Repetition { .. } => TaskKind::Repetition,
            Task::Ioi => TaskKind::Ioi,
            Task::GreaterThan => TaskKind::GreaterThan,
        }
    }

    /// Its name on command lines and in provenance.
    pub fn name(self) -> &'static str {
        self.kind().name()
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
