//! The run that an intervention takes values from.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::cache::ActivationCache;

/// The run that [`crate::Action::Replace`] and [`crate::Mean`] take values from: its name and, where it has been made,
/// its activations. In JSON it is the name. Clones share the activations.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Source {
    name: String,
    run: Option<Arc<Mutex<ActivationCache>>>,
}

impl Source {
    /// The run's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same with the run itself: then nobody has to give it where interventions are bound.
    pub(crate) fn with_run(self, run: &SharedRun) -> Self {
        Source { run: Some(run.0.clone()), ..self }
    }

    /// The run's activations, if it has been made. Nothing is copied.
    pub(crate) fn run(&self) -> Option<ActivationCache> {
        let run = self.run.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(run.shallow_clone())
    }
}

/// A run that several interventions take values from, on several threads.
pub(crate) struct SharedRun(Arc<Mutex<ActivationCache>>);

impl From<ActivationCache> for SharedRun {
    fn from(run: ActivationCache) -> Self {
        SharedRun(Arc::new(Mutex::new(run)))
    }
}

impl From<String> for Source {
    fn from(name: String) -> Self {
        Source { name, run: None }
    }
}

impl From<&str> for Source {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.name
    }
}

/// The same name, and the same run or none.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.run, &other.run) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        self.name == other.name && same
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
