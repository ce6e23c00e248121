//! Attention of one new token over a key/value cache, a group of heads that share keys and values at a time.

use std::ops::Range;

use super::numbers::{exp, rounded};
use crate::kernels::Bits16;
use crate::kernels::lanes::{Kernel, Lanes, Level};
use crate::kernels::product::{Element, Matrix};

/// What the heads of a group do with a token.
pub(super) struct Mix<'a> {
    /// Rotated queries, `[heads of the group, d_head]`.
    pub(super) q: &'a [f32],
    /// Keys and values of one head, `[columns, d_head]`, both of one kind.
    pub(super) keys: Matrix<'a>,
    pub(super) values: Matrix<'a>,
    pub(super) d_head: usize,
    /// The columns that it attends to, in order.
    pub(super) columns: &'a [Range<usize>],
    pub(super) factor: f32,
    pub(super) cap: Option<f32>,
    /// The mixed values, `[heads of the group, d_head]`.
    pub(super) z: &'a mut [f32],
    pub(super) narrow: bool,
}

impl Mix<'_> {
    pub(super) fn compute(self) {
        Level::best().run(self);
    }
}

impl Kernel for Mix<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: as for the caller.
        match (self.keys, self.values) {
            (Matrix::Single(keys), Matrix::Single(values)) => unsafe { mix::<L, f32>(self, keys, values) },
            (Matrix::Bf16(keys), Matrix::Bf16(values)) => unsafe { mix::<L, Bits16>(self, keys, values) },
            // Both are of the model's dtype.
            _ => {}
        }
    }
}

#[inline(always)]
unsafe fn mix<L: Lanes, E: Element>(what: Mix<'_>, keys: &[E], values: &[E]) {
    let Mix { q, d_head, columns, factor, cap, z, narrow, .. } = what;
    let total: usize = columns.iter().map(Range::len).sum();
    let mut scores = Vec::with_capacity(total);
    for (q, z) in q.chunks(d_head).zip(z.chunks_mut(d_head)) {
        scores.clear();
        for range in columns {
            let keys = &keys[range.start * d_head..range.end * d_head];
            // SAFETY: as for the caller.
            unsafe { dots::<L, E>(q, keys, &mut scores) };
        }
        scores.iter_mut().for_each(|score| *score *= factor);
        if let Some(cap) = cap {
            scores.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
        }
        let mut highest = f32::NEG_INFINITY;
        for score in &scores {
            highest = if *score > highest { *score } else { highest };
        }
        scores.iter_mut().for_each(|score| *score = exp(*score - highest));
        let sum: f32 = scores.iter().sum();
        z.fill(0.0);
        let mut from = 0;
        for range in columns {
            let values = &values[range.start * d_head..range.end * d_head];
            // SAFETY: as for the caller.
            unsafe { add_weighted::<L, E>(&scores[from..][..range.len()], values, z) };
            from += range.len();
        }
        z.iter_mut().for_each(|z| *z /= sum);
        if narrow {
            z.iter_mut().for_each(|z| *z = rounded(*z));
        }
    }
}

/// The products of `q` with each key, four at a time.
#[inline(always)]
unsafe fn dots<L: Lanes, E: Element>(q: &[f32], keys: &[E], scores: &mut Vec<f32>) {
    let d = q.len();
    let mut groups = keys.chunks_exact(4 * d);
    for four in &mut groups {
        // SAFETY: four keys of `d` numbers each.
        scores.extend(unsafe { dot::<L, E, 4>(q, four) });
    }
    for key in groups.remainder().chunks_exact(d) {
        // SAFETY: a key of `d` numbers.
        scores.extend(unsafe { dot::<L, E, 1>(q, key) });
    }
}

#[inline(always)]
unsafe fn dot<L: Lanes, E: Element, const M: usize>(q: &[f32], keys: &[E]) -> [f32; M] {
    let d = q.len();
    assert!(keys.len() == M * d);
    let whole = d - d % L::N;
    // SAFETY: the offsets are within these lengths.
    unsafe {
        let mut sums = [L::splat(0.0); M];
        for i in (0..whole).step_by(L::N) {
            let q = L::load(q.as_ptr().add(i));
            for (m, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add_product(q, E::load::<L>(keys.as_ptr().add(m * d + i)));
            }
        }
        std::array::from_fn(|m| {
            let rest: f32 = (whole..d).map(|i| q[i] * keys[m * d + i].wide()).sum();
            sums[m].sum() + rest
        })
    }
}

