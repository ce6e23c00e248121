//! Rotary positions (Su et al. 2021, arXiv 2104.09864) and the scalings that stretch them to longer contexts.

use serde::Serialize;

use crate::error::{Error, Result};

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
}
