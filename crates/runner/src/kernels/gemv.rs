//! Linear maps of a few vectors, as decoding needs them: bound by the memory that the weights are read from, which
//! libtorch's general matrix product does not keep busy (measured in docs/benchmarks.md). f32 on the CPU, no gradients;
//! everything else goes through libtorch.

use std::cell::Cell;

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// More vectors than this are a matrix product.
const MOST: usize = 8;
/// Weights of less than this are not worth a thread.
const LEAST_PER_THREAD: usize = 1 << 17;

thread_local! {
    /// How many threads share a product on this thread; none: as many as libtorch uses.
    static THREADS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Threads for a product.
fn threads() -> usize {
    THREADS.get().unwrap_or_else(libtorch_threads)
}

fn libtorch_threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

/// While it lives, libtorch computes on one thread and only the products here on as many as it had: for single tokens
/// the other operations are so small that sharing them out costs more than they do. (libtorch's number is one of the
/// process: whoever computes beside on another thread has it too, as experiments that share out their work want it.)
pub(crate) struct SingleThread {
    before: i32,
}

impl SingleThread {
    /// For steps of `rows` tokens of a model with weights of `kind` on `device`; none where the products are not
    /// made here.
    pub(crate) fn begin(rows: usize, kind: Kind, device: Device) -> Option<Self> {
        let before = tch::get_num_threads();
        let ours = rows <= MOST && kind == Kind::Float && device == Device::Cpu && before > 1;
        ours.then(|| {
            THREADS.set(Some(libtorch_threads()));
            tch::set_num_threads(1);
            SingleThread { before }
        })
    }
}

impl Drop for SingleThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.before);
        THREADS.set(None);
    }
}

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
    let threads = threads().min(ws.len() / LEAST_PER_THREAD).max(1);
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

/// The products of some rows of weights with every vector.
fn some(ws: &[f32], xs: &[&[f32]], ys: &mut [&mut [f32]]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        let mut first = 0;
        while first < xs.len() {
            let (xs, ys) = (&xs[first..], &mut ys[first..]);
            // SAFETY: the processor has these instructions.
            first += unsafe {
                match xs.len() {
                    1 => avx2::<1>(ws, xs, ys),
                    2 | 3 => avx2::<2>(ws, xs, ys),
                    _ => avx2::<4>(ws, xs, ys),
                }
            };
        }
        return;
    }
    for (x, y) in xs.iter().zip(ys) {
        for (row, y) in ws.chunks_exact(x.len()).zip(y.iter_mut()) {
            *y = dot(row, x);
        }
    }
}

/// A dot product that every compiler makes vector instructions of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// `M` vectors at once: the weights are read once for all of them. A sum is made in the same order whatever `M` is,
/// so that a row does not depend on the rows that it is batched with. Gives `M`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<const M: usize>(ws: &[f32], xs: &[&[f32]], ys: &mut [&mut [f32]]) -> usize {
    use std::arch::x86_64::{
        _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };
    const LANES: usize = 8;
    let width = xs[0].len();
    let whole = width - width % (2 * LANES);
    assert!(xs[..M].iter().all(|x| x.len() == width));
    for (index, row) in ws.chunks_exact(width).enumerate() {
        let mut sums = [[_mm256_setzero_ps(); 2]; M];
        for at in (0..whole).step_by(2 * LANES) {
            // SAFETY: `at + 2 LANES <= whole <= width`, the length of the row and, as asserted, of the vectors.
            unsafe {
                let w = row.as_ptr().add(at);
                let w = [_mm256_loadu_ps(w), _mm256_loadu_ps(w.add(LANES))];
                for (sums, x) in sums.iter_mut().zip(xs) {
                    let x = x.as_ptr().add(at);
                    sums[0] = _mm256_fmadd_ps(w[0], _mm256_loadu_ps(x), sums[0]);
                    sums[1] = _mm256_fmadd_ps(w[1], _mm256_loadu_ps(x.add(LANES)), sums[1]);
                }
            }
        }
        for ((sums, x), y) in sums.iter().zip(xs).zip(ys.iter_mut()) {
            let mut lanes = [0f32; LANES];
            // SAFETY: `lanes` has room for the eight numbers.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_add_ps(sums[0], sums[1])) };
            let rest: f32 = row[whole..].iter().zip(&x[whole..]).map(|(w, x)| w * x).sum();
            y[index] = lanes.iter().sum::<f32>() + rest;
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
                    assert!(error < 2e-6 * (input as f64).sqrt() + 1e-6, "{out} {input} {rows}: {error:.1e}");
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
    fn products_keep_their_threads_while_libtorch_has_one() {
        // On a thread of its own: the number is this thread's.
        let seen = std::thread::spawn(|| {
            THREADS.set(Some(3));
            threads()
        });
        assert_eq!(seen.join().unwrap(), 3);
        assert_eq!(threads(), libtorch_threads());
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
