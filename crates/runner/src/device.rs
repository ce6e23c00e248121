//! Where a model runs: CPU, one GPU, or split over several by free memory.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use libloading::Library;
use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind, Tensor};

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::family;
use crate::weights::{Part, TensorSource};

/// What `--device` asks for: `cpu`, `cuda`, `cuda:1`, `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceChoice {
    /// The CPU.
    #[default]
    Cpu,
    /// One GPU, by its number.
    Cuda(usize),
    /// Every GPU there is, in order, as far as its free memory goes, and the CPU for the rest.
    Auto,
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cpu" => Ok(DeviceChoice::Cpu),
            "auto" => Ok(DeviceChoice::Auto),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => {
                let index = text.strip_prefix("cuda:").and_then(|index| index.parse().ok());
                let wrong = || {
                    Error::Device(format!(
                        "`{text}` is not a device\nhint: choose one of cpu, cuda, cuda:0, cuda:1, ..., auto"
                    ))
                };
                index.map(DeviceChoice::Cuda).ok_or_else(wrong)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(index) => write!(f, "cuda:{index}"),
            DeviceChoice::Auto => f.write_str("auto"),
        }
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> String {
        choice.to_string()
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// The name under which a device is asked for.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A device for every part of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Embedding, positions, final norm and unembedding: together, because a tied model has one matrix for both ends.
    pub ends: Device,
    /// Every block, from the input up.
    pub blocks: Vec<Device>,
}

impl Placement {
    /// Everything on one device.
    pub fn all_on(device: Device, n_layers: usize) -> Self {
        Placement { ends: device, blocks: vec![device; n_layers] }
    }

    /// The device of `part`.
    pub fn of(&self, part: Part) -> Device {
        match part {
            Part::Embed | Part::Head => self.ends,
            Part::Block(layer) => self.blocks.get(layer).copied().unwrap_or(self.ends),
        }
    }
}

/// Bytes of each part of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSizes {
    /// Embedding, positions, final norm and unembedding.
    pub ends: u64,
    /// Every block.
    pub blocks: Vec<u64>,
}

impl DeviceChoice {
    /// The devices for a model of `n_layers`; `sizes` is asked only where a model may have to be split.
    ///
    /// # Errors
    /// [`Error::Device`] if a GPU is asked for and cannot be used, saying why.
    pub fn place(self, n_layers: usize, sizes: impl FnOnce() -> Result<PartSizes>) -> Result<Placement> {
        match self {
            DeviceChoice::Cpu => Ok(Placement::all_on(Device::Cpu, n_layers)),
            DeviceChoice::Cuda(index) => {
                let count = gpus()?;
                if index >= count {
                    return Err(Error::Device(format!(
                        "there is no cuda:{index}: this machine has {count} GPU{}",
                        if count == 1 { ", cuda:0" } else { "s" }
                    )));
                }
                Ok(Placement::all_on(Device::Cuda(index), n_layers))
            }
            // Without a GPU this is the CPU, not an error: that is what automatic means.
            DeviceChoice::Auto => match gpus() {
                Ok(count) => Ok(split(&sizes()?, &free_memory(count)?)),
                Err(_) => Ok(Placement::all_on(Device::Cpu, n_layers)),
            },
        }
    }
}

/// Parts go to the first GPU that has room left for them, in order; what finds none goes to the CPU.
fn split(sizes: &PartSizes, free: &[u64]) -> Placement {
    // A fifth stays free for activations and the allocator.
    let mut room: Vec<u64> = free.iter().map(|bytes| bytes / 5 * 4).collect();
    let mut gpu = 0;
    let mut next = |bytes: u64| {
        // Never back to an earlier device: the stream would be carried to and fro.
        while gpu < room.len() {
            if bytes <= room[gpu] {
                room[gpu] -= bytes;
                return Device::Cuda(gpu);
            }
            gpu += 1;
        }
        Device::Cpu
    };
    let ends = next(sizes.ends);
    Placement { ends, blocks: sizes.blocks.iter().map(|bytes| next(*bytes)).collect() }
}

/// Bytes of each part of a model of this architecture in dtype `kind`.
pub(crate) fn part_sizes(architecture: &Architecture, kind: Kind) -> Result<PartSizes> {
    struct Measure {
        ends: u64,
        blocks: Vec<u64>,
        part: Part,
    }
    impl TensorSource for Measure {
        fn has(&self, _: &str) -> bool {
            false
        }
        fn take(&mut self, _: &str, shape: &[i64]) -> Result<Tensor> {
            let numbers = shape.iter().product::<i64>() as u64;
            match self.part {
                Part::Block(layer) => self.blocks[layer] += numbers,
                Part::Embed | Part::Head => self.ends += numbers,
            }
            // One byte that stands for them all.
            Ok(Tensor::f_zeros([1], (Kind::Uint8, Device::Cpu))?.f_expand(shape, false)?)
        }
        fn enter(&mut self, part: Part) {
            self.part = part;
        }
    }
    let mut measure = Measure { ends: 0, blocks: vec![0; architecture.n_layers], part: Part::Embed };
    let _ = family::weights(architecture, &mut measure)?;
    let bytes = |numbers: u64| numbers * kind.elt_size_in_bytes() as u64;
    Ok(PartSizes { ends: bytes(measure.ends), blocks: measure.blocks.into_iter().map(bytes).collect() })
}

