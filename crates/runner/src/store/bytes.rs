//! A file's contents, mapped where they can be.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// A file's contents: mapped, built in, or made from the metadata of another file.
pub(crate) enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
    Made(Arc<[u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Static(bytes) => bytes,
            Bytes::Made(bytes) => bytes,
        }
    }
}

/// What is read at a time where a whole file need not be in memory at once.
pub(crate) const CHUNK: usize = 4 << 20;

impl Bytes {
    /// Lets go of the memory behind `range`, which has been read. Mapped pages count as this process's memory until
    /// then; touched again, they are read again.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = self {
            // SAFETY: the map is a read-only view of a file, so its pages hold nothing that the file does not; a later
            // access reads the same bytes from there. A refusal costs memory only.
            let _ = unsafe {
                map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
            };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// What is said of a file that is not there.
pub(crate) fn absent() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::NotFound, "it does not exist")
}

/// The file at `path`, mapped; none if it does not exist.
pub(crate) fn map(path: &Path) -> Result<Option<Bytes>> {
    let failed = |cause| Error::Read {
        path: path.to_owned(),
        cause,
        hint: "check that the file is readable and complete",
    };
    let open = match File::open(path) {
        Ok(open) => open,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let length = open.metadata().map_err(failed)?.len();
    if length == 0 {
        return Err(Error::Format { file: path.display().to_string(), what: "is empty".into() });
    }
    // SAFETY: the map is read-only and is dropped before the loader returns. A file that another
    // process shortens meanwhile would fault; no reader of mapped weights can prevent that.
    let map = unsafe { Mmap::map(&open) }.map_err(failed)?;
    Ok(Some(Bytes::Mapped(map)))
}
