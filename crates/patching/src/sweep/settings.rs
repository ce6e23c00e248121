//! What a sweep is to do.

use refrain_runner::Model;
use refrain_runner::architecture::Keys;
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::component::Component;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::pair::Pair;

/// What a sweep is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which kinds of place.
    pub components: Vec<Component>,
    /// What is read of every run.
    pub metrics: Vec<Metric>,
    /// What is done.
    pub change: Change,
    /// One position at a time instead of all at once.
    pub by_position: bool,
    /// At patterns and by position: one entry (query and key position) at a time.
    pub by_key_position: bool,
    /// Bytes that may be in use beside the model's weights.
    pub memory: u64,
    /// Runs side by side, each on one core; on a GPU there is one.
    pub threads: usize,
}

impl Settings {
    /// Refuses what makes no sense for the model or the pairs.
    pub(crate) fn check(&self, model: &Model, pairs: &[Pair]) -> Result<()> {
        let arch = model.architecture();
        if self.components.is_empty() || self.metrics.is_empty() {
            return Err(Error::Input("a sweep needs a component and a metric".into()));
        }
        for component in &self.components {
            if (0..arch.n_layers).all(|layer| component.count(arch, layer) == 0) {
                return Err(Error::Input(format!("a {} model has no `{component}` to patch", arch.family)));
            }
        }
        if self.metrics.contains(&Metric::LogitDiff)
            && let Some(pair) = pairs.iter().position(|pair| pair.foil.is_none())
        {
            return Err(Error::Input(format!(
                "pair {pair} has no incorrect answer, which the metric logit_diff needs\nhint: give one, or choose \
                    the metric logit"
            )));
        }
        if self.by_key_position && !(self.by_position && self.components == [Component::Pattern]) {
            return Err(Error::Input(
                "entries one at a time are those of `pattern`, alone and by position".into(),
            ));
        }
        if self.by_key_position && arch.layers.iter().any(|layer| matches!(layer.keys, Keys::OfLayer(_))) {
            return Err(Error::Input(format!(
                "layers of this {} model share keys: entries of patterns cannot be patched one at a time there\n\
                 hint: patch whole rows, by position",
                arch.family
            )));
        }
        Ok(())
    }
}
