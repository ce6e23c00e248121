//! Weights in safetensors files, one or several with an index.
//!
//! Files are mapped, and a tensor is copied out of its file piece by piece, so that beside the weights themselves no
//! more than a piece is ever in memory: neither a second copy in another dtype nor the pages of the file.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use tch::{Device, Kind, Tensor};

use crate::device::Placement;
use crate::error::{Error, Result};
use crate::load::dtype::dtype_name;
use crate::load::files::{Bytes, CHUNK, ModelFiles};
use crate::load::finite::all_finite;
use crate::load::hints::{self, HEADS};
use crate::load::options::LoadOptions;
use crate::load::shards::{self, INDEX};
use crate::weights::{Part, TensorSource, check_shape};

/// Tensors that old checkpoints carry and that are not weights: masks and rotary tables.
const NO_WEIGHTS: [&str; 5] =
    [".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"];

/// Open safetensors files as a [`TensorSource`] of weights in one dtype on one device.
pub(crate) struct Checkpoint<'a> {
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    place: BTreeMap<String, usize>,
    taken: BTreeSet<String>,
    options: &'a LoadOptions,
    /// What the weights become.
    pub(crate) kind: Kind,
    /// Where they go.
    pub(crate) placement: Placement,
    part: Part,
    model: String,
    done: Cell<u64>,
    scratch: RefCell<Vec<u8>>,
}

struct Shard {
    file: String,
    bytes: Bytes,
    metadata: Metadata,
    data: usize,
}

fn kind_of(stored: Dtype) -> Option<Kind> {
    match stored {
        Dtype::F64 => Some(Kind::Double),
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        _ => None,
    }
}

fn bytes_of(info: &TensorInfo) -> u64 {
    info.data_offsets.1.saturating_sub(info.data_offsets.0) as u64
}

