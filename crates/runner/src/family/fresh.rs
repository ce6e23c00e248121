//! Weights to begin a training with.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::architecture::Architecture;
use crate::error::Result;
use crate::weights::TensorSource;

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
        let options = (Kind::Float, Device::Cpu);
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
/// [`crate::Error::Config`] for an unknown family, [`crate::Error::Torch`] when memory does not suffice.
pub fn fresh(architecture: &Architecture, std: f64) -> Result<BTreeMap<String, Tensor>> {
    let mut source = Fresh { std, made: BTreeMap::new() };
    super::weights(architecture, &mut source)?;
    Ok(source.made)
}
