//! Whether stored numbers are finite, and stay so in another dtype, told from their bytes: no tensor is made for it.

use tch::Kind;

use crate::dtype::dtype_name;
use crate::store::FiniteCheck;

/// The smallest magnitude, in f32, that rounds to infinity in `kind`.
fn limit(kind: Kind) -> f32 {
    match kind {
        Kind::Half => 65520.0,
        // Halfway from the largest number to the next power of two.
        Kind::BFloat16 => f32::from_bits(0x7f7f_8000),
        _ => f32::INFINITY,
    }
}

/// Whether all numbers in `bytes`, stored little-endian as `stored`, are finite when converted to `kind`.
fn all_finite(bytes: &[u8], stored: Kind, kind: Kind) -> bool {
    fn all<const WIDTH: usize>(bytes: &[u8], finite: impl Fn([u8; WIDTH]) -> bool) -> bool {
        // No early end: so the compiler can look at many at once.
        bytes.as_chunks::<WIDTH>().0.iter().fold(true, |all, number| all & finite(*number))
    }
    let limit = limit(kind);
    match stored {
        Kind::Double if kind == Kind::Double => {
            all::<8>(bytes, |number| f64::from_le_bytes(number).is_finite())
        }
        // libtorch too goes through f32.
        Kind::Double => all::<8>(bytes, |number| (f64::from_le_bytes(number) as f32).abs() < limit),
        Kind::Float => all::<4>(bytes, |number| f32::from_le_bytes(number).abs() < limit),
        Kind::BFloat16 => {
            let wide = |number| f32::from_bits(u32::from(u16::from_le_bytes(number)) << 16);
            all::<2>(bytes, |number| wide(number).abs() < limit)
        }
        // No dtype is narrower.
        _ => all::<2>(bytes, |number| u16::from_le_bytes(number) & 0x7c00 != 0x7c00),
    }
}

/// What is wrong with numbers in `bytes` of `file`, if they are to be finite and are not.
pub(crate) fn not_finite(bytes: &[u8], stored: Kind, check: FiniteCheck, file: &str) -> Option<String> {
    let kind = check.0?;
    if all_finite(bytes, stored, kind) {
        return None;
    }
    if !all_finite(bytes, stored, stored) {
        return Some(format!("holds NaN or infinity in {file}"));
    }
    Some(format!(
        "holds numbers in {file} that are too large for {}\nhint: choose a wider dtype (--dtype f32)",
        dtype_name(kind)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DTYPES;
    use tch::Tensor;

    /// Against libtorch, around every limit.
    #[test]
    fn libtorch_agrees() {
        let mut values = vec![0.0, -1.0, 1e-40, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e39];
        // The smallest number that is infinity in f32.
        let single = (2.0 - f64::powi(2.0, -24)) * f64::powi(2.0, 127);
        for at in [f64::from(limit(Kind::Half)), f64::from(limit(Kind::BFloat16)), single] {
            values.extend([at, -at, at * (1.0 - 1e-9), at * (1.0 + 1e-9), at * 0.99, at * 1.01, at * 0.9999]);
        }
        let mut seen = [0, 0];
        for (_, stored) in DTYPES {
            for value in &values {
                let original = Tensor::from_slice(&[1.0, *value]).to_kind(stored);
                let mut bytes = vec![0; 2 * stored.elt_size_in_bytes()];
                // SAFETY: the tensor holds two contiguous numbers of that width.
                unsafe {
                    std::ptr::copy_nonoverlapping(
                        original.data_ptr().cast(),
                        bytes.as_mut_ptr(),
                        bytes.len(),
                    );
                }
                for (_, kind) in DTYPES {
                    let wanted = original.to_kind(kind).isfinite().all().int64_value(&[]) == 1;
                    assert_eq!(all_finite(&bytes, stored, kind), wanted, "{value} as {stored:?} to {kind:?}");
                    seen[usize::from(wanted)] += 1;
                }
            }
        }
        assert!(seen[0] > 50 && seen[1] > 50, "{seen:?}");
    }
}