impl<'a> Checkpoint<'a> {
    /// Opens the weight files; the weights are to have the dtype that most of them have in the files.
    pub(crate) fn open(files: &ModelFiles, options: &'a LoadOptions) -> Result<Self> {
        let mut checkpoint = Checkpoint {
            shards: Vec::new(),
            place: BTreeMap::new(),
            taken: BTreeSet::new(),
            options,
            kind: Kind::Float,
            placement: Placement::all_on(Device::Cpu, 0),
            part: Part::Embed,
            model: files.name().to_owned(),
            done: Cell::new(0),
            scratch: RefCell::default(),
        };
        for name in shards::file_names(files)?.iter().filter(|name| *name != INDEX) {
            let bytes = files.require(name, "a model folder holds its weights as safetensors")?;
            let wrong = |what: String| Error::Format { file: files.shown(name), what };
            let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| {
                wrong(format!("is not a complete safetensors file ({error})\nhint: fetch or copy it again"))
            })?;
            let shard = checkpoint.shards.len();
            for tensor in metadata.tensors().keys() {
                if checkpoint.place.insert(tensor.clone(), shard).is_some() {
                    return Err(wrong(format!("holds `{tensor}`, which an earlier file holds as well")));
                }
            }
            bytes.release(0..header + 8);
            let shard = Shard { file: files.shown(name), bytes, metadata, data: header + 8 };
            checkpoint.shards.push(shard);
        }
        checkpoint.kind = checkpoint.commonest();
        Ok(checkpoint)
    }

    fn infos(&self) -> impl Iterator<Item = &TensorInfo> {
        self.shards.iter().flat_map(|shard| shard.metadata.tensors().into_values())
    }

    fn total(&self) -> u64 {
        self.infos().map(bytes_of).sum()
    }

    /// The dtype of most bytes.
    fn commonest(&self) -> Kind {
        let mut sizes = BTreeMap::new();
        for (kind, info) in self.infos().filter_map(|info| Some((kind_of(info.dtype)?, info))) {
            sizes.entry(dtype_name(kind)).or_insert((0, kind)).0 += bytes_of(info);
        }
        sizes.into_values().max_by_key(|(size, _)| *size).map_or(Kind::Float, |(_, kind)| kind)
    }

    fn info(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let shard = &self.shards[*self.place.get(name)?];
        Some((shard, shard.metadata.info(name)?))
    }

    /// Gives the tensor's shape to `begin`, then to `each` its pieces in order, flat, on the CPU, as they are
    /// stored, each with the number of elements before it. A piece lies in the mapped file: it is not to be kept.
    fn pieces<T>(
        &self,
        name: &str,
        begin: impl FnOnce(&[i64]) -> Result<T>,
        mut each: impl FnMut(&mut T, i64, Tensor) -> Result<()>,
    ) -> Result<T> {
        let Some((shard, info)) = self.info(name) else {
            let files: Vec<&str> = self.shards.iter().map(|shard| shard.file.as_str()).collect();
            let hint = hints::of_missing(name, self.place.keys());
            return Err(Error::weight(name, format!("is missing in {}\nhint: {hint}", files.join(", "))));
        };
        let Some(stored) = kind_of(info.dtype) else {
            let (dtype, hint) = (info.dtype, hints::of_dtype(info.dtype));
            return Err(Error::weight(
                name,
                format!("is stored as {dtype:?}, which is not supported\nhint: {hint}"),
            ));
        };
        let outside = || Error::weight(name, format!("lies outside {}", shard.file));
        let range = shard.data + info.data_offsets.0..shard.data + info.data_offsets.1;
        let data = shard.bytes.get(range.clone()).ok_or_else(outside)?;
        let shape: Option<Vec<i64>> = info.shape.iter().map(|size| i64::try_from(*size).ok()).collect();
        let width = stored.elt_size_in_bytes();
        let elements = info.shape.iter().try_fold(width, |product, size| product.checked_mul(*size));
        let shape = shape.filter(|_| elements == Some(data.len())).ok_or_else(outside)?;
        let mut made = begin(&shape)?;
        let mut before = 0;
        for piece in data.chunks(CHUNK) {
            let elements = (piece.len() / width) as i64;
            if self.options.check_finite && !all_finite(piece, stored, self.kind) {
                return Err(Error::weight(name, self.not_finite(piece, stored, &shard.file)));
            }
            let mut scratch = self.scratch.borrow_mut();
            let aligned = aligned(piece, width, &mut scratch);
            // SAFETY: the mapping, and the scratch memory while it is borrowed, outlive the tensor, which is only
            // read from.
            let tensor =
                unsafe { Tensor::f_from_blob(aligned.as_ptr(), &[elements], &[1], stored, Device::Cpu)? };
            each(&mut made, before, tensor)?;
            let read = range.start + before as usize * width;
            shard.bytes.release(read..read + piece.len());
            before += elements;
            self.done.set(self.done.get() + piece.len() as u64);
            self.options.watch.tell(&self.model, self.done.get().min(self.total()), self.total());
        }
        Ok(made)
    }

    /// What is wrong with numbers that are not finite once converted.
    fn not_finite(&self, piece: &[u8], stored: Kind, file: &str) -> String {
        if !all_finite(piece, stored, stored) {
            return format!("holds NaN or infinity in {file}");
        }
        format!(
            "holds numbers in {file} that are too large for {}\nhint: choose a wider dtype (--dtype f32)",
            dtype_name(self.kind)
        )
    }

    fn load(&self, name: &str) -> Result<Tensor> {
        let begin = |shape: &[i64]| Ok(Tensor::f_empty(shape, (self.kind, self.placement.of(self.part)))?);
        self.pieces(name, begin, |whole, before, piece| {
            whole.f_view([-1])?.f_narrow(0, before, piece.size()[0])?.f_copy_(&piece)?;
            Ok(())
        })
    }

    /// Whether the tensor is `other`, number by number.
    fn equals(&self, name: &str, other: &Tensor) -> Result<bool> {
        let begin = |shape: &[i64]| Ok(shape == other.size());
        self.pieces(name, begin, |same, before, piece| {
            if *same {
                let part = other.f_reshape([-1])?.f_narrow(0, before, piece.size()[0])?;
                *same = part.f_equal(&piece.f_to_kind(self.kind)?.f_to_device(part.device())?)?;
            }
            Ok(())
        })
    }

    /// Refuses weights that nobody took: the model would compute something else than its authors meant.
    pub(crate) fn refuse_leftovers(&self, tied: Option<&Tensor>) -> Result<()> {
        for name in self.place.keys().filter(|name| !self.taken.contains(*name)) {
            if NO_WEIGHTS.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            match tied {
                Some(embed) if HEADS.contains(&name.as_str()) => {
                    if !self.equals(name, embed)? {
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
                        format!(
                            "is in the file, but an architecture as config.json describes it has no such weight\n\
                             hint: {}",
                            hints::of_leftover()
                        ),
                    ));
                }
            }
        }
        self.options.watch.tell(&self.model, self.total(), self.total());
        Ok(())
    }
}

/// The piece where its numbers lie at multiples of their width, as libtorch wants them. Files seldom put them
/// elsewhere; then it is copied to `scratch`, which is made once: memory that comes and goes between the weights
/// leaves gaps among them.
fn aligned<'a>(piece: &'a [u8], width: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if (piece.as_ptr() as usize).is_multiple_of(width) {
        return piece;
    }
    scratch.resize(CHUNK + 8, 0);
    let start = scratch.as_ptr().align_offset(8);
    let place = &mut scratch[start..start + piece.len()];
    place.copy_from_slice(piece);
    place
}

impl TensorSource for Checkpoint<'_> {
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

    fn enter(&mut self, part: Part) {
        self.part = part;
    }

    fn skip(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    fn skip_all(&mut self, prefix: &str) {
        self.taken.extend(self.place.keys().filter(|name| name.starts_with(prefix)).cloned());
    }
}