/// Adds every row of `values` times its weight to `z`, four vectors of it at a time.
#[inline(always)]
unsafe fn add_weighted<L: Lanes, E: Element>(weights: &[f32], values: &[E], z: &mut [f32]) {
    let d = z.len();
    let mut from = 0;
    // SAFETY: `from + V * N <= d`, and there are as many rows of values as weights.
    unsafe {
        while from + 4 * L::N <= d {
            stripe::<L, E, 4>(weights, values, z, from);
            from += 4 * L::N;
        }
        while from + L::N <= d {
            stripe::<L, E, 1>(weights, values, z, from);
            from += L::N;
        }
    }
    for i in from..d {
        z[i] += weights.iter().zip(values.chunks(d)).map(|(weight, row)| weight * row[i].wide()).sum::<f32>();
    }
}

#[inline(always)]
unsafe fn stripe<L: Lanes, E: Element, const V: usize>(
    weights: &[f32],
    values: &[E],
    z: &mut [f32],
    from: usize,
) {
    let d = z.len();
    assert!(values.len() == weights.len() * d && from + V * L::N <= d);
    // SAFETY: as just checked.
    unsafe {
        let mut sums: [L; V] = std::array::from_fn(|v| L::load(z.as_ptr().add(from + v * L::N)));
        for (index, weight) in weights.iter().enumerate() {
            let weight = L::splat(*weight);
            let row = values.as_ptr().add(index * d + from);
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add_product(weight, E::load::<L>(row.add(v * L::N)));
            }
        }
        for (v, sum) in sums.iter().enumerate() {
            sum.store(z.as_mut_ptr().add(from + v * L::N));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::narrowed;

    #[test]
    fn it_is_the_softmax_of_the_products_over_the_columns_asked_for() {
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 31 + seed * 17) % 97) as f32 / 48.0 - 1.0).collect()
        };
        for d in [1, 4, 12, 40, 64, 80] {
            let (q, keys, values) = (numbers(2 * d, 1), numbers(30 * d, 2), numbers(30 * d, 3));
            for (columns, cap) in
                [(vec![0..17, 17..30], None), (vec![3..4, 5..6], Some(2.0)), (vec![1..9, 12..30], Some(0.5))]
            {
                let mut want = Vec::new();
                for q in q.chunks(d) {
                    let at: Vec<usize> = columns.iter().cloned().flatten().collect();
                    let score = |j: &usize| -> f64 {
                        let dot: f32 = q.iter().zip(&keys[j * d..][..d]).map(|(q, k)| q * k).sum();
                        let score = f64::from(dot) * 0.25;
                        cap.map_or(score, |cap: f64| cap * (score / cap).tanh()).exp()
                    };
                    let sum: f64 = at.iter().map(score).sum();
                    want.extend((0..d).map(|i| {
                        at.iter().map(|j| score(j) / sum * f64::from(values[j * d + i])).sum::<f64>()
                    }));
                }
                let mixed = |keys, values| {
                    let mut z = vec![0f32; 2 * d];
                    let (q, columns) = (&q[..], &columns[..]);
                    let cap = cap.map(|cap| cap as f32);
                    Mix { q, keys, values, d_head: d, columns, factor: 0.25, cap, z: &mut z, narrow: false }
                        .compute();
                    let errors = z.iter().zip(&want).map(|(z, want)| (f64::from(*z) - want).abs());
                    errors.fold(0.0, f64::max)
                };
                assert!(mixed(Matrix::Single(&keys), Matrix::Single(&values)) < 2e-6, "{d}");
                // The same keys and values as bf16, which these numbers nearly are.
                let bits = |x: &[f32]| x.iter().map(|x| narrowed(*x)).collect::<Vec<_>>();
                assert!(mixed(Matrix::Bf16(&bits(&keys)), Matrix::Bf16(&bits(&values))) < 2e-2, "{d}");
            }
        }
    }
}
