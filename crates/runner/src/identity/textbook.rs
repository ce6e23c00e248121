//! The formulas, as textbooks have them, in double precision on the CPU.

use tch::{Device, Kind, Tensor};

use crate::architecture::{Activation, Mlp, Norm};
use crate::error::Result;
use crate::weights::{Linear, MlpWeights, NormWeights};

/// Rows of a matrix that are widened at once.
const ROWS: i64 = 8192;

/// `x` in double precision.
pub(super) fn wide(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?)
}

/// The largest absolute difference; equal infinities are none. Infinite for a NaN and for different shapes.
pub(super) fn largest(a: &Tensor, b: &Tensor) -> Result<f64> {
    if a.size() != b.size() {
        return Ok(f64::INFINITY);
    }
    if a.numel() == 0 {
        return Ok(0.0);
    }
    let difference = a.f_sub(b)?.f_abs()?.f_masked_fill(&a.f_eq_tensor(b)?, 0.0)?;
    let worst = difference.f_max()?.f_double_value(&[])?;
    Ok(if worst.is_nan() { f64::INFINITY } else { worst })
}

/// W x + b.
pub(super) fn linear(map: &Linear, x: &Tensor) -> Result<Tensor> {
    let rows = map.weight.size()[0];
    let mut parts = Vec::new();
    for start in (0..rows).step_by(ROWS as usize) {
        let part = map.weight.f_narrow(0, start, ROWS.min(rows - start))?;
        parts.push(x.f_matmul(&wide(&part)?.f_transpose(0, 1)?)?);
    }
    plus_bias(map, Tensor::f_cat(&parts, -1)?)
}

/// y + b.
pub(super) fn plus_bias(map: &Linear, y: Tensor) -> Result<Tensor> {
    match &map.bias {
        Some(bias) => Ok(y.f_add(&wide(bias)?)?),
        None => Ok(y),
    }
}

/// What a norm divides `x` by.
pub(super) fn scale(norm: Norm, x: &Tensor) -> Result<Tensor> {
    let centred = centred(norm, x)?;
    let mean_square = centred.f_mul(&centred)?.f_mean_dim(-1, true, Kind::Double)?;
    Ok(mean_square.f_add_scalar(norm.eps())?.f_sqrt()?)
}

/// `x` normalised, where what it is divided by is known.
pub(super) fn divided(norm: Norm, weights: &NormWeights, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let mut y = centred(norm, x)?.f_div(scale)?;
    if let Some(weight) = &weights.weight {
        y = y.f_mul(&wide(weight)?)?;
    }
    if let Some(bias) = &weights.bias {
        y = y.f_add(&wide(bias)?)?;
    }
    Ok(y)
}

/// `x` normalised.
pub(super) fn normalised(norm: Norm, weights: &NormWeights, x: &Tensor) -> Result<Tensor> {
    divided(norm, weights, x, &scale(norm, x)?)
}

fn centred(norm: Norm, x: &Tensor) -> Result<Tensor> {
    match norm {
        Norm::Layer { .. } => Ok(x.f_sub(&x.f_mean_dim(-1, true, Kind::Double)?)?),
        Norm::Rms { .. } => Ok(x.shallow_clone()),
    }
}

/// c tanh(x / c), with tanh from exponentials of what is not positive.
pub(super) fn capped(cap: Option<f64>, x: Tensor) -> Result<Tensor> {
    let Some(cap) = cap else { return Ok(x) };
    let small = x.f_abs()?.f_mul_scalar(-2.0 / cap)?.f_exp()?;
    let size = small.f_neg()?.f_add_scalar(1.0)?.f_div(&small.f_add_scalar(1.0)?)?;
    Ok(size.f_mul(&x.f_sign()?)?.f_mul_scalar(cap)?)
}

/// exp(x) over its sum along the last axis.
pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    let exponentials = x.f_sub(&x.f_amax([-1i64], true)?)?.f_exp()?;
    Ok(exponentials.f_div(&exponentials.f_sum_dim_intlist(-1, true, Kind::Double)?)?)
}

/// 1 / (1 + exp(-x)).
pub(super) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_neg()?.f_exp()?.f_add_scalar(1.0)?.f_reciprocal()?)
}

/// A neuron's non-linearity.
pub(super) fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    // x times half of 1 + something odd.
    let gelu = |odd: Tensor| -> Result<Tensor> { Ok(odd.f_add_scalar(1.0)?.f_mul(x)?.f_mul_scalar(0.5)?) };
    match activation {
        Activation::Gelu => gelu(x.f_div_scalar(2f64.sqrt())?.f_erf()?),
        Activation::GeluTanh => {
            let cube = x.f_mul(x)?.f_mul(x)?.f_mul_scalar(0.044715)?;
            gelu(x.f_add(&cube)?.f_mul_scalar((2.0 / std::f64::consts::PI).sqrt())?.f_tanh()?)
        }
        Activation::Relu => Ok(x.f_clamp_min(0.0)?),
        Activation::Silu => Ok(x.f_mul(&sigmoid(x)?)?),
    }
}

/// The neurons of an MLP or expert that reads `x`.
pub(super) fn neurons(form: Mlp, weights: &MlpWeights, x: &Tensor) -> Result<Tensor> {
    match (form, &weights.gate) {
        (Mlp::Gated { activation }, Some(gate)) => {
            Ok(activate(activation, &linear(gate, x)?)?.f_mul(&linear(&weights.input, x)?)?)
        }
        (Mlp::Gated { activation } | Mlp::Ungated { activation }, _) => {
            activate(activation, &linear(&weights.input, x)?)
        }
    }
}
