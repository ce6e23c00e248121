//! Tasks that pairs of prompts are drawn from, or read from a file.

mod copy;
mod corruption;
mod greater_than;
mod ioi;
pub mod jsonl;
mod kind;
mod repeated;
mod text;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod made_up;
#[cfg(test)]
mod of_text;

use rand_chacha::ChaCha8Rng;
use refrain_entropy::stats::rng;
use refrain_runner::Tokenizer;

use crate::error::{Error, Result};
use crate::pair::Pair;

pub use copy::CopyTask;
pub use corruption::Corruption;
pub use greater_than::GreaterThan;
pub use ioi::Ioi;
pub use kind::{Task, TaskInfo, TaskKind};
pub use repeated::{Repeated, induction_answer, induction_pair};

/// What prompts are made of.
#[derive(Debug, Clone, Copy)]
pub struct Language<'a> {
    /// Tokens to draw from; no special ones.
    pub candidates: &'a [i64],
    /// Put before random tokens, if the model has it. Before text stands what the tokenizer puts there.
    pub bos: Option<i64>,
    /// For the tasks that are text.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Tokens that the model can read.
    pub window: usize,
}

/// Draws a pair.
type Draw<'a> = Box<dyn Fn(&mut ChaCha8Rng) -> Result<Pair> + 'a>;

impl TaskKind {
    /// What there is to know about it.
    pub fn info(self) -> TaskInfo {
        match self {
            TaskKind::Copy => copy::INFO,
            TaskKind::Induction => repeated::INDUCTION,
            TaskKind::Repetition => repeated::REPETITION,
            TaskKind::Ioi => ioi::INFO,
            TaskKind::GreaterThan => greater_than::INFO,
        }
    }

