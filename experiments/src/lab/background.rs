//! Interventions that hold in every run of an experiment: `--intervene FILE.json`.

use std::path::Path;

use anyhow::{Result, ensure};
use refrain_runner::{Intervention, LoadedInterventions, Model, Tokenizer};

/// Interventions from a file, checked against a model.
#[derive(Debug, Clone, Default)]
pub struct Background(Vec<Intervention>);

impl Background {
    /// Reads the file; without one there are no interventions.
    ///
    /// # Errors
    /// If it cannot be read, does not hold interventions, or does not fit the model; and for interventions that
    /// take values from reference runs, which experiments do not make.
    pub fn load(path: Option<&Path>, model: &Model, tokenizer: Option<&Tokenizer>) -> Result<Self> {
        let Some(path) = path else { return Ok(Background::default()) };
        let loaded = LoadedInterventions::load(path, model, tokenizer)?;
        ensure!(
            loaded.sources().is_empty(),
            "{}: values from reference runs cannot be used in experiments yet\nhint: `refrain generate` and `refrain \
                cache` take them",
            path.display()
        );
        loaded.bind(model.architecture())?;
        Ok(Background(loaded.interventions().to_vec()))
    }

    /// The interventions.
    pub fn interventions(&self) -> &[Intervention] {
        &self.0
    }
}
