//! The K types: blocks of 256 numbers in sub-blocks of 16 or 32, each with a scale of its own.

use super::half::half;

pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (scales, quants) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half(block, 80), half(block, 82));
    for (part, numbers) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = scales[part];
        let (dl, ml) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
        let (first, shift) = two_bits(part);
        for (number, q) in numbers.iter_mut().zip(&quants[first..]) {
            *number = dl * f32::from(q >> shift & 3) - ml;
        }
    }
}

/// Where the two bits of each number of the sub-block `part` of 16 are: the first byte, and the shift. 128 numbers
/// share 32 bytes: 16 from the first half of them, 16 from the second, and then the next two bits.
fn two_bits(part: usize) -> (usize, usize) {
    (part / 8 * 32 + part % 2 * 16, part % 8 / 2 * 2)
}

pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let (mask, quants) = (&block[..32], &block[32..96]);
    let scales = six_bit_scales(&block[96..108]);
    let d = half(block, 108);
    for (part, numbers) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let dl = d * (f32::from(scales[part]) - 32.0);
        let (first, shift) = two_bits(part);
        let high = part / 2;
        for (j, number) in numbers.iter_mut().enumerate() {
            let q = quants[first + j] >> shift & 3;
            let set = mask[part % 2 * 16 + j] >> high & 1;
            *number = dl * (f32::from(q) - if set == 1 { 0.0 } else { 4.0 });
        }
    }
}

/// Q3_K's 16 scales: their low four bits, then the upper two of all, four to a byte.
fn six_bit_scales(packed: &[u8]) -> [u8; 16] {
    std::array::from_fn(|j| {
        let low = packed[j % 8] >> (j / 8 * 4) & 15;
        low | (packed[8 + j % 4] >> (j / 4 * 2) & 3) << 4
    })
}

/// Scale and minimum of the sub-block `j` of eight, of Q4_K and Q5_K.
fn scale_and_minimum(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, minimum) = match j {
        0..4 => (packed[j] & 63, packed[j + 4] & 63),
        _ => {
            let low = packed[j + 4];
            (low & 15 | packed[j - 4] >> 6 << 4, low >> 4 | packed[j] >> 6 << 4)
        }
    };
    (f32::from(scale), f32::from(minimum))
}

pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let (scales, quants) = (&block[4..16], &block[16..]);
    for (part, numbers) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, minimum) = scale_and_minimum(scales, part);
        let (dl, ml) = (d * scale, dmin * minimum);
        let shift = part % 2 * 4;
        for (number, q) in numbers.iter_mut().zip(&quants[part / 2 * 32..]) {
            *number = dl * f32::from(q >> shift & 15) - ml;
        }
    }
}

pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let (scales, fifths, quants) = (&block[4..16], &block[16..48], &block[48..]);
    for (part, numbers) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, minimum) = scale_and_minimum(scales, part);
        let (dl, ml) = (d * scale, dmin * minimum);
        let shift = part % 2 * 4;
        let low = &quants[part / 2 * 32..];
        for ((number, q), fifth) in numbers.iter_mut().zip(low).zip(fifths) {
            let q = q >> shift & 15 | (fifth >> part & 1) << 4;
            *number = dl * f32::from(q) - ml;
        }
    }
}

pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half(block, 208);
    for (part, numbers) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let dl = d * f32::from(scales[part] as i8);
        // Of 128 numbers, the first 64 have the low nibbles and the others the high ones of the same 64 bytes.
        let (half, within) = (part / 8, part % 8);
        let shift = within / 4 * 4;
        let low = &low[half * 64 + within % 4 * 16..];
        let high = &high[half * 32 + within % 2 * 16..];
        for ((number, low), high) in numbers.iter_mut().zip(low).zip(high) {
            let q = low >> shift & 15 | (high >> (within / 2 * 2) & 3) << 4;
            *number = dl * (f32::from(q) - 32.0);
        }
    }
}
