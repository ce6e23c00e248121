//! The hub's cache on this machine, in the layout that Hugging Face's own tools share: `models--ORG--NAME/` with
//! `refs`, `blobs`, and a snapshot folder for every commit.

use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use crate::error::Result;
use crate::load::files::ModelFiles;
use crate::load::shards::{self, INDEX, SINGLE};

/// What a model folder may hold beside `config.json` and the weights.
pub(crate) const OPTIONAL: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"];

/// One model in the cache, at one revision.
pub(crate) struct CachedModel {
    name: String,
    cache: Cache,
    folder: PathBuf,
    revision: String,
}

impl CachedModel {
    pub(crate) fn new(cache: &Path, name: &str, revision: &str) -> Self {
        let folder = cache.join(repo(name, revision).folder_name());
        CachedModel {
            name: name.to_owned(),
            cache: Cache::new(cache.to_owned()),
            folder,
            revision: revision.to_owned(),
        }
    }

    fn at(&self, revision: &str) -> CacheRepo {
        self.cache.repo(repo(&self.name, revision))
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// The commit that the revision is known to be.
    pub(crate) fn commit(&self) -> Option<String> {
        if is_commit(&self.revision) {
            return Some(self.revision.clone());
        }
        let text = std::fs::read_to_string(self.reference(&self.revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Remembers that the revision is `commit`. A failure costs a question to the hub, the next time.
    pub(crate) fn remember(&self, commit: &str) {
        let _ = self.at(&self.revision).create_ref(commit);
        if self.revision != commit {
            // hf-hub, asked for the files of a commit, notes the commit under its own name.
            let _ = std::fs::remove_file(self.reference(commit));
        }
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.at(commit).pointer_path(commit)
    }

    /// Where the part of a file stays that an interrupted download has fetched.
    pub(crate) fn part(&self, etag: &str) -> PathBuf {
        let mut path = self.at(&self.revision).blob_path(etag);
        path.set_extension("part");
        path
    }

    /// A file that says of another that the repository does not hold it (`.no_exist`, as Hugging Face's tools have
    /// it), or that it has arrived and was not checked yet (`.unchecked`).
    fn mark(&self, kind: &str, commit: &str, file: &str) -> PathBuf {
        self.folder.join(kind).join(commit).join(file)
    }

    /// Notes that the repository does not hold `file`. A failure costs a question to the hub, the next time.
    pub(crate) fn note_absent(&self, commit: &str, file: &str) {
        let _ = touch(&self.mark(".no_exist", commit, file));
    }

    /// Until [`CachedModel::checked`], the file does not count.
    pub(crate) fn unchecked(&self, commit: &str, file: &str) -> std::io::Result<()> {
        touch(&self.mark(".unchecked", commit, file))
    }

    pub(crate) fn checked(&self, commit: &str, file: &str) -> std::io::Result<()> {
        std::fs::remove_file(self.mark(".unchecked", commit, file))
    }

    /// Takes a file that is not what it should be out of the cache.
    pub(crate) fn discard(&self, commit: &str, file: &str) {
        let pointer = self.snapshot(commit).join(file);
        if let Ok(blob) = std::fs::canonicalize(&pointer) {
            let _ = std::fs::remove_file(blob);
        }
        let _ = std::fs::remove_file(pointer);
    }

    /// Whether the file is there, whole.
    pub(crate) fn holds(&self, commit: &str, file: &str) -> bool {
        self.snapshot(commit).join(file).is_file() && !self.mark(".unchecked", commit, file).exists()
    }

    fn settled(&self, commit: &str, file: &str) -> bool {
        self.holds(commit, file) || self.mark(".no_exist", commit, file).exists()
    }

    /// The model at `commit`, if everything that it takes is here, and also everything that is optional, or the
    /// knowledge that there is no such file. `offline` does without that.
    pub(crate) fn whole(&self, commit: &str, offline: bool) -> Result<Option<ModelFiles>> {
        let files = self.files(commit);
        let sharded = !self.holds(commit, SINGLE) && self.holds(commit, INDEX);
        let weights = if sharded { shards::file_names(&files)? } else { vec![SINGLE.to_owned()] };
        let needed = weights.iter().map(String::as_str).chain(["config.json"]);
        let whole = needed.into_iter().all(|file| self.holds(commit, file))
            && (offline || OPTIONAL.iter().all(|file| self.settled(commit, file)));
        Ok(whole.then_some(files))
    }

    pub(crate) fn files(&self, commit: &str) -> ModelFiles {
        ModelFiles::of_hub(&self.name, commit, self.snapshot(commit))
    }
}

/// hf-hub's name for a model at a revision.
pub(crate) fn repo(name: &str, revision: &str) -> Repo {
    Repo::with_revision(name.to_owned(), RepoType::Model, revision.to_owned())
}

/// Commits become names of folders; what is none never does.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn touch(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, "")
}
