//! Rotary positions, pair by pair: each is a complex number that is multiplied by exp(i position frequency).

use tch::Tensor;

use crate::architecture::{Pairing, Rotary, Scaling};
use crate::error::Result;

/// Radians per position of pair `pair`, in a row of `length` tokens.
fn frequency(rotary: &Rotary, pair: usize, length: i64) -> f64 {
    let dims = rotary.dims as f64;
    let unscaled = rotary.base.powf(-2.0 * pair as f64 / dims);
    let turn = 2.0 * std::f64::consts::PI;
    match &rotary.scaling {
        Scaling::None => unscaled,
        Scaling::Linear { factor } => unscaled / factor,
        Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
            // How often the pair turns within the original context.
            let turns = *original as f64 * unscaled / turn;
            let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
            kept * unscaled + (1.0 - kept) * unscaled / factor
        }
        Scaling::Yarn { factor, beta_fast, beta_slow, truncate, original, .. } => {
            // The pair, as a real number, that turns so often within the original context.
            let pair_of = |turns: f64| dims / 2.0 * (*original as f64 / (turns * turn)).log(rotary.base);
            let (mut first, mut last) = (pair_of(*beta_fast), pair_of(*beta_slow));
            if *truncate {
                (first, last) = (first.floor(), last.ceil());
            }
            (first, last) = (first.max(0.0), last.min(dims - 1.0));
            let width = if first == last { 0.001 } else { last - first };
            let stretched = ((pair as f64 - first) / width).clamp(0.0, 1.0);
            unscaled * (1.0 - stretched + stretched / factor)
        }
        Scaling::LongRope { short, long, original, .. } => {
            unscaled / if length > *original as i64 { long[pair] } else { short[pair] }
        }
        Scaling::Proportional { rotated, factor } => {
            if pair < *rotated {
                unscaled / factor
            } else {
                0.0
            }
        }
    }
}

/// `x`, `[batch, pos, head, d_head]`, rotated to `positions`, by row.
pub(super) fn rotated(rotary: &Rotary, positions: &[Vec<i64>], x: &Tensor) -> Result<Tensor> {
    let width = x.size()[3] as usize;
    let half = rotary.dims / 2;
    let pairs: Vec<(usize, usize)> = match rotary.pairing {
        Pairing::Halves => (0..half).map(|pair| (pair, pair + half)).collect(),
        Pairing::Neighbours => (0..half).map(|pair| (2 * pair, 2 * pair + 1)).collect(),
    };
    let size = match rotary.scaling {
        Scaling::Yarn { attention_factor, .. } | Scaling::LongRope { attention_factor, .. } => {
            attention_factor
        }
        _ => 1.0,
    };
    let (mut reals, mut imaginaries) = (Vec::new(), Vec::new());
    for row in positions {
        let length = row.iter().max().copied().unwrap_or(0) + 1;
        for position in row {
            for pair in 0..half {
                let angle = *position as f64 * frequency(rotary, pair, length);
                reals.push(size * angle.cos());
                imaginaries.push(size * angle.sin());
            }
        }
    }
    let (batch, pos) = (positions.len() as i64, positions.first().map_or(0, Vec::len) as i64);
    // [batch, pos, 1, pair]
    let factor = |parts: &[f64]| Tensor::f_from_slice(parts)?.f_reshape([batch, pos, 1, half as i64]);
    let (c, d) = (factor(&reals)?, factor(&imaginaries)?);
    let take = |which: Vec<usize>| -> Result<Tensor> {
        let which: Vec<i64> = which.into_iter().map(|entry| entry as i64).collect();
        Ok(x.f_index_select(3, &Tensor::f_from_slice(&which)?)?)
    };
    let first: Vec<usize> = pairs.iter().map(|pair| pair.0).collect();
    let second: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
    let still: Vec<usize> = (rotary.dims..width).collect();
    let (a, b) = (take(first.clone())?, take(second.clone())?);
    // (a + ib)(c + id)
    let real = a.f_mul(&c)?.f_sub(&b.f_mul(&d)?)?;
    let imaginary = a.f_mul(&d)?.f_add(&b.f_mul(&c)?)?;
    // Back to their places.
    let order = [first, second, still.clone()].concat();
    let mut back = vec![0i64; width];
    order.iter().enumerate().for_each(|(at, entry)| back[*entry] = at as i64);
    let all = Tensor::f_cat(&[real, imaginary, take(still)?], 3)?;
    Ok(all.f_index_select(3, &Tensor::f_from_slice(&back)?)?)
}
