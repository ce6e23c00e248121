//! The rate of bare matrix products, which no program made of them can beat: of libtorch's own linear map, and of
//! the faster of that and oneDNN, which refrain uses on some processors.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use refrain_patching::sweep::MatMul;
use tch::{Kind, Tensor};

/// Seconds of all products.
#[derive(Debug, Clone, Copy)]
pub struct Roof {
    /// By libtorch's linear map.
    pub libtorch: f64,
    /// By the faster way for each shape.
    pub best: f64,
}

/// For how long each shape is tried.
const TRIAL: Duration = Duration::from_millis(150);

/// Seconds that `products` take on `threads` cores, each core doing whole products of its own: every shape is timed
/// on all cores at once.
pub fn seconds(products: &[MatMul], threads: usize, kind: Kind) -> Roof {
    let mut by_shape: BTreeMap<(usize, usize, usize, usize), f64> = BTreeMap::new();
    for product in products {
        // Small products come in batches, as attention's do.
        let batch = if product.times > 16 { product.times } else { 1 };
        let count = product.times as f64 / batch as f64;
        *by_shape.entry((batch, product.rows, product.inputs, product.outputs)).or_default() += count;
    }
    let before = tch::get_num_threads();
    let mut roof = Roof { libtorch: 0.0, best: 0.0 };
    for (shape, count) in by_shape {
        let linear = one(shape, threads, kind, false);
        let other =
            if shape.0 == 1 && kind == Kind::Float { one(shape, threads, kind, true) } else { linear };
        roof.libtorch += linear * count;
        roof.best += linear.min(other) * count;
    }
    tch::set_num_threads(before);
    roof
}

/// Seconds of one batch of products, when all cores do them side by side.
fn one(
    (batch, rows, inputs, outputs): (usize, usize, usize, usize),
    threads: usize,
    kind: Kind,
    onednn: bool,
) -> f64 {
    let of = || {
        tch::set_num_threads(1);
        let _guard = tch::no_grad_guard();
        let random = |size: &[i64]| Tensor::randn(size, (kind, tch::Device::Cpu));
        let (batch, rows, inputs, outputs) = (batch as i64, rows as i64, inputs as i64, outputs as i64);
        let (x, weight) = match batch {
            1 => (random(&[rows, inputs]), random(&[outputs, inputs])),
            _ => (random(&[batch, rows, inputs]), random(&[batch, outputs, inputs])),
        };
        let product = || match batch {
            // A convolution with a window of one, in oneDNN's favourite order of memory.
            1 if onednn => {
                let picture = x.reshape([1, rows, 1, inputs]).permute([0, 3, 1, 2]);
                let kernel = weight.reshape([outputs, inputs, 1, 1]);
                picture.mkldnn_convolution(&kernel, None::<&Tensor>, [0, 0], [1, 1], [1, 1], 1)
            }
            1 => x.linear(&weight, None::<&Tensor>),
            _ => x.bmm(&weight.transpose(1, 2)),
        };
        let _ = product();
        let (start, mut done) = (Instant::now(), 0);
        while done == 0 || start.elapsed() < TRIAL {
            let _ = product();
            done += 1;
        }
        f64::from(done) / start.elapsed().as_secs_f64()
    };
    let rate: f64 = std::thread::scope(|scope| {
        let cores: Vec<_> = (0..threads).map(|_| scope.spawn(of)).collect();
        cores.into_iter().map(|core| core.join().unwrap_or(f64::NAN)).sum()
    });
    1.0 / rate
}
