//! Rotary positions (Su et al. 2021, arXiv 2104.09864) and the scalings that stretch them to longer contexts.

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::norm::wider;

/// How queries and keys are rotated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rotary {
    /// Entries of each head that are rotated, the first ones; even.
    pub dims: usize,
    /// Base of the geometric series of wavelengths.
    pub base: f64,
    /// Which two entries turn together.
    pub pairing: Pairing,
    /// What is done to the wavelengths.
    pub scaling: Scaling,
}

/// Which two entries of a head turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// Entry i and i + dims/2 (GPT-NeoX, Llama and nearly all others in Hugging Face's layout).
    Halves,
    /// Entries 2i and 2i + 1 (GPT-J).
    Neighbours,
}

/// What is done to the wavelengths for contexts longer than those trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scaling {
    /// Nothing.
    None,
    /// All are multiplied (Chen et al. 2023, arXiv 2306.15595).
    Linear {
        /// By this.
        factor: f64,
    },
    /// Long ones are multiplied, short ones kept, those between interpolated (Llama 3.1).
    Llama3 {
        /// The factor for long ones.
        factor: f64,
        /// Original context over the wavelength from which on they count as long.
        low_freq_factor: f64,
        /// Original context over the wavelength up to which they count as short.
        high_freq_factor: f64,
        /// The context trained on.
        original: usize,
    },
    /// A linear ramp between both ends, and hotter scores (Peng et al. 2023, arXiv 2309.00071).
    Yarn {
        /// The factor for long ones.
        factor: f64,
        /// Rotations within the original context above which an entry is kept.
        beta_fast: f64,
        /// Rotations below which it is scaled in full.
        beta_slow: f64,
        /// The ramp's ends are rounded to whole entries.
        truncate: bool,
        /// The context trained on.
        original: usize,
        /// Multiplies cosine and sine.
        attention_factor: f64,
    },
    /// A factor for every entry, one set up to the original context and one beyond it (Ding et al. 2024, arXiv
    /// 2402.13753). Which set holds is decided row by row, by the length of the row.
    LongRope {
        /// Factors for rows up to the original context, `dims / 2`.
        short: Vec<f64>,
        /// Factors for longer rows.
        long: Vec<f64>,
        /// The context trained on.
        original: usize,
        /// Multiplies cosine and sine.
        attention_factor: f64,
    },
    /// Only the first entries of each half are rotated; the wavelengths are spread as if all were (Gemma 4).
    Proportional {
        /// How many entries of each half.
        rotated: usize,
        /// Wavelengths are multiplied by this.
        factor: f64,
    },
}

impl Rotary {
    /// Refuses what cannot be computed with heads of `d_head`.
    pub(crate) fn check(&self, d_head: usize) -> Result<()> {
        let wrong = |text: String| Err(Error::Config(format!("rotary positions: {text}")));
        if self.dims == 0 || !self.dims.is_multiple_of(2) || self.dims > d_head {
            return wrong(format!("{} entries of a head of {d_head} cannot be rotated", self.dims));
        }
        let positive = |numbers: &[f64]| numbers.iter().all(|number| *number > 0.0 && number.is_finite());
        let half = self.dims / 2;
        let fits = match &self.scaling {
            Scaling::None => true,
            Scaling::Linear { factor } => positive(&[*factor]),
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                positive(&[*factor, *low_freq_factor, *high_freq_factor])
                    && low_freq_factor < high_freq_factor
                    && *original > 0
            }
            Scaling::Yarn { factor, beta_fast, beta_slow, original, attention_factor, .. } => {
                positive(&[*factor, *beta_fast, *beta_slow, *attention_factor]) && *original > 0
            }
            Scaling::LongRope { short, long, original, attention_factor } => {
                if short.len() != half || long.len() != half {
                    return wrong(format!("{} and {} factors, not {half}", short.len(), long.len()));
                }
                positive(short) && positive(long) && positive(&[*attention_factor]) && *original > 0
            }
            Scaling::Proportional { rotated, factor } => *rotated <= half && positive(&[*factor]),
        };
        if !positive(&[self.base]) || self.base <= 1.0 && self.dims > 2 || !fits {
            return wrong(format!("a number is out of range in {self:?}"));
        }
        Ok(())
    }

    /// The row length beyond which another rotation holds, also for positions long past.
    pub(crate) fn switches_at(&self) -> Option<usize> {
        match &self.scaling {
            Scaling::LongRope { original, .. } => Some(*original),
            _ => None,
        }
    }

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
        let plain = || -> Result<Tensor> { Ok(powers(half)?.f_reciprocal()?) };
        let frequencies = match &self.scaling {
            Scaling::None => plain()?,
            Scaling::Linear { factor } => plain()?.f_div_scalar(*factor)?,
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                let (plain, original) = (plain()?, *original as f64);
                let wavelengths = plain.f_reciprocal()?.f_mul_scalar(2.0 * std::f64::consts::PI)?;
                let smooth = (wavelengths.f_reciprocal()?.f_mul_scalar(original)?)
                    .f_sub_scalar(*low_freq_factor)?
                    .f_div_scalar(high_freq_factor - low_freq_factor)?;
                let scaled = plain.f_div_scalar(*factor)?;
                let between =
                    (scaled.f_mul(&smooth.f_neg()?.f_add_scalar(1.0)?)?).f_add(&plain.f_mul(&smooth)?)?;
                let long = wavelengths.f_gt(original / low_freq_factor)?;
                let short = wavelengths.f_lt(original / high_freq_factor)?;
                scaled.f_where_self(&long, &plain.f_where_self(&short, &between)?)?
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
                scaled.f_mul(&ramp)?.f_add(&plain()?.f_mul(&kept)?)?
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
