//! Rotary positions (Su et al. 2021) with the halves of a head paired, as in Hugging Face's Llama.

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// Cosine and sine for some positions, each `[rows, pos, 1, d_head]`, rows 1 or batch.
pub(crate) struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// For `positions`, `[rows, pos]` i64. The angles are computed in f32, as the models were trained, and in
    /// f64 only for f64.
    pub(crate) fn new(
        base: f64,
        d_head: usize,
        positions: &Tensor,
        kind: Kind,
        device: Device,
    ) -> Result<Self> {
        let wide = crate::norm::wider(kind);
        let half = (d_head / 2) as i64;
        let exponents = Tensor::f_arange(half, (wide, device))?.f_mul_scalar(2.0 / d_head as f64)?;
        let frequencies = Tensor::f_full([1], base, (wide, device))?.f_pow(&exponents)?.f_reciprocal()?;
        let angles = positions.f_to_kind(wide)?.f_unsqueeze(-1)?.f_mul(&frequencies)?;
        let both = Tensor::f_cat(&[&angles, &angles], -1)?.f_unsqueeze(2)?;
        Ok(Rotation { cos: both.f_cos()?.f_to_kind(kind)?, sin: both.f_sin()?.f_to_kind(kind)? })
    }

    /// Rotates `x`, `[batch, pos, head, d_head]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let half = x.size()[3] / 2;
        let (low, high) = (x.f_narrow(3, 0, half)?, x.f_narrow(3, half, half)?);
        let turned = Tensor::f_cat(&[&high.f_neg()?, &low], 3)?;
        Ok(x.f_mul(&self.cos)?.f_add(&turned.f_mul(&self.sin)?)?)
    }
}
