//! Linear maps on the CPU where libtorch's own are slow (measured in docs/benchmarks.md): of a few vectors, which are
//! bound by the memory that the weights are read from, by the kernels here; of many in bf16, where the processor has no
//! instructions for it, in f32. No gradients; everything else goes through libtorch.

use std::cell::Cell;

use tch::{Device, Kind, Tensor};

use super::lanes::Level;
use super::product::{Matrix, Product, Vectors, products};
use super::workers::Workers;
use crate::error::Result;

/// More vectors than this are libtorch's in f32.
const MOST: usize = 8;
/// And in bf16.
const MOST_BF16: usize = 16;
/// Weights of less than this are not worth a thread.
const LEAST_PER_THREAD: usize = 1 << 17;

thread_local! {
    /// How many threads share a product on this thread; none: as many as libtorch uses.
    static THREADS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Threads for a product.
pub(crate) fn threads() -> usize {
    THREADS.get().unwrap_or_else(libtorch_threads)
}

fn libtorch_threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

/// While it lives, libtorch computes on one thread and only the products here on as many as it had: for single tokens
/// the other operations are so small that sharing them out costs more than they do. (A thread
/// that calls libtorch for the first time meanwhile has one thread from then on, too.)
pub(crate) struct SingleThread {
    before: i32,
}

impl SingleThread {
    /// For steps of `rows` tokens of a model with weights of `kind` on `device`; none where the products are not
    /// made here.
    pub(crate) fn begin(rows: usize, kind: Kind, device: Device) -> Option<Self> {
        let ours = rows <= MOST && kind == Kind::Float && device == Device::Cpu;
        if ours { SingleThread::always() } else { None }
    }

    /// Whatever is computed; none if there is one thread anyway.
    pub(crate) fn always() -> Option<Self> {
        let before = tch::get_num_threads();
        (before > 1).then(|| {
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
    let (rows, kind) = (outer.iter().product::<i64>(), weight.kind());
    let most = match kind {
        Kind::Float => MOST,
        Kind::BFloat16 if multiplies_bf16() => MOST_BF16,
        // More than that go through f32, below.
        Kind::BFloat16 => usize::MAX,
        _ => 0,
    };
    let fits = |t: &Tensor| t.kind() == kind && t.device() == Device::Cpu && !t.requires_grad();
    if rows < 1
        || rows as usize > most
        || width != *input
        || *out < 1
        || *input < 1
        || !weight.is_contiguous()
        || !(fits(x)
            && fits(weight)
            && bias.is_none_or(|b| fits(b) && b.is_contiguous() && b.size() == [*out]))
    {
        return Ok(None);
    }
    if kind == Kind::BFloat16 && rows as usize > MOST_BF16 {
        // In f32, whose products libtorch makes well, for as long as it takes. Sums are in f32 either way.
        let wide = |t: &Tensor| t.f_to_kind(Kind::Float);
        let y = wide(x)?.f_linear(&wide(weight)?, bias.map(wide).transpose()?.as_ref())?;
        return Ok(Some(y.f_to_kind(kind)?));
    }
    let x = x.f_to_kind(Kind::Float)?.f_contiguous()?;
    let bias = bias.map(|bias| bias.f_to_kind(Kind::Float)).transpose()?;
    let mut size = outer.to_vec();
    size.push(*out);
    let y = Tensor::f_empty(&size, (Kind::Float, Device::Cpu))?;
    let (rows, width, out) = (rows as usize, width as usize, *out as usize);
    // SAFETY: contiguous tensors of these sizes and kinds on the CPU, alive until the end of this function; `y` is new,
    // and nobody else has it.
    unsafe {
        let read = |t: &Tensor, numbers| std::slice::from_raw_parts(t.data_ptr().cast::<f32>(), numbers);
        let matrix = match kind {
            Kind::Float => Matrix::Single(read(weight, out * width)),
            _ => Matrix::Bf16(std::slice::from_raw_parts(weight.data_ptr().cast(), out * width)),
        };
        let y = std::slice::from_raw_parts_mut(y.data_ptr().cast::<f32>(), rows * out);
        let bias = bias.as_ref().map(|bias| read(bias, out));
        let workers =
            Workers::Pool(threads().min(out * width * rows.div_ceil(MOST) / LEAST_PER_THREAD).max(1));
        let vectors = Vectors::new(read(&x, rows * width), width, Level::best());
        products(&vectors, &mut [Product { weight: matrix, bias, y }], workers);
    }
    Ok(Some(y.f_to_kind(kind)?))
}

/// Whether the processor multiplies bf16 itself, which libtorch uses.
fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
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
    fn a_row_does_not_depend_on_the_others_beside_it() {
        let (x, w) = (random(&[1, 4, 300], 1), random(&[1000, 300], 2));
        let all = linear(&x, &w, None).unwrap().unwrap();
        assert_eq!(all.size(), [1, 4, 1000]);
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
