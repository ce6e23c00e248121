//! From a folder to a model.

use tch::{Device, Kind};

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::family::{self, Config};
use crate::files::ModelFiles;
use crate::model::Model;

/// How a model is to be loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The dtype to compute in.
    pub kind: Kind,
    /// Where the weights go.
    pub device: Device,
    /// Keys of `config.json` that are not understood and known not to matter.
    pub allowed_keys: Vec<String>,
    /// Refuse NaN and infinity among the weights.
    pub check_finite: bool,
}

impl Default for LoadOptions {
    /// f32 on the CPU, every check on.
    fn default() -> Self {
        LoadOptions { kind: Kind::Float, device: Device::Cpu, allowed_keys: Vec::new(), check_finite: true }
    }
}

impl Model {
    /// Loads the model in `files`.
    ///
    /// # Errors
    /// [`crate::Error::Read`] and [`crate::Error::Format`] for a file that is missing or broken,
    /// [`crate::Error::Config`] for a `config.json` that is not understood, [`crate::Error::Weight`] for a tensor
    /// that is missing, superfluous, of another shape than the configuration implies, or not finite.
    pub fn load(files: &ModelFiles, options: &LoadOptions) -> Result<Model> {
        let config = files.require("config.json", "a model folder holds config.json")?;
        let config = Config::parse(&config, &options.allowed_keys)?;
        let architecture = family::architecture(&config)?;
        let mut source = Checkpoint::open(files, options.kind, options.device, options.check_finite)?;
        let model = tch::no_grad(|| Model::from_source(architecture, &mut source))?;
        source.refuse_leftovers(model.architecture().tied.then_some(&model.weights().embed))?;
        Ok(model)
    }
}

impl ModelFiles {
    /// SHA-256, in hex, over `config.json` and the weight files: what a result is a result of.
    ///
    /// # Errors
    /// [`crate::Error::Read`], [`crate::Error::Format`].
    pub fn model_sha256(&self) -> Result<String> {
        let mut names = vec!["config.json".to_owned()];
        names.extend(Checkpoint::file_names(self)?);
        self.sha256(&names)
    }
}
