//! AdamW (Loshchilov & Hutter 2019) with everything in the open, so that it can be saved and continued.

use super::settings::Optimiser;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use tch::Tensor;

const EPSILON: f64 = 1e-8;

/// The moments of every weight, under the weight's name.
pub struct AdamW {
    /// Running mean of the gradient.
    pub first: BTreeMap<String, Tensor>,
    /// Running mean of its square.
    pub second: BTreeMap<String, Tensor>,
}

impl AdamW {
    /// Moments of zero.
    ///
    /// # Errors
    /// When memory does not suffice.
    pub fn new(weights: &BTreeMap<String, Tensor>) -> Result<Self> {
        let zeros = || -> Result<BTreeMap<String, Tensor>> {
            weights
                .iter()
                .map(|(name, weight)| Ok((name.clone(), weight.f_detach()?.f_zeros_like()?)))
                .collect()
        };
        Ok(Self { first: zeros()?, second: zeros()? })
    }

    /// One step along the gradients that `weights` carry, which are cleared. `step` counts from 0. Returns the
    /// norm of the gradient before clipping.
    ///
    /// # Errors
    /// When the gradient is not finite: the run is lost and going on would only hide it.
    pub fn step(
        &mut self,
        weights: &mut BTreeMap<String, Tensor>,
        optimiser: &Optimiser,
        learning_rate: f64,
        step: u32,
    ) -> Result<f64> {
        tch::no_grad(|| self.update(weights, optimiser, learning_rate, step))
    }

    fn update(
        &mut self,
        weights: &mut BTreeMap<String, Tensor>,
        optimiser: &Optimiser,
        learning_rate: f64,
        step: u32,
    ) -> Result<f64> {
        let mut squares = 0.0;
        for weight in weights.values() {
            squares += weight.grad().f_square()?.f_sum(tch::Kind::Float)?.f_double_value(&[])?;
        }
        let norm = squares.sqrt();
        ensure!(norm.is_finite(), "the gradient of step {step} is not finite\nhint: lower the learning rate");
        let clip = (optimiser.clip / norm.max(1e-12)).min(1.0);
        let [beta1, beta2] = optimiser.betas;
        let power = step as i32 + 1;
        let (bias1, bias2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
        for (name, weight) in weights.iter_mut() {
            let gradient = weight.grad().f_mul_scalar(clip)?;
            let (Some(first), Some(second)) = (self.first.get_mut(name), self.second.get_mut(name)) else {
                anyhow::bail!("the optimiser knows no weight {name}");
            };
            let _ = first.f_mul_scalar_(beta1)?.f_add_(&gradient.f_mul_scalar(1.0 - beta1)?)?;
            let _ = second.f_mul_scalar_(beta2)?.f_add_(&gradient.f_square()?.f_mul_scalar(1.0 - beta2)?)?;
            let scale = second.f_div_scalar(bias2)?.f_sqrt()?.f_add_scalar(EPSILON)?;
            let change = first.f_div(&scale)?.f_mul_scalar(-learning_rate / bias1)?;
            if decays(name) {
                let _ = weight.f_mul_scalar_(1.0 - learning_rate * optimiser.weight_decay)?;
            }
            let _ = weight.f_add_(&change)?;
            weight.zero_grad();
        }
        Ok(norm)
    }
}

/// Norms and the embedding are not drawn towards zero: the first set a scale, and rare words would fade.
fn decays(name: &str) -> bool {
    !name.contains("norm") && !name.contains("embed_tokens")
}
