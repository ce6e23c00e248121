//! Interventions in a file, with the reference runs that they take values from.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::cache::{ActivationCache, NameFilter};
use crate::error::{Error, Result};
use crate::forward::{LogitPositions, Run};
use crate::hook::Hook;
use crate::intervention::{BoundInterventions, Intervention, SharedRun};
use crate::model::Model;
use crate::tokenizer::Tokenizer;

/// What a file of interventions holds, in JSON:
///
/// ```json
/// {
///   "interventions": [
///     {"hook": "blocks.3.attn.hook_z", "heads": [0, 2], "action": {"mean": {"source": "ordinary"}}},
///     {"hook": "blocks.2.hook_resid_post", "action": {"project_out": [0.5, -1.0, 0.25]}}
///   ],
///   "references": {"ordinary": {"texts": ["The weather is fine today.", "Bread is made of flour."]}}
/// }
/// ```
///
/// The list of interventions alone may be the whole file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterventionFile {
    /// The interventions, in the order in which they are applied.
    pub interventions: Vec<Intervention>,
    /// The inputs of the reference runs that `replace` and `mean` name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, Reference>,
}

/// The input of a reference run. Rows of different lengths are padded on the left; padding counts in no mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// Texts, with the tokens that the tokenizer adds at their ends (BOS, mostly).
    Texts(Vec<String>),
    /// Rows of token ids, taken as they are.
    Tokens(Vec<Vec<i64>>),
}

impl InterventionFile {
    /// Reads the file at `path`. A byte order mark is dropped.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Format`] with line and column for what is not understood, unknown keys and hooks
    /// included.
    pub fn read(path: &Path) -> Result<Self> {
        let hint = "--intervene takes a file of interventions in JSON";
        let bytes =
            std::fs::read(path).map_err(|cause| Error::Read { path: path.to_owned(), cause, hint })?;
        let wrong = |what: String| Error::Format { file: path.display().to_string(), what };
        let text = String::from_utf8(bytes).map_err(|error| wrong(format!("is not UTF-8: {error}")))?;
        InterventionFile::parse(&text).map_err(|error| wrong(error.to_string()))
    }

    /// Reads what a file holds.
    ///
    /// # Errors
    /// With line and column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match text.trim_start().starts_with('[') {
            true => Ok(InterventionFile { interventions: serde_json::from_str(text)?, ..Self::default() }),
            false => serde_json::from_str(text),
        }
    }

    /// Runs the references on `model`, keeping what the interventions take from them, and checks every intervention.
    /// `tokenizer` is needed for references that are texts.
    ///
    /// # Errors
    /// [`Error::Input`] naming the reference that is missing, is used by nobody, is empty, or does not fit the model;
    /// [`Error::Intervention`], and what [`Model::run`] returns.
    pub fn run(self, model: &Model, tokenizer: Option<&Tokenizer>) -> Result<LoadedInterventions> {
        let InterventionFile { mut interventions, references } = self;
        for (name, reference) in &references {
            let takes =
                |what: &Intervention| what.action.source().is_some_and(|source| source.name() == name);
            let hooks: Vec<Hook> =
                interventions.iter().filter(|what| takes(what)).map(|what| what.hook).collect();
            if hooks.is_empty() {
                return Err(Error::Input(format!(
                    "no intervention takes anything from the reference `{name}`\n\
                     hint: leave it out, or name it in a `replace` or a `mean`"
                )));
            }
            let within = |what: String| Error::Input(format!("the reference `{name}`: {what}"));
            let rows =
                reference.rows(model.architecture(), tokenizer).map_err(|error| within(error.to_string()))?;
            let run = reference_run(model, &rows, &hooks).map_err(|error| within(error.to_string()))?;
            let run = SharedRun::from(run);
            for source in interventions.iter_mut().filter_map(|what| what.action.source_mut()) {
                if source.name() == name {
                    *source = source.clone().with_run(&run);
                }
            }
        }
        let loaded = LoadedInterventions { interventions };
        loaded.bind(model.architecture())?;
        Ok(loaded)
    }
}

impl Reference {
    /// How many rows it has.
    pub fn n_rows(&self) -> usize {
        match self {
            Reference::Texts(texts) => texts.len(),
            Reference::Tokens(rows) => rows.len(),
        }
    }

    /// Its rows of token ids.
    fn rows(&self, arch: &Architecture, tokenizer: Option<&Tokenizer>) -> Result<Vec<Vec<i64>>> {
        let rows = match (self, tokenizer) {
            (Reference::Tokens(rows), _) => rows.clone(),
            (Reference::Texts(texts), Some(tokenizer)) => {
                texts.iter().map(|text| tokenizer.encode_with_specials(text)).collect::<Result<_>>()?
            }
            (Reference::Texts(_), None) => {
                return Err(Error::Input("a text needs a tokenizer\nhint: give token ids instead".into()));
            }
        };
        if rows.is_empty() || rows.iter().any(Vec::is_empty) {
            return Err(Error::Input("it is empty, or one of its rows is".into()));
        }
        let known = 0..arch.n_vocab as i64;
        match rows.iter().flatten().find(|id| !known.contains(id)) {
            Some(id) => {
                Err(Error::Input(format!("token {id} does not exist: the model has {}", arch.n_vocab)))
            }
            None => Ok(rows),
        }
    }
}

/// The activations at `hooks` of a run of `rows`, padded on the left.
fn reference_run(model: &Model, rows: &[Vec<i64>], hooks: &[Hook]) -> Result<ActivationCache> {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let padded = rows.iter().any(|row| row.len() < longest);
    let (ids, mask) = model.left_padded(rows, longest)?;
    // The final norm and the logits are computed at every position only if somebody takes their mean.
    let logits = match hooks.iter().any(|hook| hook.layer().is_none()) {
        true => LogitPositions::All,
        false => LogitPositions::Last,
    };
    let names = NameFilter::hooks(hooks);
    let run = Run { mask: padded.then_some(&mask), names, logits, ..Run::default() };
    Ok(tch::no_grad(|| model.run(&ids, run))?.cache)
}

/// Interventions with the runs that they take values from, checked against a model. Clones share these runs.
#[derive(Debug, Clone, Default)]
pub struct LoadedInterventions {
    interventions: Vec<Intervention>,
}

impl LoadedInterventions {
    /// Reads the file at `path`, runs its references on `model`, and checks everything.
    ///
    /// # Errors
    /// As [`InterventionFile::read`]; [`Error::Format`] naming the file for what [`InterventionFile::run`] refuses.
    pub fn load(path: &Path, model: &Model, tokenizer: Option<&Tokenizer>) -> Result<Self> {
        InterventionFile::read(path)?
            .run(model, tokenizer)
            .map_err(|error| Error::Format { file: path.display().to_string(), what: error.to_string() })
    }

    /// The interventions, in the order in which they are applied, each with the run that it takes values from: they can
    /// be bound without any other.
    pub fn interventions(&self) -> &[Intervention] {
        &self.interventions
    }

    /// They, ready to be applied.
    ///
    /// # Errors
    /// [`Error::Intervention`] if they do not fit `architecture`; never for the model that they were loaded for.
    pub fn bind(&self, architecture: &Architecture) -> Result<BoundInterventions<'_>> {
        BoundInterventions::new(architecture, &self.interventions, &[])
    }

    /// The same for another thread. Activations are not copied.
    pub fn shallow_clone(&self) -> Self {
        self.clone()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.interventions.is_empty()
    }
}
