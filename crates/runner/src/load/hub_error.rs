//! What can go wrong between here and the hub, said so that its reader can do something about it.

use std::fmt;

use hf_hub::api::sync::ApiError;

use crate::error::Error;
use crate::load::hub_cache::CachedModel;
use crate::load::hub_settings::Hub;

/// A model that is being fetched.
pub(crate) struct HubRequest<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) name: &'a str,
    pub(crate) revision: &'a str,
    pub(crate) cached: CachedModel,
}

impl fmt::Display for HubRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model {} at revision {}", self.name, self.revision)
    }
}

/// What was under way when something went wrong.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Doing {
    Asking,
    Downloading,
}

impl HubRequest<'_> {
    pub(crate) fn failed(&self, doing: Doing, file: Option<&str>, error: &ApiError) -> Error {
        let what = match error {
            ApiError::RequestError(error) => match **error {
                ureq::Error::StatusCode(status) => return self.status(status, file),
                ref other => other.to_string(),
            },
            ApiError::LockAcquisition(lock) => {
                return Error::Hub {
                    what: self.shown(file),
                    cause: "another process is fetching it".into(),
                    hint: format!("wait for that, or remove {} if there is none", lock.display()),
                };
            }
            other => other.to_string(),
        };
        self.error(doing, file, &what)
    }

    fn shown(&self, file: Option<&str>) -> String {
        file.map_or_else(|| self.to_string(), |file| format!("{self}: {file}"))
    }

    pub(crate) fn error(&self, doing: Doing, file: Option<&str>, why: &str) -> Error {
        let endpoint = &self.hub.endpoint;
        let here = if file.is_none() { "no such folder here, and " } else { "" };
        let (cause, hint) = match doing {
            Doing::Asking => (
                format!("{here}no usable answer from {endpoint}: {why}"),
                "check the network (and HF_ENDPOINT, HTTPS_PROXY); --offline uses what is in the cache",
            ),
            Doing::Downloading => (
                format!("the download from {endpoint} was interrupted or is not whole: {why}"),
                "run it again: what is whole is kept. If it stays so, check the network and the space left on the disk",
            ),
        };
        Error::Hub { what: self.shown(file), cause, hint: hint.into() }
    }

    /// The hub's refusals.
    fn status(&self, status: u16, file: Option<&str>) -> Error {
        let endpoint = &self.hub.endpoint;
        let page = format!("{endpoint}/{}", self.name);
        let hint = match (status, &self.hub.token) {
            (401 | 403, None) => format!(
                "check the name. If the model is gated or private, accept its licence at {page} and set HF_TOKEN (or \
                    run `hf auth login`)"
            ),
            (401 | 403, Some(_)) => format!(
                "check the name. If the model is gated or private, accept its licence at {page} with the account that \
                    your token belongs to, and check that the token is valid"
            ),
            (404, _) => format!("check the name and --revision at {page}"),
            _ => "the hub may be busy: try again later; --offline uses what is in the cache".into(),
        };
        let meaning = match status {
            401 | 403 => " (not allowed)",
            404 => " (not found)",
            _ => "",
        };
        let cause = match file {
            None => format!("no such folder here, and {endpoint} answers {status}{meaning}"),
            Some(_) => format!("{endpoint} answers {status}{meaning}"),
        };
        Error::Hub { what: self.shown(file), cause, hint }
    }
}
