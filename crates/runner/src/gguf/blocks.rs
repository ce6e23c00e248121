//! From blocks of quantised numbers to f32, bit for bit as gguf-py and llama.cpp's reference do it: in f32, a block's
//! scale times a sub-block's first, then times the number, then less the minimum.

use super::half::half;
use super::super_blocks::{q2_k, q3_k, q4_k, q5_k, q6_k};
use super::types::Stored;

/// IQ4's numbers.
const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// MXFP4's numbers (E2M1), doubled.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The numbers in `bytes`, whole blocks of a type that is quantised, into `out`, which has room for just them.
pub(crate) fn dequantise(stored: Stored, bytes: &[u8], out: &mut [f32]) {
    match stored {
        Stored::Q4_0 => each::<18, 32>(bytes, out, q4_0),
        Stored::Q4_1 => each::<20, 32>(bytes, out, q4_1),
        Stored::Q5_0 => each::<22, 32>(bytes, out, q5_0),
        Stored::Q5_1 => each::<24, 32>(bytes, out, q5_1),
        Stored::Q8_0 => each::<34, 32>(bytes, out, q8_0),
        Stored::Q2K => each::<84, 256>(bytes, out, q2_k),
        Stored::Q3K => each::<110, 256>(bytes, out, q3_k),
        Stored::Q4K => each::<144, 256>(bytes, out, q4_k),
        Stored::Q5K => each::<176, 256>(bytes, out, q5_k),
        Stored::Q6K => each::<210, 256>(bytes, out, q6_k),
        Stored::Iq4Nl => each::<18, 32>(bytes, out, iq4_nl),
        Stored::Iq4Xs => each::<136, 256>(bytes, out, iq4_xs),
        Stored::Mxfp4 => each::<17, 32>(bytes, out, mxfp4),
        // Floating-point numbers are taken as they are: libtorch knows their types.
        Stored::F32 | Stored::F16 | Stored::Bf16 | Stored::F64 => {}
    }
}

fn each<const BYTES: usize, const NUMBERS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    one: impl Fn(&[u8; BYTES], &mut [f32; NUMBERS]),
) {
    let blocks = bytes.as_chunks::<BYTES>().0;
    for (block, numbers) in blocks.iter().zip(out.as_chunks_mut::<NUMBERS>().0) {
        one(block, numbers);
    }
}

/// Both halves of byte `j` of 16 are numbers j and j + 16.
fn nibbles(quants: &[u8], out: &mut [f32], number: impl Fn(usize, u8) -> f32) {
    let (low, high) = out.split_at_mut(16);
    for (j, byte) in quants.iter().enumerate() {
        low[j] = number(j, byte & 15);
        high[j] = number(j + 16, byte >> 4);
    }
}

fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half(block, 0);
    nibbles(&block[2..], out, |_, q| (f32::from(q) - 8.0) * d);
}

fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    nibbles(&block[4..], out, |_, q| f32::from(q) * d + m);
}

/// The fifth bit of number `j`, in its place.
fn fifth(bits: u32, j: usize) -> u8 {
    ((bits >> j & 1) as u8) << 4
}

fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half(block, 0);
    let bits = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    nibbles(&block[6..], out, |j, q| (f32::from(q | fifth(bits, j)) - 16.0) * d);
}

fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    let bits = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    nibbles(&block[8..], out, |j, q| f32::from(q | fifth(bits, j)) * d + m);
}

fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half(block, 0);
    for (number, q) in out.iter_mut().zip(&block[2..]) {
        *number = f32::from(*q as i8) * d;
    }
}

fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half(block, 0);
    nibbles(&block[2..], out, |_, q| d * f32::from(IQ4[usize::from(q)]));
}

fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = half(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    let parts = out.as_chunks_mut::<32>().0;
    for (ib, (numbers, quants)) in parts.iter_mut().zip(block[8..].as_chunks::<16>().0).enumerate() {
        let low = block[4 + ib / 2] >> (4 * (ib % 2)) & 15;
        let scale = i32::from(low) | i32::from(high >> (2 * ib) & 3) << 4;
        let dl = d * (scale - 32) as f32;
        nibbles(quants, numbers, |_, q| dl * f32::from(IQ4[usize::from(q)]));
    }
}

fn mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    // 2^(e - 128), half of the block's scale since the numbers are doubled; subnormal for the two smallest.
    let exponent = u32::from(block[0]);
    let bits = if exponent < 2 { 0x0020_0000 << exponent } else { (exponent - 1) << 23 };
    let d = f32::from_bits(bits);
    nibbles(&block[1..], out, |_, q| f32::from(E2M1[usize::from(q)]) * d);
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::{Stored, dequantise};

    /// What gguf-py makes of blocks of every type: tests/goldens/gguf_blocks.py.
    #[test]
    fn gguf_py_agrees_bit_for_bit() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/gguf/blocks.safetensors");
        let bytes = std::fs::read(file).unwrap();
        let golden = SafeTensors::deserialize(&bytes).unwrap();
        let mut types = 0;
        for stored in (0..64).filter_map(|id| Stored::from_id(id).ok()).filter(|stored| !stored.is_float()) {
            let name = stored.name();
            let blocks = golden.tensor(&format!("{name}.blocks")).unwrap();
            let numbers = golden.tensor(&format!("{name}.numbers")).unwrap();
            let wanted: Vec<f32> =
                numbers.data().as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
            assert_eq!(wanted.len() * stored.bytes(), blocks.data().len() * stored.block(), "{name}");
            let mut found = vec![0.125; wanted.len()];
            dequantise(stored, blocks.data(), &mut found);
            for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                let same = found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan();
                assert!(same, "{name}, number {at}: {found} for {wanted}");
            }
            types += 1;
        }
        assert_eq!(types, 13);
    }
}
