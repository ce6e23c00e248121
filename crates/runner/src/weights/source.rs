//! Where weights come from.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::dtype::wider;
use crate::error::{Error, Result};

/// Gives tensors by name; whoever asks states the shape that it must have.
pub trait TensorSource {
    /// Whether there is a tensor of that name.
    fn has(&self, name: &str) -> bool;
    /// Takes the tensor `name`.
    ///
    /// # Errors
    /// [`Error::Weight`] if it is missing, of another shape, or not finite.
    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor>;
    /// Takes the weight of a norm that Hugging Face stores less one, whole and in wide arithmetic: such norms are
    /// applied before the result is rounded to the model's dtype. A source that has it whole gives it as it is: one
    /// taken off and added again is another number in the last bits.
    ///
    /// # Errors
    /// As [`TensorSource::take`].
    fn take_plus_one(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        plus_one(self.take(name, shape)?)
    }
    /// Says that the tensor `name`, if there is one, has no part in the computation.
    fn skip(&mut self, _name: &str) {}
    /// Says the same of every tensor whose name begins with `prefix`.
    fn skip_all(&mut self, _prefix: &str) {}
    /// Says that what is taken from now on belongs to this part of the model, which may have a device of its own.
    fn enter(&mut self, _part: Part) {}
}

/// 1 + weight, in wide arithmetic.
pub(crate) fn plus_one(weight: Tensor) -> Result<Tensor> {
    Ok(weight.f_to_kind(wider(weight.kind()))?.f_add_scalar(1.0)?)
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