    /// The names of the tasks of random tokens, as in a sentence.
    pub fn of_tokens() -> String {
        let of_tokens = |kind: &&TaskKind| kind.info().length.is_some();
        let names: Vec<&str> = TaskKind::ALL.iter().filter(of_tokens).map(|kind| kind.name()).collect();
        match names.split_last() {
            Some((last, others)) => format!("{} and {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

impl Task {
    /// The task `name`, if there is one: of random tokens `length` (none: the usual ones) and, where it has a depth,
    /// `depth`.
    pub fn named(name: &str, length: Option<usize>, depth: usize) -> Option<Self> {
        let info = name.parse::<TaskKind>().ok()?.info();
        Some((info.with)(length.or(info.length).unwrap_or(0), depth))
    }

    /// Whether it is made of random tokens and so takes a length and no tokenizer.
    pub fn is_of_tokens(self) -> bool {
        self.kind().info().length.is_some()
    }

    /// Draws `count` pairs. Pair i depends on the seed, the task and i only.
    ///
    /// # Errors
    /// [`Error::Input`] if the vocabulary or the tokenizer does not suffice, or a prompt does not fit the window.
    pub fn pairs(self, language: &Language<'_>, count: usize, seed: u64) -> Result<Vec<Pair>> {
        self.corrupted_pairs(language, Corruption::Value, count, seed)
    }

    /// The same with another corruption, for the tasks of random tokens; the clean prompts are the same.
    ///
    /// # Errors
    /// As [`Task::pairs`]; [`Error::Input`] for a task of text with a corruption of its own.
    pub fn corrupted_pairs(
        self,
        language: &Language<'_>,
        corruption: Corruption,
        count: usize,
        seed: u64,
    ) -> Result<Vec<Pair>> {
        if corruption != Corruption::Value && !self.is_of_tokens() {
            return Err(Error::Input(format!(
                "the task `{self}` has a corruption of its own, and not `{corruption}`"
            )));
        }
        let Language { candidates, bos, .. } = *language;
        // Before anything of that size is made.
        if let Task::Repetition { length, depth } = self
            && length.saturating_mul(depth) > language.window
        {
            return Err(Error::Input(format!(
                "{depth} copies of {length} tokens do not fit the model's window of {}\nhint: choose a smaller length \
                 or depth",
                language.window
            )));
        }
        let draw: Draw<'_> = match self {
            Task::Copy { length } => {
                let task = CopyTask { m: length, candidates, bos };
                Box::new(move |rng| task.draw(rng))
            }
            Task::Induction { length } => {
                if length < 2 {
                    return Err(Error::Input(
                        "the block of the induction task takes at least 2 tokens".into(),
                    ));
                }
                let task = Repeated { phrase: length, copies: 1, candidates, bos };
                Box::new(move |rng| task.draw(rng))
            }
            Task::Repetition { length, depth } => {
                let task = Repeated { phrase: length, copies: depth, candidates, bos };
                Box::new(move |rng| task.draw(rng))
            }
            Task::Ioi => {
                let task = Ioi::new(self.tokenizer(language)?)?;
                Box::new(move |rng| task.draw(rng))
            }
            Task::GreaterThan => {
                let task = GreaterThan::new(self.tokenizer(language)?)?;
                Box::new(move |rng| task.draw(rng))
            }
        };
        let mut pairs = Vec::with_capacity(count);
        for index in 0..count {
            let mut rng = rng(seed, &format!("task/{}/{index}", self.name()));
            let last = match self {
                Task::Induction { length } | Task::Repetition { length, .. } => length / 2,
                _ => 1,
            };
            let from = usize::from(bos.is_some());
            let pair = corruption.apply(draw(&mut rng)?, candidates, (from, last), &mut rng)?;
            let length = pair.clean.len();
            if length > language.window {
                let hint = if self.is_of_tokens() { "\nhint: choose a smaller length or depth" } else { "" };
                return Err(Error::Input(format!(
                    "a prompt of the task `{self}` has {length} tokens, the model's window {}{hint}",
                    language.window
                )));
            }
            pairs.push(pair);
        }
        Ok(pairs)
    }

    fn tokenizer<'a>(self, language: &Language<'a>) -> Result<&'a Tokenizer> {
        language.tokenizer.ok_or_else(|| {
            Error::Input(format!(
                "the task `{self}` is text, and the model has no tokenizer.json\nhint: tasks of random tokens are {}; \
                 AutoTokenizer.from_pretrained(\"DIR\").save_pretrained(\"DIR\") in transformers \
                 writes a tokenizer.json",
                TaskKind::of_tokens()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_depends_on_its_number_only() {
        let candidates: Vec<i64> = (3..90).collect();
        let language = Language { candidates: &candidates, bos: Some(1), tokenizer: None, window: 64 };
        for name in ["copy", "induction", "repetition"] {
            let task = Task::named(name, None, 3).unwrap();
            assert_eq!(task.name(), name);
            let many = task.pairs(&language, 8, 5).unwrap();
            assert_eq!(many[..3], task.pairs(&language, 3, 5).unwrap());
            assert_ne!(many[..3], task.pairs(&language, 3, 6).unwrap());
            assert_ne!(many[0], many[1]);
            for pair in &many {
                assert_eq!(pair.clean.len(), pair.corrupted.len());
                assert_eq!(pair.clean[0], 1);
                assert!(pair.first_difference().is_some());
            }
        }
        assert_eq!(Task::named("copie", None, 1), None);
    }

    #[test]
    fn every_task_says_what_it_is() {
        for kind in TaskKind::ALL {
            assert!(!kind.info().doc.is_empty(), "{kind}");
            assert_eq!(Task::named(kind.name(), None, 1).unwrap().kind(), *kind);
        }
        assert_eq!(TaskKind::of_tokens(), "copy, induction and repetition");
        assert_eq!(Task::named("copy", None, 1), Some(Task::Copy { length: 40 }));
        assert_eq!(Task::named("repetition", Some(3), 5), Some(Task::Repetition { length: 3, depth: 5 }));
    }

    #[test]
    fn windows_and_tokenizers_are_asked_for() {
        let candidates: Vec<i64> = (3..90).collect();
        let language = Language { candidates: &candidates, bos: None, tokenizer: None, window: 20 };
        let error = Task::Copy { length: 40 }.pairs(&language, 1, 0).unwrap_err().to_string();
        assert!(error.contains("has 44 tokens, the model's window 20"), "{error}");
        for task in [Task::Ioi, Task::GreaterThan] {
            let error = task.pairs(&language, 1, 0).unwrap_err().to_string();
            assert!(error.contains("no tokenizer") && error.contains(task.name()), "{error}");
        }
    }
}
