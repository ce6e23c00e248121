//! Cosines, sines, and the rotation of queries and keys by them.

use tch::{Device, Kind, Tensor};

use crate::architecture::{Pairing, Rotary, Scaling};
use crate::dtype::wider;
use crate::error::Result;

impl Rotary {
    /// Multiplies cosine and sine.
    fn attention_factor(&self) -> f64 {
        match self.scaling {
            Scaling::Yarn { attention_factor, .. } | Scaling::LongRope { attention_factor, .. } => {
                attention_factor
            }
            _ => 1.0,
        }
    }

    /// Radians per position, `[rows or 1, 1, dims / 2]`, for rows of `lengths`, `[rows]`, in `wide` arithmetic step
    /// for step as `transformers` does it in f32: models were trained with its rounding.
    fn frequencies(&self, lengths: &Tensor, wide: Kind) -> Result<Tensor> {
        let options = (wide, Device::Cpu);
        let half = (self.dims / 2) as i64;
        let powers = |count: i64| -> Result<Tensor> {
            let exponents =
                Tensor::f_arange(count, options)?.f_mul_scalar(2.0)?.f_div_scalar(self.dims as f64)?;
            Ok(Tensor::f_full([1], self.base, options)?.f_pow(&exponents)?)
        };
        let unscaled = || -> Result<Tensor> { Ok(powers(half)?.f_reciprocal()?) };
        let frequencies = match &self.scaling {
            Scaling::None => unscaled()?,
            Scaling::Linear { factor } => unscaled()?.f_div_scalar(*factor)?,
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                let (unscaled, original) = (unscaled()?, *original as f64);
                let wavelengths = unscaled.f_reciprocal()?.f_mul_scalar(2.0 * std::f64::consts::PI)?;
                let smooth = (wavelengths.f_reciprocal()?.f_mul_scalar(original)?)
                    .f_sub_scalar(*low_freq_factor)?
                    .f_div_scalar(high_freq_factor - low_freq_factor)?;
                let scaled = unscaled.f_div_scalar(*factor)?;
                let between =
                    (scaled.f_mul(&smooth.f_neg()?.f_add_scalar(1.0)?)?).f_add(&unscaled.f_mul(&smooth)?)?;
                let long = wavelengths.f_gt(original / low_freq_factor)?;
                let short = wavelengths.f_lt(original / high_freq_factor)?;
                scaled.f_where_self(&long, &unscaled.f_where_self(&short, &between)?)?
            }
            Scaling::Yarn { factor, beta_fast, beta_slow, truncate, original, .. } => {
                let entry = |rotations: f64| {
                    let turns = *original as f64 / (rotations * 2.0 * std::f64::consts::PI);
                    self.dims as f64 * turns.ln() / (2.0 * self.base.ln())
                };
                let (mut low, mut high) = (entry(*beta_fast), entry(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min(self.dims as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                let ramp = (Tensor::f_arange(half, options)?.f_sub_scalar(low)?)
                    .f_div_scalar(high - low)?
                    .f_clamp(0.0, 1.0)?;
                let kept = ramp.f_neg()?.f_add_scalar(1.0)?;
                let scaled = powers(half)?.f_mul_scalar(*factor)?.f_reciprocal()?;
                scaled.f_mul(&ramp)?.f_add(&unscaled()?.f_mul(&kept)?)?
            }
            Scaling::LongRope { short, long, original, .. } => {
                let of = |factors: &[f64]| -> Result<Tensor> {
                    let factors = Tensor::f_from_slice(factors)?.f_to_kind(wide)?;
                    Ok(factors.f_mul(&powers(half)?)?.f_reciprocal()?)
                };
                let beyond = lengths.f_to_device(Device::Cpu)?.f_gt(*original as i64)?.f_unsqueeze(-1)?;
                of(long)?.f_where_self(&beyond, &of(short)?)?.f_unsqueeze(1)?
            }
            Scaling::Proportional { rotated, factor } => {
                let turning = powers(*rotated as i64)?.f_reciprocal()?.f_div_scalar(*factor)?;
                let still = Tensor::f_zeros([half - *rotated as i64], options)?;
                Tensor::f_cat(&[turning, still], 0)?
            }
        };
        Ok(frequencies)
    }
}

/// Cosine and sine for some positions, each `[rows, pos, 1, dims]`, rows 1 or batch.
#[derive(Debug)]
pub(crate) struct Rotation {
    pairing: Pairing,
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// For `positions`, `[rows, pos]` i64. The angles are computed in f32, as the models were trained, and in
    /// f64 only for f64.
    pub(crate) fn new(rotary: &Rotary, positions: &Tensor, kind: Kind, device: Device) -> Result<Self> {
        let wide = wider(kind);
        let lengths = positions.f_amax([1i64], false)?.f_add_scalar(1)?;
        let frequencies = rotary.frequencies(&lengths, wide)?.f_to_device(device)?;
        let angles = positions.f_to_device(device)?.f_to_kind(wide)?.f_unsqueeze(-1)?.f_mul(&frequencies)?;
        let both = match rotary.pairing {
            Pairing::Halves => Tensor::f_cat(&[&angles, &angles], -1)?,
            Pairing::Neighbours => angles.f_repeat_interleave_self_int(2, -1, None)?,
        };
        let (both, factor) = (both.f_unsqueeze(2)?, rotary.attention_factor());
        let scaled = |t: Tensor| -> Result<Tensor> {
            let t = if factor == 1.0 { t } else { t.f_mul_scalar(factor)? };
            Ok(t.f_to_kind(kind)?)
        };
        Ok(Rotation { pairing: rotary.pairing, cos: scaled(both.f_cos()?)?, sin: scaled(both.f_sin()?)? })
    }

    /// `[rows, pos, 1, dims]`.
    pub(crate) fn cos(&self) -> &Tensor {
        &self.cos
    }

    /// `[rows, pos, 1, dims]`.
    pub(crate) fn sin(&self) -> &Tensor {
        &self.sin
    }

    /// Its last position.
    pub(crate) fn last(&self) -> Result<Self> {
        let last = |t: &Tensor| t.f_narrow(1, t.size()[1] - 1, 1);
        Ok(Rotation { pairing: self.pairing, cos: last(&self.cos)?, sin: last(&self.sin)? })
    }

    /// Rotates `x`, `[batch, pos, head, d_head]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (width, dims) = (x.size()[3], self.cos.size()[3]);
        if width == dims {
            return self.turn(x);
        }
        let turned = self.turn(&x.f_narrow(3, 0, dims)?)?;
        Ok(Tensor::f_cat(&[&turned, &x.f_narrow(3, dims, width - dims)?], 3)?)
    }

    fn turn(&self, x: &Tensor) -> Result<Tensor> {
        let across = match self.pairing {
            Pairing::Halves => {
                let half = x.size()[3] / 2;
                let (low, high) = (x.f_narrow(3, 0, half)?, x.f_narrow(3, half, half)?);
                Tensor::f_cat(&[&high.f_neg()?, &low], 3)?
            }
            Pairing::Neighbours => {
                let even = x.f_slice(3, 0, None, 2)?;
                let odd = x.f_slice(3, 1, None, 2)?;
                Tensor::f_stack(&[&odd.f_neg()?, &even], -1)?.f_flatten(3, 4)?
            }
        };
        Ok(x.f_mul(&self.cos)?.f_add(&across.f_mul(&self.sin)?)?)
    }
}
