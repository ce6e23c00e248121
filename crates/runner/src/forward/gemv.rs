//! Linear maps of a few vectors, as decoding needs them: bound by the memory that the weights are read from, which
//! libtorch's general matrix product does not keep busy (measured in docs/benchmarks.md). f32 on the CPU, no gradients;
//! everything else goes through libtorch.

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// More vectors than this are a matrix product.
const MOST: usize = 8;
/// Weights of less than this are not worth a thread.
const LEAST_PER_THREAD: usize = 1 << 17;

/// `x W^T + b` for `x` of `[..., in]`, `weight` `[out, in]` and `bias` `[out]`; none if this is not the place for it.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Option<Tensor>> {
    let (size, shape) = (x.size(), weight.size());
    let (Some((&width, outer)), [out, input]) = (size.split_last(), &shape[..]) else { return Ok(None) };
    let rows = outer.iter().product::<i64>();
    let fits = |t: &Tensor| t.kind() == Kind::Float && t.device() == Device::Cpu && !t.requires_grad();
    if rows < 1
        || rows > MOST as i64
        || width != *input
        || *out < 1
        || *input < 1
        || weight.stride() != [*input, 1]
        || !(fits(x)
            && fits(weight)
            && bias.is_none_or(|b| fits(b) && b.is_contiguous() && b.size() == [*out]))
    {
        return Ok(None);
    }
    let x = x.f_contiguous()?;
    let mut size = outer.to_vec();
    size.push(*out);
    let y = Tensor::f_empty(&size, (Kind::Float, Device::Cpu))?;
    let (rows, width, out) = (rows as usize, width as usize, *out as usize);
    // SAFETY: contiguous f32 tensors of these sizes on the CPU, alive until the end of this function; `y` is new, and
    // nobody else has it.
    let (xs, ws, ys) = unsafe {
        (
            std::slice::from_raw_parts(x.data_ptr().cast::<f32>(), rows * width),
            std::slice::from_raw_parts(weight.data_ptr().cast::<f32>(), out * width),
            std::slice::from_raw_parts_mut(y.data_ptr().cast::<f32>(), rows * out),
        )
    };
    let vectors: Vec<&[f32]> = xs.chunks(width).collect();
    product(ws, &vectors, ys, out);
    if let Some(bias) = bias {
        let mut y = y.shallow_clone();
        let _ = y.f_add_(bias)?;
    }
    Ok(Some(y))
}

/// `ys[r][o] = w[o] . xs[r]`, the rows of `w` shared out among libtorch's number of threads. The order of each sum does
/// not depend on the threads.
fn product(ws: &[f32], xs: &[&[f32]], ys: &mut [f32], out: usize) {
    let threads =
        usize::try_from(tch::get_num_threads()).unwrap_or(1).min(ws.len() / LEAST_PER_THREAD).max(1);
    let width = ws.len() / out;
    let share = out.div_ceil(threads);
    // One slice of every row of `ys` for each thread.
    let mut parts: Vec<Vec<&mut [f32]>> = (0..threads).map(|_| Vec::with_capacity(xs.len())).collect();
    for row in ys.chunks_mut(out) {
        for (part, slice) in parts.iter_mut().zip(row.chunks_mut(share)) {
            part.push(slice);
        }
    }
    let jobs = parts.into_iter().zip(ws.chunks(share * width));
    if threads == 1 {
        jobs.for_each(|(mut part, ws)| some(ws, xs, &mut part));
    } else {
        rayon::scope(|scope| {
            for (mut part, ws) in jobs {
                scope.spawn(move |_| some(ws, xs, &mut part));
            }
        });
    }
}

/// The products of some rows of weights, by the widest instructions that this processor has.
fn some(ws: &[f32], xs: &[&[f32]], ys: &mut [&mut [f32]]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn avx512(ws: &[f32], xs: &[&[f32]], ys: &mut [&mut [f32]]) {
            each(ws, xs, ys, f32::mul_add);
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(ws: &[f32], xs: &[&[f32]], ys: &mut [&mut [f32]]) {
            each(ws, xs, ys, f32::mul_add);
        }
        if is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has these instructions.
            return unsafe { avx512(ws, xs, ys) };
        }
        if is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has these instructions.
            return unsafe { avx2(ws, xs, ys) };
        }
    }
    each(ws, xs, ys, |a, b, c| a * b + c);
}

