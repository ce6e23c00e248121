//! The scales of blocks: IEEE halves.

/// The f16 at `at`.
pub(super) fn half(block: &[u8], at: usize) -> f32 {
    let bits = u16::from_le_bytes([block[at], block[at + 1]]);
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let magnitude = match rest {
        0x7c00.. => f32::from_bits(0x7f80_0000 | (rest & 0x3ff) << 13),
        0x0400.. => f32::from_bits((rest << 13) + (112 << 23)),
        // Subnormal: a multiple of 2^-24, exactly.
        _ => rest as f32 * f32::from_bits((127 - 24) << 23),
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::half;

    /// Every f16, by its definition.
    #[test]
    fn halves() {
        for bits in 0..=u16::MAX {
            let found = half(&bits.to_le_bytes(), 0);
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let magnitude = match exponent {
                0 => fraction * f64::powi(2.0, -24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + fraction) * f64::powi(2.0, exponent - 25),
            };
            let wanted = if bits >> 15 == 1 { -magnitude } else { magnitude };
            assert_eq!(found.is_nan(), wanted.is_nan(), "{bits:#x}");
            assert!(found.is_nan() || f64::from(found) == wanted, "{bits:#x}: {found} for {wanted}");
            assert_eq!(found.is_sign_negative(), bits >> 15 == 1, "{bits:#x}");
        }
    }
}
