//! Weights in safetensors files, one or several with an index.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::files::{Bytes, ModelFiles};
use crate::weights::{Source, check_shape};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Tensors that old checkpoints carry and that are no weights: masks and rotary tables.
const NO_WEIGHTS: [&str; 5] =
    [".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"];

/// Open safetensors files as a [`Source`] of weights in one dtype on one device.
pub(crate) struct Checkpoint {
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    place: BTreeMap<String, usize>,
    taken: BTreeSet<String>,
    kind: Kind,
    device: Device,
    check_finite: bool,
}

struct Shard {
    file: String,
    bytes: Bytes,
    metadata: Metadata,
    data: usize,
}

impl Checkpoint {
    /// The names of the weight files, the index first if there is one.
    pub(crate) fn file_names(files: &ModelFiles) -> Result<Vec<String>> {
        let Some(index) = files.read(INDEX)? else {
            if files.read(SINGLE)?.is_none() && files.read("pytorch_model.bin")?.is_some() {
                return Err(Error::Format {
                    file: files.shown("pytorch_model.bin"),
                    what: "is a pickle, which can run code, and is not read\nhint: convert it with transformers: \
                           AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR, safe_serialization=True)"
                        .into(),
                });
            }
            return Ok(vec![SINGLE.to_owned()]);
        };
        let wrong = |what: String| Error::Format { file: files.shown(INDEX), what };
        let index: Value = serde_json::from_slice(&index).map_err(|error| wrong(error.to_string()))?;
        let Some(map) = index.get("weight_map").and_then(Value::as_object) else {
            return Err(wrong("has no object `weight_map`".into()));
        };
        let mut names = BTreeSet::new();
        for (tensor, file) in map {
            match file.as_str() {
                // A name and nothing else: an index must not reach outside its folder.
                Some(file) if !file.is_empty() && !file.contains(['/', '\\', '\0']) && file != ".." => {
                    names.insert(file.to_owned());
                }
                _ => return Err(wrong(format!("places `{tensor}` in {file}, which is no file name"))),
            }
        }
        Ok(std::iter::once(INDEX.to_owned()).chain(names).collect())
    }

    pub(crate) fn open(files: &ModelFiles, kind: Kind, device: Device, check_finite: bool) -> Result<Self> {
        let names = Checkpoint::file_names(files)?;
        let mut checkpoint = Checkpoint {
            shards: Vec::new(),
            place: BTreeMap::new(),
            taken: BTreeSet::new(),
            kind,
            device,
            check_finite,
        };
        for name in names.iter().filter(|name| *name != INDEX) {
            let bytes = files.require(name, "a model folder holds its weights as safetensors")?;
            let wrong = |what: String| Error::Format { file: files.shown(name), what };
            let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| {
                wrong(format!("is no complete safetensors file ({error})\nhint: fetch or copy it again"))
            })?;
            let shard = checkpoint.shards.len();
            for tensor in metadata.tensors().keys() {
                if checkpoint.place.insert(tensor.clone(), shard).is_some() {
                    return Err(wrong(format!("holds `{tensor}`, which an earlier file holds as well")));
                }
            }
            let shard = Shard { file: files.shown(name), bytes, metadata, data: header + 8 };
            checkpoint.shards.push(shard);
        }
        Ok(checkpoint)
    }

    fn info(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let shard = &self.shards[*self.place.get(name)?];
        Some((shard, shard.metadata.info(name)?))
    }

    fn load(&self, name: &str) -> Result<Tensor> {
        let Some((shard, info)) = self.info(name) else {
            let files: Vec<&str> = self.shards.iter().map(|shard| shard.file.as_str()).collect();
            return Err(Error::weight(name, format!("is missing in {}", files.join(", "))));
        };
        let stored = match info.dtype {
            Dtype::F64 => Kind::Double,
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => {
                return Err(Error::weight(name, format!("is stored as {other:?}, which is not supported")));
            }
        };
        let (start, end) = info.data_offsets;
        let Some(data) = shard.bytes.get(shard.data + start..shard.data + end) else {
            return Err(Error::weight(name, format!("lies outside {}", shard.file)));
        };
        let shape: Vec<i64> = info.shape.iter().map(|size| *size as i64).collect();
        let tensor = Tensor::f_from_data_size(data, &shape, stored)?;
        if self.check_finite && !tensor.f_isfinite()?.f_all()?.f_int64_value(&[]).map(|all| all == 1)? {
            return Err(Error::weight(name, format!("holds NaN or infinity in {}", shard.file)));
        }
        Ok(tensor.f_to_kind(self.kind)?.f_to_device(self.device)?)
    }

    /// Refuses weights that nobody took: the model would compute something else than its authors meant.
    pub(crate) fn refuse_leftovers(&self, tied: Option<&Tensor>) -> Result<()> {
        for name in self.place.keys().filter(|name| !self.taken.contains(*name)) {
            if NO_WEIGHTS.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            match tied {
                Some(embed) if name == "lm_head.weight" || name == "embed_out.weight" => {
                    let head = self.load(name)?;
                    if head.size() != embed.size() || !head.f_equal(embed)? {
                        return Err(Error::weight(
                            name.as_str(),
                            "differs from the embedding although config.json ties them\n\
                             hint: set `tie_word_embeddings` to false if the head is a weight of its own",
                        ));
                    }
                }
                _ => {
                    return Err(Error::weight(
                        name.as_str(),
                        "is in the file, but an architecture as config.json describes it has no such weight",
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Source for Checkpoint {
    fn has(&self, name: &str) -> bool {
        self.place.contains_key(name)
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        if let Some((_, info)) = self.info(name) {
            // Before the data is touched: a wrong shape may be a wrong size as well.
            let found: Vec<i64> = info.shape.iter().map(|size| *size as i64).collect();
            check_shape(name, &found, shape)?;
        }
        let tensor = self.load(name)?;
        self.taken.insert(name.to_owned());
        Ok(tensor)
    }

    fn skip(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }
}
