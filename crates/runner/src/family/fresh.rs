//! Weights to begin a training with.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::weights::TensorSource;

/// A [`TensorSource`] that answers every request with fresh random weights and keeps them under their names.
pub(super) struct Fresh {
    /// Standard deviation of matrices.
    pub(super) std: f64,
    /// What was asked for.
    pub(super) made: BTreeMap<String, Tensor>,
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
