//! Interventions that hold in every run of a sweep, beside what is patched.

use refrain_runner::{HookPoint, Intervention, StepIndex};

use crate::error::{Error, Result};

/// Interventions that hold throughout, and which generation step each position belongs to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Background {
    pub(crate) what: Vec<Intervention>,
    pub(crate) steps: StepIndex,
}

impl Background {
    /// Refuses what cannot hold in a restarted run.
    pub(crate) fn new(what: Vec<Intervention>, steps: StepIndex) -> Result<Self> {
        for one in &what {
            // The stream that a restarted run begins with has been through this hook already.
            if one.hook.point() == HookPoint::ResidPre || one.rows.is_some() {
                return Err(Error::Input(format!(
                    "an intervention on `{}`{} cannot be combined with patching",
                    one.hook,
                    if one.rows.is_some() { " in some rows of the batch" } else { "" }
                )));
            }
        }
        Ok(Background { what, steps })
    }

    /// They, and `more` after them.
    pub(crate) fn and(&self, more: impl IntoIterator<Item = Intervention>) -> Vec<Intervention> {
        self.what.iter().cloned().chain(more).collect()
    }
}
