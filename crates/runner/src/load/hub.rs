//! Models of the Hugging Face hub: what is missing in the cache is fetched, checked and then used from there.
//!
//! hf-hub fetches a file; that it is whole is seen to here, by the size and, where the hub states one, the SHA-256.

use std::path::Path;

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::load::fetched::Fetchable;
use crate::load::files::{ModelFiles, hex};
use crate::load::hub_cache::{CachedModel, OPTIONAL, is_commit, repo};
use crate::load::hub_error::{Doing, HubRequest};
use crate::load::hub_settings::Hub;
use crate::load::shards::{self, INDEX, SINGLE};
use crate::load::watch::ProgressCallback;
use crate::panics::caught;
use crate::store::bytes::CHUNK;

impl Hub {
    /// Whether `text` has the form of a model's name on the hub, `ORG/NAME`.
    pub fn is_name(text: &str) -> bool {
        let is_safe = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && !part.contains("..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        text.len() <= 96 && text.split_once('/').is_some_and(|(org, name)| is_safe(org) && is_safe(name))
    }

    /// The files of `name` (`ORG/NAME`) at `revision`, a branch, a tag or a commit (none: `main`). What the cache
    /// holds is used as it is; only what it lacks is fetched. Weights that are not in safetensors files are not.
    ///
    /// # Errors
    /// [`Error::Hub`] if the model cannot be had, [`Error::Input`] for a name or a revision that can be none.
    pub fn model(&self, name: &str, revision: Option<&str>) -> Result<ModelFiles> {
        let revision = revision.unwrap_or("main");
        if !Hub::is_name(name) {
            return Err(Error::Input(format!(
                "`{name}` is not a model's name\nhint: names have the form ORG/NAME"
            )));
        }
        let is_safe = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && !part.contains("..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
        };
        if revision.len() > 200 || !revision.split('/').all(is_safe) {
            return Err(Error::Input(format!(
                "`{revision}` is not a revision\nhint: --revision takes a branch, a tag or a commit"
            )));
        }
        let cached = CachedModel::new(&self.cache, name, revision);
        if let Some(commit) = cached.commit()
            && let Some(files) = cached.whole(&commit, self.offline)?
        {
            return Ok(files);
        }
        let asked = HubRequest { hub: self, name, revision, cached };
        if self.offline {
            return Err(Error::Hub {
                what: asked.to_string(),
                cause: format!("not (wholly) in the cache at {}, and this is offline", self.cache.display()),
                hint: "fetch it once without --offline and without HF_HUB_OFFLINE, or name a local folder"
                    .into(),
            });
        }
        caught(|| asked.fetch())
            .unwrap_or_else(|| Err(asked.error(Doing::Asking, None, "the answer makes no sense")))
    }
}

impl ModelFiles {
    /// The model that `model` names: the GGUF file or the folder of that path if it exists, else the fetched model
    /// of that name ([`Fetchable`]), else, if it has the form `ORG/NAME`, that one of `hub` at `revision`.
    ///
    /// # Errors
    /// As [`ModelFiles::gguf`], [`ModelFiles::folder`] and [`Hub::model`]; [`Error::Input`] for the revision of a file
    /// or a folder.
    pub fn find(model: &str, revision: Option<&str>, hub: impl FnOnce() -> Result<Hub>) -> Result<Self> {
        let path = Path::new(model);
        let fetched = Fetchable::named(model).filter(|_| !path.exists());
        let (files, what) = if let Some(fetched) = fetched {
            (ModelFiles::gguf(&fetched.path()?)?, "fetched model")
        } else if ModelFiles::is_gguf(path) {
            (ModelFiles::gguf(path)?, "file")
        } else if !path.exists() && Hub::is_name(model) {
            return hub()?.model(model, revision);
        } else {
            (ModelFiles::folder(path)?, "folder")
        };
        match revision {
            None => Ok(files),
            Some(revision) => Err(Error::Input(format!(
                "{model} is a {what} here and has no revision `{revision}`\nhint: --revision is for Hub models"
            ))),
        }
    }
}

impl HubRequest<'_> {
    fn fetch(&self) -> Result<ModelFiles> {
        let hub = self.hub;
        let api = ApiBuilder::from_cache(hf_hub::Cache::new(hub.cache.clone()))
            .with_endpoint(hub.endpoint.clone())
            .with_token(hub.token.clone())
            .with_user_agent("refrain", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| self.failed(Doing::Asking, None, &error))?;
        let about = api.repo(repo(self.name, self.revision)).info();
        let about = about.map_err(|error| self.failed(Doing::Asking, None, &error))?;
        let commit = about.sha;
        if !is_commit(&commit) {
            return Err(self.error(Doing::Asking, None, "it states no commit, so it is not a hub"));
        }
        let offered: Vec<String> = about.siblings.into_iter().map(|file| file.rfilename).collect();
        let offers = |file: &str| offered.iter().any(|offered| offered == file);
        let repo = api.repo(repo(self.name, &commit));
        let fetch = |file: &str| {
            if self.cached.holds(&commit, file) { Ok(()) } else { self.file(&api, &repo, &commit, file) }
        };
        if !offers(INDEX)
            && !offers(SINGLE)
            && let Some(pickle) = offered.iter().find(|file| shards::is_pickle(file))
        {
            return Err(Error::Format {
                file: format!("{}/{pickle}", self.name),
                what: shards::refusal(self.name),
            });
        }
        fetch("config.json")?;
        for file in OPTIONAL {
            if offers(file) { fetch(file)? } else { self.cached.note_absent(&commit, file) }
        }
        let files = self.cached.files(&commit);
        // The order of `shards::file_names`.
        if offers(INDEX) && !offers(SINGLE) {
            fetch(INDEX)?;
            shards::file_names(&files)?.iter().try_for_each(|file| fetch(file))?;
        } else {
            fetch(SINGLE)?;
        }
        self.cached.remember(&commit);
        Ok(files)
    }

