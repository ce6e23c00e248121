//! `run.toml`: what a run is, what it was asked for, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use refrain_runner::read_text;

use super::disk::{Provenance, sha256_hex, write_atomically};

/// The file's name in the folder of a run.
pub const FILE: &str = "run.toml";

/// The layout of run folders that this program writes. There is no reading of others.
const LAYOUT: u32 = 2;

/// A manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    layout: u32,
    /// The experiment's name.
    pub experiment: String,
    /// A short name of the run, the same wherever the same is asked for: of its experiment, settings and
    /// provenance.
    pub run: String,
    /// Whether the final tables are there.
    pub complete: bool,
    /// The builds of the program that did parts of it.
    pub versions: Vec<String>,
    /// What the results depend on.
    pub settings: toml::Table,
    /// What the results come from.
    pub provenance: Provenance,
    /// All flags of the call that began the run, so that it can be taken up again.
    pub flags: toml::Table,
    /// What there is to say about a complete run: times, numbers of rows.
    #[serde(default)]
    pub facts: toml::Table,
    /// SHA-256 of every table.
    #[serde(default)]
    pub tables: BTreeMap<String, String>,
}

impl Manifest {
    /// The manifest of a run that begins now.
    ///
    /// # Errors
    /// If the settings cannot be written down.
    pub fn new(
        experiment: &str,
        settings: toml::Table,
        provenance: Provenance,
        flags: toml::Table,
    ) -> Result<Self> {
        let mut manifest = Manifest {
            layout: LAYOUT,
            experiment: experiment.to_owned(),
            run: String::new(),
            complete: false,
            versions: vec![crate::VERSION.to_owned()],
            settings,
            provenance,
            flags,
            facts: toml::Table::new(),
            tables: BTreeMap::new(),
        };
        manifest.run = manifest.identity()?.chars().take(8).collect();
        Ok(manifest)
    }

    /// SHA-256 of what tells one run from another: experiment, settings and provenance.
    ///
    /// # Errors
    /// If the settings cannot be written down.
    pub fn identity(&self) -> Result<String> {
        let provenance = toml::Table::try_from(&self.provenance)?;
        let identity = toml::Table::from_iter([
            ("experiment".to_owned(), self.experiment.clone().into()),
            ("settings".to_owned(), self.settings.clone().into()),
            ("provenance".to_owned(), provenance.into()),
        ]);
        Ok(sha256_hex(toml::to_string(&identity).context("writing down the settings")?.as_bytes()))
    }

    /// The same without these settings.
    #[must_use]
    pub fn without(&self, settings: &[&str]) -> Self {
        let mut manifest = self.clone();
        manifest.settings.retain(|key, _| !settings.contains(&key));
        manifest
    }

    /// Reads the manifest in `folder`; none if there is none.
    ///
    /// # Errors
    /// If the file is broken, or of another layout.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let table: toml::Table =
            toml::from_str(&read_text(&path)?).with_context(|| format!("{} is broken", path.display()))?;
        let layout = table.get("layout").and_then(toml::Value::as_integer);
        if layout != Some(i64::from(LAYOUT)) {
            bail!(
                "{} was written by {} version of refrain, whose runs this one does not read\nhint: choose another \
                    --out, or move the folder away",
                folder.display(),
                if layout.is_some() { "a newer" } else { "an older" },
            );
        }
        let manifest = table.try_into().with_context(|| format!("{} is broken", path.display()))?;
        Ok(Some(manifest))
    }

    /// Writes it into `folder`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_atomically(&folder.join(FILE), toml::to_string(self)?.as_bytes())
    }

    /// What differs between two runs in experiment, settings and provenance, a line each, as `name: one there,
    /// other now`.
    pub fn differences(&self, now: &Manifest) -> Vec<String> {
        let mut lines = Vec::new();
        let mut differ = |name: &str, there: Option<String>, now: Option<String>| {
            if there != now {
                let shown = |value: Option<String>| value.unwrap_or_else(|| "unset".to_owned());
                lines.push(format!("{name}: {} there, {} now", shown(there), shown(now)));
            }
        };
        differ("experiment", Some(self.experiment.clone()), Some(now.experiment.clone()));
        for key in keys(self.settings.keys(), now.settings.keys()) {
            let of = |table: &toml::Table| table.get(key).map(toml::Value::to_string);
            differ(&format!("--{key}"), of(&self.settings), of(&now.settings));
        }
        let (mut there, mut here) = (self.provenance.clone(), now.provenance.clone());
        for shown in ["seed", "experiment"] {
            // The settings have said it.
            there.remove(shown);
            here.remove(shown);
        }
        if there.get("model") != here.get("model") {
            // Another model has other hashes.
            for implied in ["model_sha256", "tokenizer_sha256", "revision", "prompts_sha256"] {
                there.remove(implied);
                here.remove(implied);
            }
            for provenance in [&mut there, &mut here] {
                provenance.retain(|key, _| key != "weights" && !key.starts_with("gguf_"));
            }
        }
        for key in keys(there.keys(), here.keys()) {
            let (there, here) = (there.get(key), here.get(key));
            match key.strip_suffix("_sha256") {
                Some(what) if there != here => {
                    differ(&format!("contents of the {what}"), Some(short(there)), Some(short(here)))
                }
                Some(_) => {}
                None => differ(key, there.cloned(), here.cloned()),
            }
        }
        lines
    }
}

fn keys<'a>(
    one: impl Iterator<Item = &'a String>,
    other: impl Iterator<Item = &'a String>,
) -> BTreeSet<&'a String> {
    one.chain(other).collect()
}

/// The beginning of a hash.
fn short(hash: Option<&String>) -> String {
    hash.map_or_else(|| "none".to_owned(), |hash| hash.chars().take(8).collect())
}
