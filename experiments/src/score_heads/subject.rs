//! The model under study and the pairs of prompts.

use std::path::Path;

use anyhow::{Context, Result, bail};
use refrain_patching::task::{Language, jsonl::Reader};
use refrain_patching::{Metric, Pair};
use refrain_runner::{Model, Tokenizer};

use super::method::Method;
use super::settings::{ResolvedSettings, Settings};
use crate::disk::{Provenance, sha256_hex};
use crate::model_args::{ModelArgs, provenance};
use crate::vocabulary::candidates;

/// Pairs of a task that is drawn.
const PAIRS: usize = 64;

/// A loaded model and what it is tried on.
pub struct Subject {
    /// The model.
    pub model: Model,
    /// The same in bf16, for screening.
    pub narrow: Option<Model>,
    /// What it is called.
    pub name: String,
    /// SHA-256 of configuration and weights.
    sha256: String,
    /// SHA-256 of the tokenizer, if there is one.
    tokenizer_sha256: Option<String>,
    /// What the provenance says of the model beside that.
    origin: Vec<(&'static str, String)>,
    /// Tokens to draw from.
    pub candidates: Vec<i64>,
    /// The task's name, or its file's.
    pub task: String,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

impl Subject {
    /// Loads the model and draws or reads the pairs.
    ///
    /// # Errors
    /// What is wrong with the model, the tokenizer or the file.
    pub fn load(settings: &Settings, asked: &ResolvedSettings) -> Result<Self> {
        let (files, model) = settings.model.load(settings.quiet)?;
        let narrow = match asked.methods.contains(&Method::Screening) {
            true => {
                let args = ModelArgs { dtype: Some("bf16".into()), ..settings.model.clone() };
                Some(args.load(settings.quiet)?.1)
            }
            false => None,
        };
        let arch = model.architecture();
        let tokenizer = match files.text("tokenizer.json")? {
            Some(_) => Some(Tokenizer::load(&files, arch.n_vocab)?),
            None => None,
        };
        let candidates = candidates(&files, arch, tokenizer.as_ref())?;
        let (task, pairs) = match asked.task {
            Some(task) => {
                let language = Language {
                    candidates: &candidates,
                    bos: arch.bos,
                    tokenizer: tokenizer.as_ref(),
                    window: arch.n_ctx,
                };
                let pairs = task.pairs(&language, settings.pairs.unwrap_or(PAIRS), settings.seed)?;
                (task.name().to_owned(), pairs)
            }
            None => {
                let path = Path::new(&settings.task);
                let reader =
                    Reader { tokenizer: tokenizer.as_ref(), n_vocab: arch.n_vocab, window: arch.n_ctx };
                let mut pairs = reader.read(path)?;
                if let Some(most) = settings.pairs {
                    if most > pairs.len() {
                        bail!("--pairs {most}: {} has {}", path.display(), pairs.len());
                    }
                    pairs.truncate(most);
                }
                let name = path.file_name().unwrap_or(path.as_os_str());
                (name.to_string_lossy().into_owned(), pairs)
            }
        };
        Ok(Subject {
            name: files.name().to_owned(),
            sha256: files.model_sha256()?,
            tokenizer_sha256: tokenizer.as_ref().map(|tokenizer| tokenizer.sha256().to_owned()),
            origin: provenance(&files, &model),
            candidates,
            task,
            pairs,
            model,
            narrow,
        })
    }

    /// The metrics asked for, or the usual one.
    ///
    /// # Errors
    /// For one that needs foils where some pairs have none.
    pub fn metrics(&self, asked: &ResolvedSettings) -> Result<Vec<Metric>> {
        let without = self.pairs.iter().filter(|pair| pair.foil.is_none()).count();
        if asked.metrics.is_empty() {
            return Ok(vec![if without == 0 { Metric::LogitDiff } else { Metric::Logit }]);
        }
        if without > 0 && asked.metrics.contains(&Metric::LogitDiff) {
            let others = Metric::ALL.iter().copied().filter(|metric| *metric != Metric::LogitDiff);
            let others: Vec<&str> = others.map(Metric::name).collect();
            bail!(
                "logit_diff needs a foil in every pair, and {without} of the {} pairs of {} have none\nhint: without foils there are \
                 {}",
                self.pairs.len(),
                self.task,
                others.join(", ")
            );
        }
        Ok(asked.metrics.clone())
    }

    /// The lengths of the prompts, shortest and longest.
    pub fn lengths(&self) -> (usize, usize) {
        let lengths = || self.pairs.iter().map(|pair| pair.clean.len());
        (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0))
    }

    /// What every table says of its origin.
    ///
    /// # Errors
    /// If the settings cannot be written.
    pub fn provenance(
        &self,
        settings: &Settings,
        asked: &ResolvedSettings,
        metrics: &[Metric],
    ) -> Result<Provenance> {
        let of_pair = |pair: &Pair| (pair.clean.clone(), pair.corrupted.clone(), pair.answer, pair.foil);
        let prompts: Vec<_> = self.pairs.iter().map(of_pair).collect();
        let recorded = toml::to_string(&settings.recorded(metrics)?).context("writing down the settings")?;
        let direction = asked.methods.iter().find_map(|method| method.direction(asked));
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name()).collect();
        let ablations: Vec<&str> = asked
            .methods
            .iter()
            .map(|method| method.name())
            .filter(|name| name.ends_with("-ablation"))
            .collect();
        let ablation = match ablations.join(",") {
            none if none.is_empty() => "none".to_owned(),
            some if settings.pooled => format!("{some} (mean over positions too)"),
            some => some,
        };
        let task = asked.task.map_or("file", |task| task.name());
        let entries = [
            ("experiment", "score-heads".to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("model_sha256", self.sha256.clone()),
            ("seed", settings.seed.to_string()),
            ("task", task.to_owned()),
            ("settings_sha256", sha256_hex(recorded.as_bytes())),
            ("prompts_sha256", sha256_hex(serde_json::to_string(&prompts)?.as_bytes())),
            ("metric", names.join(",")),
            ("direction", direction.unwrap_or("none").to_owned()),
            ("ablation", ablation),
        ];
        let tokenizer = self.tokenizer_sha256.clone().map(|hash| ("tokenizer_sha256", hash));
        let entries = entries.into_iter().chain(tokenizer).chain(self.origin.clone());
        Ok(entries.map(|(key, value)| (key.to_owned(), value)).collect())
    }
}