/// How many GPUs libtorch can use, its CUDA library loaded.
///
/// # Errors
/// [`Error::Device`] with the reason if there is none.
pub fn gpus() -> Result<usize> {
    // The linker drops libtorch's CUDA library, which nothing refers to by name. Loading it registers its kernels, once
    // for the life of the process.
    static LOADED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        let name = if cfg!(windows) { "torch_cuda.dll" } else { "libtorch_cuda.so" };
        // SAFETY: the initialisers of libtorch's own library, which is made to be loaded into a libtorch process.
        match unsafe { Library::new(name) } {
            Ok(library) => {
                std::mem::forget(library);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    });
    if let Err(error) = loaded {
        return Err(Error::Device(format!(
            "no GPU can be used: libtorch's CUDA library does not load ({error})\n\
             hint: run on the CPU (--device cpu), or build with a libtorch that has CUDA, such as that of an installed \
             PyTorch: LIBTORCH_USE_PYTORCH=1 make setup"
        )));
    }
    match usize::try_from(Cuda::device_count()) {
        Ok(count) if count > 0 && Cuda::is_available() => Ok(count),
        _ => Err(Error::Device(
            "no GPU can be used: CUDA finds none on this machine (is the driver loaded? does nvidia-smi see it?)\n\
             hint: run on the CPU (--device cpu)"
                .into(),
        )),
    }
}

/// Free bytes of each of `count` GPUs.
fn free_memory(count: usize) -> Result<Vec<u64>> {
    type SetDevice = unsafe extern "C" fn(i32) -> i32;
    type MemGetInfo = unsafe extern "C" fn(*mut usize, *mut usize) -> i32;
    let wrong = |what: String| Error::Device(format!("cannot tell the free memory of the GPUs: {what}"));
    let process: Library = libloading::os::unix::Library::this().into();
    // SAFETY: the signatures are those of the CUDA runtime's documentation; the pointers are to live variables.
    unsafe {
        let set_device = process.get::<SetDevice>(b"cudaSetDevice").map_err(|e| wrong(e.to_string()))?;
        let info = process.get::<MemGetInfo>(b"cudaMemGetInfo").map_err(|e| wrong(e.to_string()))?;
        let of = |index: usize| {
            let (mut free, mut total) = (0usize, 0usize);
            let codes = (set_device(index as i32), info(&mut free, &mut total));
            if codes == (0, 0) { Ok(free as u64) } else { Err(wrong(format!("CUDA error {codes:?}"))) }
        };
        let free = (0..count).map(of).collect();
        set_device(0);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written() {
        for text in ["cpu", "cuda:0", "cuda:3", "auto"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for text in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", ""] {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains("choose one of cpu, cuda"), "{error}");
        }
    }

    /// The counts of each family's golden are checked against the loaded weights in the parity tests; here, by hand.
    #[test]
    fn bytes_of_the_parts() {
        let config =
            br#"{"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8,
            "intermediate_size": 12, "vocab_size": 10, "max_position_embeddings": 8}"#;
        let config = family::Config::parse(config, &[]).unwrap();
        let sizes = part_sizes(&family::architecture(&config).unwrap(), Kind::BFloat16).unwrap();
        let block = 4 * 8 * 8 + 3 * 8 * 12 + 2 * 8;
        assert_eq!(sizes, PartSizes { ends: 2 * (2 * 10 * 8 + 8), blocks: vec![2 * block; 2] });
    }

    #[test]
    fn layers_fill_one_gpu_after_the_other_and_then_the_cpu() {
        let sizes = PartSizes { ends: 30, blocks: vec![20; 6] };
        let on = |free: &[u64]| split(&sizes, free);
        let (a, b, cpu) = (Device::Cuda(0), Device::Cuda(1), Device::Cpu);
        assert_eq!(on(&[1000]), Placement { ends: a, blocks: vec![a; 6] });
        // 80 of 100 are used: 30 + 20 + 20, then 60 of 75.
        assert_eq!(on(&[100, 75]), Placement { ends: a, blocks: vec![a, a, b, b, b, cpu] });
        assert_eq!(on(&[]), Placement { ends: cpu, blocks: vec![cpu; 6] });
        // The embedding fits nowhere, the blocks stay with it.
        assert_eq!(on(&[10]), Placement { ends: cpu, blocks: vec![cpu; 6] });
    }
}
