//! Arithmetic number by number, in f32, compiled for the processor's vectors. What a bf16 model rounds is rounded in
//! the same places as by the general path, but for scores and pattern inside attention, which stay f32.

use crate::architecture::{Activation, Norm};
use crate::kernels::lanes::{Kernel, Lanes, Level};
use crate::kernels::{narrowed, widened};

/// Rounds to bf16, and stays f32.
#[inline(always)]
pub(super) fn rounded(x: f32) -> f32 {
    widened(narrowed(x))
}

/// e^x to two units in the last place from e^-87 to e^88; infinite above, e^-87 below. NaN stays NaN. (The polynomial
/// is that of Moshier's Cephes library.)
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, which then stands in the lowest bits.
    const WHOLE: f32 = 12_582_912.0;
    // Not `clamp`: the compiler makes vector instructions of this, and NaN passes.
    let above = x > 88.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if above { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + WHOLE;
    let n = shifted - WHOLE;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        p = p * r + coefficient;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let exp = (p * r * r + r + 1.0) * power;
    if above { f32::INFINITY } else { exp }
}

/// The weights of a norm.
pub(super) struct NormNumbers {
    pub(super) form: Norm,
    pub(super) weight: Option<Vec<f32>>,
    pub(super) bias: Option<Vec<f32>>,
    /// They are applied before the unit vector is rounded.
    pub(super) before_rounding: bool,
}

/// Normalises groups of `width` numbers in place; a norm with more weights than that goes through them group by group.
struct Normalise<'a> {
    norm: &'a NormNumbers,
    x: &'a mut [f32],
    width: usize,
    narrow: bool,
}

impl Kernel for Normalise<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Normalise { norm, x, width, narrow } = self;
        let eps = norm.form.eps() as f32;
        let groups = norm.weight.as_ref().map_or(1, |weight| (weight.len() / width).max(1));
        for (index, x) in x.chunks_mut(width).enumerate() {
            if norm.form.centres() {
                let mean = sum(x, |x| x) / width as f32;
                x.iter_mut().for_each(|x| *x -= mean);
            }
            let scale = (sum(x, |x| x * x) / width as f32 + eps).sqrt();
            let from = (index % groups) * width;
            let round = narrow && !norm.before_rounding;
            match (&norm.weight, &norm.bias) {
                (Some(weight), Some(bias)) => {
                    let both = weight[from..][..width].iter().zip(&bias[from..][..width]);
                    for (x, (weight, bias)) in x.iter_mut().zip(both) {
                        let unit = *x / scale;
                        let unit = if round { rounded(unit) } else { unit };
                        *x = unit * weight + bias;
                    }
                }
                (Some(weight), None) => {
                    for (x, weight) in x.iter_mut().zip(&weight[from..][..width]) {
                        let unit = *x / scale;
                        let unit = if round { rounded(unit) } else { unit };
                        *x = unit * weight;
                    }
                }
                (None, _) => x.iter_mut().for_each(|x| *x /= scale),
            }
            if narrow {
                x.iter_mut().for_each(|x| *x = rounded(*x));
            }
        }
    }
}

/// A sum in sixteen parts, as vectors make it.
#[inline(always)]
fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (whole, rest) = x.as_chunks::<16>();
    let mut sums = [0f32; 16];
    for chunk in whole {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += of(*x);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| of(*x)).sum::<f32>()
}

impl NormNumbers {
    /// Normalises groups of `width` numbers of `x` in place.
    pub(super) fn apply(&self, x: &mut [f32], width: usize, narrow: bool) {
        Level::best().run(Normalise { norm: self, x, width, narrow });
    }
}

/// `x + y` into `x`.
pub(super) fn add(x: &mut [f32], y: &[f32], narrow: bool) {
    struct Add<'a>(&'a mut [f32], &'a [f32], bool);
    impl Kernel for Add<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            for (x, y) in self.0.iter_mut().zip(self.1) {
                *x += y;
            }
            if self.2 {
                self.0.iter_mut().for_each(|x| *x = rounded(*x));
            }
        }
    }
    Level::best().run(Add(x, y, narrow));
}

/// Rounds all numbers, if the model is narrow.
pub(super) fn round(x: &mut [f32], narrow: bool) {
    struct Round<'a>(&'a mut [f32]);
    impl Kernel for Round<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            self.0.iter_mut().for_each(|x| *x = rounded(*x));
        }
    }
    if narrow {
        Level::best().run(Round(x));
    }
}

/// The activation of `x` in place, times `linear` where the MLP is gated. [`Activation::Gelu`] is left as it is: its
/// error function is libtorch's.
pub(super) fn activate(activation: Activation, x: &mut [f32], linear: Option<&[f32]>, narrow: bool) {
    struct Activate<'a>(Activation, &'a mut [f32], Option<&'a [f32]>, bool);
    impl Kernel for Activate<'_> {
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            let Activate(activation, xs, linear, narrow) = self;
            match activation {
                Activation::Silu => xs.iter_mut().for_each(|x| *x /= 1.0 + exp(-*x)),
                Activation::Relu => xs.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
                Activation::GeluTanh => xs.iter_mut().for_each(|x| {
                    // 2 sqrt(2 / pi)
                    let doubled = 1.595_769 * (*x + 0.044_715 * *x * *x * *x);
                    // (1 + tanh u) / 2 = 1 / (1 + e^-2u)
                    *x /= 1.0 + exp(-doubled);
                }),
                Activation::Gelu => {}
            }
            if narrow {
                xs.iter_mut().for_each(|x| *x = rounded(*x));
            }
            if let Some(linear) = linear {
                xs.iter_mut().zip(linear).for_each(|(x, linear)| *x *= linear);
                if narrow {
                    xs.iter_mut().for_each(|x| *x = rounded(*x));
                }
            }
        }
    }
    Level::best().run(Activate(activation, x, linear, narrow));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_two_units() {
        struct All<'a>(&'a mut Vec<f32>);
        impl Kernel for All<'_> {
            #[inline(always)]
            unsafe fn run<L: Lanes>(self) {
                self.0.iter_mut().for_each(|x| *x = exp(*x));
            }
        }
        let xs: Vec<f32> = (-86_000..88_000).map(|i| i as f32 / 1000.0 + 3e-4).collect();
        for level in Level::all() {
            let mut ys = xs.clone();
            level.run(All(&mut ys));
            for (x, y) in xs.iter().zip(&ys) {
                let want = f64::from(*x).exp();
                assert!((f64::from(*y) / want - 1.0).abs() < 2.5e-7, "{level:?} e^{x} = {y}, not {want}");
            }
        }
        assert_eq!((exp(0.0), exp(-1e30) < 1e-37, exp(f32::NAN).is_nan()), (1.0, true, true));
        assert_eq!((exp(1e30), exp(88.5)), (f32::INFINITY, f32::INFINITY));
    }

    #[test]
    fn activations_of_huge_numbers_are_those_of_libtorch() {
        let xs = [f32::MIN, -1e30, -90.0, -0.0, 0.5, 90.0, f32::MAX];
        let tensor = tch::Tensor::from_slice(&xs);
        for (activation, want) in [
            (Activation::Silu, tensor.silu()),
            (Activation::GeluTanh, tensor.gelu("tanh")),
            (Activation::Relu, tensor.relu()),
        ] {
            let mut ys = xs;
            activate(activation, &mut ys, None, false);
            for (y, want) in ys.iter().zip(Vec::<f32>::try_from(&want).unwrap()) {
                assert!((y - want).abs() <= 1e-6 * want.abs() + 1e-30, "{activation:?}: {y}, not {want}");
            }
        }
    }
}
