//! Which hub, which cache, and who asks.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::load::watch::ProgressCallback;
use crate::text::read_text;

const ENDPOINT: &str = "https://huggingface.co";

/// Where models that are no local folders come from.
#[derive(Clone)]
pub struct Hub {
    /// The hub's address.
    pub endpoint: String,
    /// The cache's folder.
    pub cache: PathBuf,
    /// What shows the hub who asks.
    pub token: Option<String>,
    /// Use what is in the cache and nothing else.
    pub offline: bool,
    /// Is told of each file's download.
    pub watch: ProgressCallback,
}

impl fmt::Debug for Hub {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hub { endpoint, cache, offline, .. } = self;
        write!(f, "Hub {{ endpoint: {endpoint:?}, cache: {cache:?}, offline: {offline} }}")
    }
}

impl Hub {
    /// The hub as the environment describes it, with the variables of Hugging Face's own tools: `HF_ENDPOINT`;
    /// `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` or `HF_HOME` for the cache; `HF_TOKEN` or the file that
    /// `hf auth login` leaves for the token; `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`Error::Input`] if nothing says where the cache is.
    pub fn from_env() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let cache = || Some(PathBuf::from(set("XDG_CACHE_HOME")?));
        let home = set("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = cache().or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
            Some(cache.join("huggingface"))
        });
        let chosen = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")).map(PathBuf::from);
        let cache = chosen.or_else(|| Some(home.as_ref()?.join("hub"))).ok_or_else(|| {
            Error::Input("there is no home folder for the hub's cache\nhint: set HF_HOME to a folder".into())
        })?;
        let file = set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home?.join("token")));
        let token = text("HF_TOKEN").or_else(|| read_text(&file?).ok());
        let truth = |value: String| ["1", "on", "yes", "true"].contains(&&value.to_lowercase()[..]);
        Ok(Hub {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()).trim_end_matches('/').to_owned(),
            cache,
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: text("HF_HUB_OFFLINE").is_some_and(truth),
            watch: ProgressCallback::default(),
        })
    }
}