    /// Fetches one file, and lets it count when it is whole.
    fn file(&self, api: &Api, repo: &ApiRepo, commit: &str, file: &str) -> Result<()> {
        let stated = api.metadata(&repo.url(file));
        let stated = stated.map_err(|error| self.failed(Doing::Asking, Some(file), &error))?;
        if stated.commit_hash() != commit {
            return Err(self.error(Doing::Asking, Some(file), "it is of another commit than was asked for"));
        }
        // It becomes the name of a file.
        if stated.etag().is_empty() || stated.etag().contains(['/', '\\']) || stated.etag().starts_with('.') {
            return Err(self.error(Doing::Asking, Some(file), "its ETag is none that a hub gives"));
        }
        let part = self.cached.part(stated.etag());
        // A part that is all of it, or more, cannot be continued.
        if std::fs::metadata(&part).is_ok_and(|part| part.len() >= stated.size() as u64) {
            let _ = std::fs::remove_file(&part);
        }
        let disk = |error: std::io::Error| self.failed(Doing::Downloading, Some(file), &error.into());
        self.cached.unchecked(commit, file).map_err(disk)?;
        let shown = Shown { watch: &self.hub.watch, file: file.to_owned(), done: 0, total: 0 };
        let path = repo.download_with_progress(file, shown);
        let path = path.map_err(|error| self.failed(Doing::Downloading, Some(file), &error))?;
        if let Some(wrong) = wrong(&path, stated.size() as u64, stated.etag()).map_err(disk)? {
            self.cached.discard(commit, file);
            return Err(self.error(Doing::Downloading, Some(file), &wrong));
        }
        self.cached.checked(commit, file).map_err(disk)
    }
}

/// What is wrong with a file that should have `size` bytes, and, if its ETag is a SHA-256, that hash.
fn wrong(path: &Path, size: u64, etag: &str) -> std::io::Result<Option<String>> {
    use std::io::Read;
    let mut file = std::fs::File::open(path)?;
    let found = file.metadata()?.len();
    if found != size {
        return Ok(Some(format!("{found} bytes came, of {size}")));
    }
    if etag.len() != 64 || !etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    let hash = hex(&hash.finalize());
    Ok((hash != etag.to_lowercase()).then(|| format!("its SHA-256 is {hash} and should be {etag}")))
}

/// Tells the watch what hf-hub tells.
struct Shown<'a> {
    watch: &'a ProgressCallback,
    file: String,
    done: u64,
    total: u64,
}

impl Progress for Shown<'_> {
    fn init(&mut self, size: usize, _: &str) {
        (self.done, self.total) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.watch.tell(&self.file, self.done.min(self.total), self.total);
    }

    fn finish(&mut self) {
        self.watch.tell(&self.file, self.total, self.total);
    }
}
