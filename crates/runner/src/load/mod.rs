//! From a folder to a model.

mod checkpoint;
mod dtype;
mod embedded;
mod end;
mod files;
mod finite;
mod hints;
mod hub;
mod hub_cache;
mod hub_error;
mod shards;
mod watch;

use tch::Kind;

use crate::device::{self, DeviceChoice};
use crate::error::Result;
use crate::family::{self, Config};
use crate::model::Model;
use checkpoint::Checkpoint;
pub use dtype::{DTYPES, dtype, dtype_name};
pub use files::ModelFiles;
pub(crate) use hints::DEQUANTISE;
pub use hub::Hub;
pub use watch::ProgressCallback;

/// How a model is to be loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The dtype to compute in; none: the checkpoint's, which is the one that `config.json` states, or else the one that
    /// most of the weights are stored in. The embedded model, stored in f16 to be small, is then f32.
    pub kind: Option<Kind>,
    /// Where the weights go.
    pub device: DeviceChoice,
    /// Keys of `config.json` that are not understood and known not to matter.
    pub allowed_keys: Vec<String>,
    /// Refuse NaN and infinity among the weights.
    pub check_finite: bool,
    /// Is told how many bytes of the weights are read.
    pub watch: ProgressCallback,
}

impl Default for LoadOptions {
    /// The checkpoint's dtype on the CPU, every check on, watched by nobody.
    fn default() -> Self {
        LoadOptions {
            kind: None,
            device: DeviceChoice::Cpu,
            allowed_keys: Vec::new(),
            check_finite: true,
            watch: ProgressCallback::default(),
        }
    }
}

impl Model {
    /// Loads the model in `files`. Beside the weights it takes a few megabytes of memory, whatever their dtype and
    /// however they are cut into files.
    ///
    /// # Errors
    /// [`crate::Error::Read`] and [`crate::Error::Format`] for a file that is missing or broken,
    /// [`crate::Error::Config`] for a `config.json` that is not understood, [`crate::Error::Weight`] for a tensor
    /// that is missing, superfluous, of another shape than the configuration implies, or not finite,
    /// [`crate::Error::Device`] for a GPU that cannot be used.
    pub fn load(files: &ModelFiles, options: &LoadOptions) -> Result<Model> {
        let text = files.require("config.json", "a model folder holds config.json")?;
        let config = Config::parse(&text, &options.allowed_keys)?;
        let mut architecture = family::architecture(&config)?;
        if let Some(tokens) = end::tokens(files)? {
            architecture.eos = tokens;
        }
        let mut source = Checkpoint::open(files, options)?;
        source.kind = match options.kind {
            Some(kind) => kind,
            None if files.is_embedded() => Kind::Float,
            None => dtype::stated(&text)?.unwrap_or(source.kind),
        };
        let sizes = || device::part_sizes(&architecture, source.kind);
        source.placement = options.device.place(architecture.n_layers, sizes)?;
        let model = tch::no_grad(|| Model::from_source(architecture, &mut source))?;
        source.refuse_leftovers(model.architecture().tied.then_some(&model.weights().embed))?;
        Ok(model)
    }
}

impl ModelFiles {
    /// SHA-256, in hex, over `config.json` and the weight files, and `generation_config.json` where it states other tokens that
    /// end a text: what a result is a result of.
    ///
    /// # Errors
    /// [`crate::Error::Read`], [`crate::Error::Format`].
    pub fn model_sha256(&self) -> Result<String> {
        let mut names = vec!["config.json".to_owned()];
        names.extend(shards::file_names(self)?);
        if end::differs(self)? {
            names.push(end::GENERATION.to_owned());
        }
        self.sha256(&names)
    }
}
