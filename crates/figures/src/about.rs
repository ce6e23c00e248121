//! The caption line: what a figure cannot know from its table.

/// What the small grey line under the title says about the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The model's name, such as `gpt2-small`; left out when empty.
    pub model: String,
    /// The seed of the run.
    pub seed: Option<u64>,
    /// How many prompts the table pools, where its rows do not say so (`head_scores` keeps only the mean).
    pub prompts: Option<u32>,
    /// Anything else, in a few words; left out when empty.
    pub note: String,
}

impl About {
    /// The line, with what the figure itself counted in its table put after the model and the seed.
    pub(crate) fn line(&self, counted: &[String]) -> String {
        let mut parts = Vec::new();
        if !self.model.is_empty() {
            parts.push(self.model.clone());
        }
        if let Some(seed) = self.seed {
            parts.push(format!("seed {seed}"));
        }
        if let Some(prompts) = self.prompts {
            parts.push(format!("{prompts} prompts"));
        }
        parts.extend(counted.iter().cloned());
        if !self.note.is_empty() {
            parts.push(self.note.clone());
        }
        parts.join("  ·  ")
    }
}
