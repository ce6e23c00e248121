//! Where weights come from.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::family;

/// Gives tensors by name; whoever asks states the shape that it must have.
pub trait TensorSource {
    /// Whether there is a tensor of that name.
    fn has(&self, name: &str) -> bool;
    /// Takes the tensor `name`.
    ///
    /// # Errors
    /// [`Error::Weight`] if it is missing, of another shape, or not finite.
    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor>;
    /// Says that the tensor `name`, if there is one, has no part in the computation.
    fn skip(&mut self, _name: &str) {}
    /// Says the same of every tensor whose name begins with `prefix`.
    fn skip_all(&mut self, _prefix: &str) {}
    /// Says that what is taken from now on belongs to this part of the model, which may have a device of its own.
    fn enter(&mut self, _part: Part) {}
}

/// A part of a model that stands on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Embedding and positions.
    Embed,
    /// A block.
    Block(usize),
    /// Final norm and unembedding.
    Head,
}

/// A [`TensorSource`] over tensors in memory, for training and for tests. Differentiable: the tensors are not copied.
impl TensorSource for BTreeMap<String, Tensor> {
    fn has(&self, name: &str) -> bool {
        self.contains_key(name)
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let tensor = self.remove(name).ok_or_else(|| Error::weight(name, "is missing"))?;
        check_shape(name, &tensor.size(), shape)?;
        Ok(tensor)
    }
}

/// Refuses a tensor of the wrong shape.
pub(crate) fn check_shape(name: &str, found: &[i64], wanted: &[i64]) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::weight(name, format!("has shape {found:?}, but config.json implies {wanted:?}")))
}

/// A [`TensorSource`] that answers every request with fresh random weights and keeps them under their names.
struct Fresh {
    std: f64,
    made: BTreeMap<String, Tensor>,
}

impl TensorSource for Fresh {
    fn has(&self, _: &str) -> bool {
        false
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let options = (Kind::Float, tch::Device::Cpu);
        let tensor = match shape {
            // Vectors are norm weights, which start at one, and biases, which start at zero.
            [_] if name.ends_with("bias") => Tensor::f_zeros(shape, options)?,
            [_] => Tensor::f_ones(shape, options)?,
            _ => Tensor::f_randn(shape, options)?.f_mul_scalar(self.std)?,
        };
        self.made.insert(name.to_owned(), tensor.shallow_clone());
        Ok(tensor)
    }
}

/// Fresh weights for `architecture` under the family's tensor names: matrices normal with standard deviation
/// `std` (from libtorch's global generator: seed it with [`tch::manual_seed`]), norms one, biases zero.
///
/// # Errors
/// [`Error::Config`] for an unknown family, [`Error::Torch`] when memory does not suffice.
pub fn fresh(architecture: &Architecture, std: f64) -> Result<BTreeMap<String, Tensor>> {
    let mut source = Fresh { std, made: BTreeMap::new() };
    family::weights(architecture, &mut source)?;
    Ok(source.made)
}
