//! The models in `tests/goldens` and what `transformers` computes with them: see the README there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use refrain_runner::{DeviceChoice, LoadOptions, Model, ModelFiles};
use tch::{Kind, Tensor};

use crate::Result;

/// The models that have a `golden.safetensors`, as `index.json` lists them: name and family.
pub fn models() -> Result<Vec<(String, String)>> {
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(folder("index.json"))?)?;
    let text = |entry: &serde_json::Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
    let entries = index.as_array().ok_or("index.json is no list")?.iter();
    entries
        .map(|entry| Ok((text(entry, "name").ok_or("no name")?, text(entry, "family").ok_or("no family")?)))
        .collect()
}

/// The folder of the model `name`.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name)
}

/// The model `name`, loaded from its folder, computing in `kind`, from then on with one thread: these models are so
/// small that libtorch's threads would only wait for each other, and the tests run side by side already.
pub fn model(name: &str, kind: Kind) -> Result<Model> {
    tch::set_num_threads(1);
    let options = LoadOptions { kind: Some(kind), ..LoadOptions::default() };
    Ok(Model::load(&ModelFiles::folder(&folder(name))?, &options)?)
}

/// A model in f64 and what `transformers` computes with it.
#[derive(Debug)]
pub struct Golden {
    /// The model's folder.
    pub name: String,
    /// The model.
    pub model: Model,
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    /// Every golden model.
    pub fn all() -> Result<Vec<Golden>> {
        models()?.into_iter().map(|(name, _)| Golden::load(&name)).collect()
    }

    /// The first model of each family, for what is the same in its variants, or too slow to try on all.
    pub fn one_of_each_family() -> Result<Vec<Golden>> {
        let mut families = BTreeSet::new();
        let first = models()?.into_iter().filter(|(_, family)| families.insert(family.clone()));
        first.map(|(name, _)| Golden::load(&name)).collect()
    }

    /// The model `name` and its golden tensors.
    pub fn load(name: &str) -> Result<Golden> {
        let tensors = Tensor::read_safetensors(folder(name).join("golden.safetensors"))?;
        Ok(Golden {
            name: name.to_owned(),
            model: model(name, Kind::Double)?,
            tensors: tensors.into_iter().collect(),
        })
    }

    /// The same with the model on `device`.
    pub fn on(name: &str, device: DeviceChoice) -> Result<Golden> {
        let golden = Golden::load(name)?;
        let options = LoadOptions { kind: Some(Kind::Double), device, ..LoadOptions::default() };
        let model = Model::load(&ModelFiles::folder(&folder(name))?, &options)?;
        let place = model.device();
        let moved = |(name, tensor): (String, Tensor)| (name, tensor.to_device(place));
        Ok(Golden { model, tensors: golden.tensors.into_iter().map(moved).collect(), ..golden })
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
