//! Products with a weight matrix where libtorch's own are slow, and what they are made of.

pub(crate) mod gemv;
pub(crate) mod lanes;
pub(crate) mod onednn;
pub(crate) mod product;
pub(crate) mod workers;

/// A bf16 as its bits: the upper half of an f32.
pub(crate) type Bits16 = u16;

/// The f32 that a bf16 is.
#[inline(always)]
pub(crate) fn widened(bits: Bits16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bf16 nearest to `x`, of two equally near the even one, as libtorch rounds. NaN stays NaN.
#[inline(always)]
pub(crate) fn narrowed(x: f32) -> Bits16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { 0x7fc0 } else { rounded as Bits16 }
}