#[inline(always)]
fn each(ws: &[f32], xs: &[&[f32]], ys: &mut [&mut [f32]], fma: impl Fn(f32, f32, f32) -> f32 + Copy) {
    let mut first = 0;
    while first < xs.len() {
        let (xs, ys) = (&xs[first..], &mut ys[first..]);
        first += match xs.len() {
            1 => few::<1>(ws, xs, ys, fma),
            2 | 3 => few::<2>(ws, xs, ys, fma),
            _ => few::<4>(ws, xs, ys, fma),
        };
    }
}

/// Every sum is made of this many partial sums, whatever else is computed beside it, so that a row's result does not depend on
/// the rows that it is batched with.
const LANES: usize = 32;

/// `M` vectors at once.
#[inline(always)]
fn few<const M: usize>(
    ws: &[f32],
    xs: &[&[f32]],
    ys: &mut [&mut [f32]],
    fma: impl Fn(f32, f32, f32) -> f32 + Copy,
) -> usize {
    let width = xs[0].len();
    for (index, row) in ws.chunks_exact(width).enumerate() {
        let mut sums = [[0f32; LANES]; M];
        let whole = width - width % LANES;
        let mut at = 0;
        while at < whole {
            let w: &[f32] = &row[at..at + LANES];
            for (sums, x) in sums.iter_mut().zip(xs) {
                let x: &[f32] = &x[at..at + LANES];
                for lane in 0..LANES {
                    sums[lane] = fma(w[lane], x[lane], sums[lane]);
                }
            }
            at += LANES;
        }
        for ((sums, x), y) in sums.iter_mut().zip(xs).zip(ys.iter_mut()) {
            let mut rest = 0f32;
            for (w, x) in row[whole..].iter().zip(&x[whole..]) {
                rest = fma(*w, *x, rest);
            }
            let mut count = LANES;
            while count > 1 {
                count /= 2;
                for lane in 0..count {
                    sums[lane] += sums[lane + count];
                }
            }
            y[index] = sums[0] + rest;
        }
    }
    M
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: &[i64], seed: i64) -> Tensor {
        // No generator shared with other tests.
        let numbers: i64 = shape.iter().product();
        let index = Tensor::arange(numbers, (Kind::Double, Device::Cpu));
        ((index * 0.7391 + seed as f64).sin() * 43_758.545).frac().to_kind(Kind::Float).reshape(shape)
    }

    #[test]
    fn equals_libtorch_in_double_precision() {
        for (out, input) in [(1, 1), (3, 7), (64, 64), (50, 63), (129, 200), (31, 1025), (700, 768)] {
            for rows in 1..=MOST as i64 {
                let (x, w, b) = (random(&[rows, input], 1), random(&[out, input], 2), random(&[out], 3));
                for bias in [None, Some(&b)] {
                    let got = linear(&x, &w, bias).unwrap().expect("the place for it");
                    let wide = |t: &Tensor| t.to_kind(Kind::Double);
                    let want = wide(&x).linear(&wide(&w), bias.map(wide).as_ref());
                    let error = (got.to_kind(Kind::Double) - want).abs().max().double_value(&[]);
                    assert!(error < 1e-6 * (input as f64).sqrt() + 1e-6, "{out} {input} {rows}: {error:.1e}");
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others_beside_it_nor_on_the_threads() {
        let (x, w) = (random(&[1, 4, 300], 1), random(&[1000, 300], 2));
        let all = linear(&x, &w, None).unwrap().unwrap();
        assert_eq!(all.size(), [1, 4, 1000]);
        let mut ys = vec![0f32; 4000];
        let flat = Vec::<f32>::try_from(x.reshape([-1])).unwrap();
        let weights = Vec::<f32>::try_from(w.reshape([-1])).unwrap();
        let xs: Vec<&[f32]> = flat.chunks(300).collect();
        some(&weights, &xs, &mut ys.chunks_mut(1000).collect::<Vec<_>>());
        assert_eq!(Vec::<f32>::try_from(all.reshape([-1])).unwrap(), ys);
        for row in 0..4 {
            let alone = linear(&x.narrow(1, row, 1), &w, None).unwrap().unwrap();
            assert_eq!(alone, all.narrow(1, row, 1));
        }
    }

    #[test]
    fn everything_else_is_left_to_libtorch() {
        let (x, w) = (random(&[1, 8], 1), random(&[4, 8], 2));
        let left = |x: &Tensor, w: &Tensor| linear(x, w, None).unwrap().is_none();
        assert!(!left(&x, &w));
        assert!(left(&x.to_kind(Kind::Double), &w.to_kind(Kind::Double)));
        assert!(left(&random(&[9, 8], 1), &w), "many rows");
        assert!(left(&x, &w.tr().contiguous().tr()), "another layout");
        assert!(left(&x, &w.set_requires_grad(true)), "gradients");
    }
}
