//! How a model is to be loaded.

use tch::Kind;

use crate::device::DeviceChoice;
use crate::load::watch::ProgressCallback;

/// How a model is to be loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The dtype to compute in; none: the checkpoint's, which is the one that `config.json` states, or else the one
    /// that most of the weights are stored in. The built-in model, stored in f16 to be small, is then f32.
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
