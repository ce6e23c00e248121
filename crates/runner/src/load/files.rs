//! Where a model's files are: a folder in Hugging Face's layout (the user's, or one in the hub's cache), or inside this
//! binary.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::text::utf8;

/// A place that holds `config.json`, weights and a tokenizer.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    name: String,
    /// The commit, of a model of the hub.
    revision: Option<String>,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    Embedded(&'static [(&'static str, &'static [u8])]),
}

/// A file's contents, mapped or built in.
pub(crate) enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Static(bytes) => bytes,
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

impl ModelFiles {
    /// The folder at `path`.
    ///
    /// # Errors
    /// [`Error::Read`] if there is no such folder or no `config.json` in it.
    pub fn folder(path: &Path) -> Result<Self> {
        let missing = |path: &Path, hint| Error::Read { path: path.to_owned(), cause: absent(), hint };
        if !path.is_dir() {
            return Err(missing(
                path,
                "--model takes a local folder in Hugging Face's layout, or ORG/NAME of the hub",
            ));
        }
        let config = path.join("config.json");
        if !config.is_file() {
            return Err(missing(
                &config,
                "a model folder holds config.json, model.safetensors and tokenizer.json",
            ));
        }
        let absolute = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name =
            absolute.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
        Ok(ModelFiles { name, revision: None, place: Place::Folder(path.to_owned()) })
    }

    /// The files of a model of the hub, at `commit`, in `folder` of the cache.
    pub(crate) fn of_hub(name: &str, commit: &str, folder: PathBuf) -> Self {
        ModelFiles { name: name.to_owned(), revision: Some(commit.to_owned()), place: Place::Folder(folder) }
    }

    /// Files inside this binary, by name.
    pub(crate) fn built_in(name: &str, files: &'static [(&'static str, &'static [u8])]) -> Self {
        ModelFiles { name: name.to_owned(), revision: None, place: Place::Embedded(files) }
    }

    /// The model's name: that of its folder, or `ORG/NAME` on the hub.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The commit, if this is a model of the hub.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Whether this is the model inside the binary.
    pub fn is_embedded(&self) -> bool {
        matches!(self.place, Place::Embedded(_))
    }

    /// The names of all files, in order.
    pub(crate) fn list(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.place {
            Place::Embedded(files) => files.iter().map(|(name, _)| (*name).to_owned()).collect(),
            Place::Folder(folder) => std::fs::read_dir(folder)
                .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()))
                .map_or_else(|_| Vec::new(), Iterator::collect),
        };
        names.sort_unstable();
        names
    }

    /// Whether there is a file or anything else called `file`.
    pub(crate) fn holds(&self, file: &str) -> bool {
        match &self.place {
            Place::Embedded(files) => files.iter().any(|(name, _)| *name == file),
            Place::Folder(folder) => folder.join(file).exists(),
        }
    }

    /// How messages name one of the files.
    pub(crate) fn shown(&self, file: &str) -> String {
        match &self.place {
            Place::Folder(folder) => folder.join(file).display().to_string(),
            Place::Embedded(_) => format!("{}/{file} (built in)", self.name),
        }
    }

    /// The contents of `file`, none if it does not exist.
    pub(crate) fn read(&self, file: &str) -> Result<Option<Bytes>> {
        match &self.place {
            Place::Embedded(files) => {
                let found = files.iter().find(|(name, _)| *name == file);
                Ok(found.map(|(_, bytes)| Bytes::Static(bytes)))
            }
            Place::Folder(folder) => {
                let path = folder.join(file);
                let failed = |cause| Error::Read {
                    path: path.clone(),
                    cause,
                    hint: "check that the file is readable and complete",
                };
                let open = match File::open(&path) {
                    Ok(open) => open,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(failed(error)),
                };
                let length = open.metadata().map_err(failed)?.len();
                if length == 0 {
                    return Err(Error::Format { file: self.shown(file), what: "is empty".into() });
                }
                // SAFETY: the map is read-only and is dropped before the loader returns. A file that another
                // process shortens meanwhile would fault; no reader of mapped weights can prevent that.
                let map = unsafe { Mmap::map(&open) }.map_err(failed)?;
                Ok(Some(Bytes::Mapped(map)))
            }
        }
    }

    /// The contents of a small file that must exist.
    pub(crate) fn require(&self, file: &str, hint: &'static str) -> Result<Bytes> {
        self.read(file)?.ok_or_else(|| Error::Read { path: self.shown(file).into(), cause: absent(), hint })
    }

    /// The text of one of the files, without a byte order mark; none if there is no such file.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Format`] if it is not UTF-8.
    pub fn text(&self, file: &str) -> Result<Option<String>> {
        let Some(bytes) = self.read(file)? else { return Ok(None) };
        match utf8(&bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(what) => Err(Error::Format { file: self.shown(file), what }),
        }
    }

    /// SHA-256, in hex, of the named files one after the other, each preceded by its name and length.
    pub(crate) fn sha256(&self, files: &[String]) -> Result<String> {
        let mut hash = Sha256::new();
        for file in files {
            if let Some(bytes) = self.read(file)? {
                hash.update(format!("{file}\0{}\0", bytes.len()));
                for (at, chunk) in bytes.chunks(CHUNK).enumerate() {
                    hash.update(chunk);
                    bytes.release(at * CHUNK..at * CHUNK + chunk.len());
                }
            }
        }
        Ok(hex(&hash.finalize()))
    }
}

fn absent() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::NotFound, "it does not exist")
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
