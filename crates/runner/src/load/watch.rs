//! Progress of something that takes its time, told to whoever wants to show it.

use std::fmt;
use std::sync::Arc;

/// Is told how far loading or a download is: the name of what moves, bytes done, and bytes in all. The default tells
/// nobody.
#[derive(Clone, Default)]
pub struct ProgressCallback(Option<Arc<Told>>);

type Told = dyn Fn(&str, u64, u64) + Send + Sync;

impl ProgressCallback {
    /// Tells `told`, often.
    pub fn new(told: impl Fn(&str, u64, u64) + Send + Sync + 'static) -> Self {
        ProgressCallback(Some(Arc::new(told)))
    }

    pub(crate) fn tell(&self, what: &str, done: u64, total: u64) {
        if let Some(told) = &self.0 {
            told(what, done, total);
        }
    }
}

impl fmt::Debug for ProgressCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ProgressCallback(..)" } else { "ProgressCallback(nobody)" })
    }
}
