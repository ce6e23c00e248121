//! What a template may still build.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Bytes that all the values built in one rendering may have together.
const TOTAL: usize = 1 << 26;
/// Bytes that a value other than a text counts for.
const ENTRY: usize = 24;
/// How deep lists and mappings may stand in each other.
const DEEPEST: usize = 48;

/// Counts down over one rendering. Copies share the count.
#[derive(Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    pub(super) fn new() -> Self {
        Budget(Arc::new(AtomicUsize::new(TOTAL)))
    }

    /// Pays for `size` bytes.
    pub(super) fn take(&self, size: usize) -> Result<(), Error> {
        let left = self.0.load(Ordering::Relaxed);
        match left.checked_sub(size) {
            Some(left) => {
                self.0.store(left, Ordering::Relaxed);
                Ok(())
            }
            None => Err(refused("the template builds too much text")),
        }
    }

    /// Pays for a value written out in full; what is shared counts as often as it is met.
    pub(super) fn pay(&self, value: &Value) -> Result<usize, Error> {
        let before = self.0.load(Ordering::Relaxed);
        self.walk(value, DEEPEST)?;
        Ok(before - self.0.load(Ordering::Relaxed))
    }

    /// Pays for each of `values`.
    pub(super) fn pay_for(&self, values: &[Value]) -> Result<usize, Error> {
        values.iter().map(|value| self.pay(value)).sum()
    }

    fn walk(&self, value: &Value, deeper: usize) -> Result<(), Error> {
        if let Some(text) = value.as_str() {
            return self.take(1 + text.len());
        }
        self.take(ENTRY)?;
        let kind = value.kind();
        if !matches!(kind, ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
            return Ok(());
        }
        let Some(deeper) = deeper.checked_sub(1) else {
            return Err(refused("the template nests lists or mappings too deeply"));
        };
        for item in value.try_iter()?.checked() {
            let item = item?;
            self.walk(&item, deeper)?;
            if kind == ValueKind::Map {
                self.walk(&value.get_item(&item)?, deeper)?;
            }
        }
        Ok(())
    }
}

/// An error of the template.
pub(super) fn refused(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.into())
}
