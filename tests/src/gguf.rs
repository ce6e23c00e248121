//! Writes GGUF files, after the format's description and not after the reader.

use tch::{Kind, Tensor};

use crate::Result;

/// A file in the making. Parts are open to changes, so that a test can spoil them.
#[derive(Debug, Clone)]
pub struct GgufWriter {
    /// The version.
    pub version: u32,
    /// Key, type and value.
    pub metadata: Vec<(String, u32, Vec<u8>)>,
    /// The table and the data.
    pub tensors: Vec<Entry>,
}

/// A tensor.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// As torch has it.
    pub shape: Vec<u64>,
    /// Its type's number.
    pub kind: u32,
    /// Its numbers.
    pub data: Vec<u8>,
}

/// How numbers are to be stored where they can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// f32.
    F32,
    /// f16.
    F16,
    /// Blocks of 32 in eight bits, where rows are such blocks.
    Q8,
}

fn text_bytes(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl GgufWriter {
    /// A file of version 3 with nothing but the architecture.
    pub fn new(architecture: &str) -> Self {
        let mut file = GgufWriter { version: 3, metadata: Vec::new(), tensors: Vec::new() };
        file.text("general.architecture", architecture);
        file
    }

    /// Adds a key with a value of any type.
    pub fn value(&mut self, key: &str, kind: u32, bytes: Vec<u8>) {
        self.metadata.push((key.to_owned(), kind, bytes));
    }

    /// Adds a text.
    pub fn text(&mut self, key: &str, value: &str) {
        self.value(key, 8, text_bytes(value));
    }

    /// Adds a u32.
    pub fn size(&mut self, key: &str, value: u64) {
        self.value(key, 4, (value as u32).to_le_bytes().into());
    }

    /// Adds an f32.
    pub fn number(&mut self, key: &str, value: f64) {
        self.value(key, 6, (value as f32).to_le_bytes().into());
    }

    /// Adds a truth value.
    pub fn flag(&mut self, key: &str, value: bool) {
        self.value(key, 7, vec![value.into()]);
    }

    /// Adds an array of the elements `bytes`, of type `kind`.
    pub fn array(&mut self, key: &str, kind: u32, count: usize, bytes: &[u8]) {
        let value = [&kind.to_le_bytes()[..], &(count as u64).to_le_bytes(), bytes].concat();
        self.value(key, 9, value);
    }

    /// Adds an array of texts.
    pub fn texts(&mut self, key: &str, texts: &[&str]) {
        let bytes: Vec<u8> = texts.iter().flat_map(|text| text_bytes(text)).collect();
        self.array(key, 8, texts.len(), &bytes);
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// If libtorch cannot convert it.
    pub fn tensor(&mut self, name: &str, tensor: &Tensor, form: As) -> Result {
        let shape = tensor.size().iter().map(|size| *size as u64).collect();
        let flat = tensor.to_kind(Kind::Float).contiguous().view(-1);
        let numbers = Vec::<f32>::try_from(&flat)?;
        let (kind, data) = match form {
            As::Q8 if fits(tensor) => (8, numbers.chunks(32).flat_map(q8_block).collect()),
            As::F16 if tensor.dim() > 1 => {
                (1, numbers.iter().flat_map(|number| half_bits(*number).to_le_bytes()).collect())
            }
            _ => (0, numbers.iter().flat_map(|number| number.to_le_bytes()).collect()),
        };
        self.tensors.push(Entry { name: name.to_owned(), shape, kind, data });
        Ok(())
    }

    /// The bytes of the file.
    pub fn finish(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, kind, value) in &self.metadata {
            file.extend(text_bytes(key));
            file.extend(kind.to_le_bytes());
            file.extend(value);
        }
        let mut offset = 0;
        for entry in &self.tensors {
            file.extend(text_bytes(&entry.name));
            file.extend((entry.shape.len() as u32).to_le_bytes());
            entry.shape.iter().rev().for_each(|size| file.extend(size.to_le_bytes()));
            file.extend(entry.kind.to_le_bytes());
            file.extend((offset as u64).to_le_bytes());
            offset += entry.data.len().next_multiple_of(32);
        }
        file.resize(file.len().next_multiple_of(32), 0);
        for entry in &self.tensors {
            file.extend(&entry.data);
            file.resize(file.len().next_multiple_of(32), 0);
        }
        file
    }
}

/// Whether a tensor is stored in blocks of 32 where that is asked for.
fn fits(tensor: &Tensor) -> bool {
    tensor.dim() > 1 && tensor.size().last().is_some_and(|row| row % 32 == 0)
}

fn half_bits(number: f32) -> u16 {
    let half = Tensor::from_slice(&[number]).to_kind(Kind::Half).view_dtype(Kind::Int16);
    half.int64_value(&[0]) as u16
}

/// Scale and numbers of a block.
fn q8(numbers: &[f32]) -> (u16, Vec<i8>) {
    let largest = numbers.iter().fold(0.0f32, |most, number| most.max(number.abs()));
    let bits = half_bits(largest / 127.0);
    let scale = half_value(bits);
    let quant = |number: &f32| if scale == 0.0 { 0 } else { (number / scale).round() as i8 };
    (bits, numbers.iter().map(quant).collect())
}

fn half_value(bits: u16) -> f32 {
    let half = Tensor::from_slice(&[bits as i16]).view_dtype(Kind::Half);
    half.double_value(&[0]) as f32
}

fn q8_block(numbers: &[f32]) -> Vec<u8> {
    let (bits, quants) = q8(numbers);
    bits.to_le_bytes().into_iter().chain(quants.into_iter().map(|q| q as u8)).collect()
}

/// The numbers that are left of `tensor` when it is stored so.
///
/// # Errors
/// If libtorch cannot convert it.
pub fn rounded(tensor: &Tensor, form: As) -> Result<Tensor> {
    match form {
        As::F16 if tensor.dim() > 1 => Ok(tensor.to_kind(Kind::Half).to_kind(Kind::Float)),
        As::Q8 if fits(tensor) => {
            let flat = Vec::<f32>::try_from(&tensor.to_kind(Kind::Float).contiguous().view(-1))?;
            let block = |numbers: &[f32]| {
                let (bits, quants) = q8(numbers);
                quants.into_iter().map(move |q| f32::from(q) * half_value(bits)).collect::<Vec<f32>>()
            };
            let rounded: Vec<f32> = flat.chunks(32).flat_map(block).collect();
            Ok(Tensor::from_slice(&rounded).view(&tensor.size()[..]))
        }
        _ => Ok(tensor.to_kind(Kind::Float)),
    }
}
