//! Interventions that hold in every run: `--intervene FILE.json`.

use std::path::Path;

use anyhow::{Context, Result};
use refrain_runner::{BoundInterventions, Intervention, Model};
use serde::Deserialize;

use super::disk::read_text;

/// Interventions from a file, checked against a model.
#[derive(Debug, Clone, Default)]
pub struct Background(Vec<Intervention>);

/// A file that is not a bare list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    interventions: Vec<Intervention>,
}

impl Background {
    /// Reads the file; without one there are no interventions.
    ///
    /// # Errors
    /// If it cannot be read, is not a list of interventions, or does not fit the model.
    pub fn load(path: Option<&Path>, model: &Model) -> Result<Self> {
        let Some(path) = path else { return Ok(Background::default()) };
        let text = read_text(path)?;
        let unusable = || {
            format!(
                "{}: these are not interventions\nhint: [{{\"hook\": \"blocks.2.attn.hook_z\", \"heads\": [1], \"action\": {{\"scale\": 0.5}}}}] is a list of one",
                path.display()
            )
        };
        let value: serde_json::Value = serde_json::from_str(&text).with_context(unusable)?;
        let interventions = match value {
            serde_json::Value::Array(_) => serde_json::from_value(value).with_context(unusable)?,
            object => serde_json::from_value::<File>(object).with_context(unusable)?.interventions,
        };
        let background = Background(interventions);
        background.bind(model).with_context(|| path.display().to_string())?;
        Ok(background)
    }

    /// The interventions.
    pub fn interventions(&self) -> &[Intervention] {
        &self.0
    }

    /// The same, ready to be applied.
    ///
    /// # Errors
    /// If they do not fit the model.
    pub fn bind(&self, model: &Model) -> Result<BoundInterventions<'_>> {
        Ok(BoundInterventions::new(model.architecture(), &self.0, &[])?)
    }
}
