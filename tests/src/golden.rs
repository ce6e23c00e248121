//! The models in `tests/goldens` and what `transformers` computes with them: see the README there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use refrain_runner::{LoadOptions, Model, ModelFiles};
use tch::{Kind, Tensor};

use crate::Result;

/// The models that have a `golden.safetensors`.
pub const MODELS: [&str; 8] = [
    "gpt2-tied",
    "gpt2-untied",
    "gpt2-odd",
    "llama-mha-tied",
    "llama-mha-untied",
    "llama-gqa",
    "llama-mqa",
    "llama-bias",
];

/// The folder of the model `name`.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name)
}

/// The model `name`, loaded from its folder, computing in `kind`.
pub fn model(name: &str, kind: Kind) -> Result<Model> {
    let options = LoadOptions { kind: Some(kind), ..LoadOptions::default() };
    Ok(Model::load(&ModelFiles::folder(&folder(name))?, &options)?)
}

/// A model in f64 and what `transformers` computes with it.
#[derive(Debug)]
pub struct Golden {
    /// The model's folder.
    pub name: &'static str,
    /// The model.
    pub model: Model,
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    /// Every golden model.
    pub fn all() -> Result<Vec<Golden>> {
        MODELS.into_iter().map(Golden::load).collect()
    }

    /// The model `name` and its golden tensors.
    pub fn load(name: &'static str) -> Result<Golden> {
        let tensors = Tensor::read_safetensors(folder(name).join("golden.safetensors"))?;
        Ok(Golden { name, model: model(name, Kind::Double)?, tensors: tensors.into_iter().collect() })
    }

    /// The golden tensor `key`.
    pub fn get(&self, key: &str) -> Result<&Tensor> {
        self.tensors.get(key).ok_or_else(|| format!("{}: no golden tensor `{key}`", self.name).into())
    }

    /// The golden tensor `key`, which is in double precision; a narrower one would make a tolerance of 1e-9 a farce.
    pub fn double(&self, key: &str) -> Result<&Tensor> {
        match self.get(key)? {
            tensor if tensor.kind() == Kind::Double => Ok(tensor),
            other => Err(format!("{}: `{key}` is {:?}", self.name, other.kind()).into()),
        }
    }
}

/// A tensor of token ids as rows.
pub fn rows(ids: &Tensor) -> Result<Vec<Vec<i64>>> {
    Ok(Vec::<Vec<i64>>::try_from(ids)?)
}

/// The columns of `row` that `mask` marks as real, as `(columns, ids of shape [1, n])`.
pub fn real_columns(ids: &Tensor, mask: &Tensor, row: i64) -> (Tensor, Tensor) {
    let columns = mask.get(row).nonzero().squeeze_dim(1);
    let ids = ids.get(row).index_select(0, &columns).unsqueeze(0);
    (columns, ids)
}
