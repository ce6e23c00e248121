//! The caption line: what the schema's metadata says of the run.

use arrow::array::RecordBatch;

/// What the small grey line under the title says about the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The model's name, such as `gpt2-small`; left out when empty.
    pub model: String,
    /// The task of the run, such as `induction`; left out when empty.
    pub task: String,
    /// The seed of the run.
    pub seed: Option<u64>,
    /// Anything else, in a few words; left out when empty.
    pub note: String,
}

impl About {
    /// What a table says of its run: the keys `refrain.model`, `refrain.task` and `refrain.seed` of its schema's
    /// metadata. A key that is missing leaves its part of the caption empty.
    pub fn of(table: &RecordBatch) -> Self {
        let schema = table.schema_ref();
        let key = |name: &str| schema.metadata().get(name).map(|value| value.trim().to_owned());
        Self {
            model: key("refrain.model").unwrap_or_default(),
            task: key("refrain.task").unwrap_or_default(),
            seed: key("refrain.seed").and_then(|seed| seed.parse().ok()),
            note: String::new(),
        }
    }

    /// The same for what is of this task; empty: of none.
    pub(crate) fn on(&self, task: &str) -> Self {
        Self { task: task.to_owned(), ..self.clone() }
    }

    /// The line, with what the figure itself read in its table put after the run.
    pub(crate) fn line(&self, read: &[String]) -> String {
        let mut parts = Vec::new();
        if !self.model.is_empty() {
            parts.push(self.model.clone());
        }
        if !self.task.is_empty() {
            parts.push(format!("task {}", self.task));
        }
        if let Some(seed) = self.seed {
            parts.push(format!("seed {seed}"));
        }
        parts.extend(read.iter().filter(|part| !part.is_empty()).cloned());
        if !self.note.is_empty() {
            parts.push(self.note.clone());
        }
        parts.join("  ·  ")
    }
}
