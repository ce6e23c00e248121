//! Linear maps of many vectors by oneDNN, where libtorch's own choice is slow: MKL keeps its AVX-512 kernels for
//! Intel's processors and runs AVX2 ones on all others, at less than half the rate that oneDNN reaches there
//! (docs/benchmarks.md). Both are part of libtorch. oneDNN is reached as a convolution with a window of one, of
//! which a linear map is a case: a picture as high as there are vectors, one wide, with a channel for each number.
//! f32 on the CPU; gradients pass to the input. Everything else goes through libtorch's own linear map.

use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// Fewer vectors than this do not pay for bringing the weights into oneDNN's order.
const LEAST_ROWS: i64 = 48;
/// Fewer multiplications than this do not pay for a call.
const LEAST_PRODUCT: i64 = 1 << 23;

/// `x W^T + b` for `x` of `[..., in]`, `weight` `[out, in]` and `bias` `[out]`; none if this is not the place for it.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Option<Tensor>> {
    let size = x.size();
    let Some((&input, outer)) = size.split_last() else { return Ok(None) };
    let (rows, output) = (outer.iter().product::<i64>(), weight.size()[0]);
    let here = (x.kind(), x.device()) == (Kind::Float, Device::Cpu)
        && weight.kind() == Kind::Float
        && bias.is_none_or(|bias| bias.kind() == Kind::Float)
        && rows >= LEAST_ROWS
        && rows * input * output >= LEAST_PRODUCT
        && weight.is_contiguous()
        && !weight.requires_grad()
        && is_faster();
    if !here {
        return Ok(None);
    }
    // [1, rows, 1, in] seen as [1, in, rows, 1], whose channels lie side by side in memory.
    let picture = x.f_reshape([1, rows, 1, input])?.f_permute([0, 3, 1, 2])?;
    let kernel = weight.f_reshape([output, input, 1, 1])?;
    let made = picture.f_mkldnn_convolution(&kernel, bias, [0, 0], [1, 1], [1, 1], 1)?;
    let mut shape = outer.to_vec();
    shape.push(output);
    Ok(Some(made.f_permute([0, 2, 3, 1])?.f_reshape(&shape)?))
}

/// Whether this processor is one that MKL does not give its best to. Not measured but known from its name, so that one
/// machine always computes the same.
fn is_faster() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| has_avx512() && !is_intel() && tch::utils::has_mkldnn())
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512dq")
}

#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    // The vendor's name is in three registers.
    let leaf = std::arch::x86_64::__cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx].iter().flat_map(|part| part.to_le_bytes()).eq(*b"GenuineIntel")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn is_intel() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(size: &[i64]) -> Tensor {
        Tensor::randn(size, (Kind::Float, Device::Cpu))
    }

    fn furthest(a: &Tensor, b: &Tensor) -> f64 {
        (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
    }

    /// Against the product in f64; on a processor where this is not used, libtorch's own is held to the same.
    #[test]
    fn it_is_the_linear_map_and_its_gradient() {
        for (outer, input, output) in
            [(vec![6, 32], 256, 384), (vec![64], 768, 300), (vec![2, 3, 40], 128, 512)]
        {
            let x = random(&[&outer[..], &[input]].concat()).set_requires_grad(true);
            let (weight, bias) = (random(&[output, input]), random(&[output]));
            for bias in [None, Some(&bias)] {
                let made = linear(&x, &weight, bias).unwrap();
                assert_eq!(made.is_some(), is_faster(), "{outer:?}");
                let made = made.unwrap_or_else(|| x.linear(&weight, bias));
                let wide = |t: &Tensor| t.detach().to_kind(Kind::Double);
                let want = wide(&x).matmul(&wide(&weight).tr());
                let want = bias.map_or(want.shallow_clone(), |bias| &want + wide(bias));
                assert_eq!(made.size(), want.size());
                assert!(furthest(&made, &want) < 2e-4, "{}", furthest(&made, &want));
                let grad = random(&made.size());
                let found = Tensor::run_backward(&[(&made * &grad).sum(Kind::Float)], &[&x], false, false);
                assert!(furthest(&found[0], &wide(&grad).matmul(&wide(&weight))) < 2e-4);
            }
        }
    }

    #[test]
    fn what_it_is_not_for_is_left_alone() {
        let weight = random(&[512, 512]);
        let none = |x: Tensor, weight: &Tensor| linear(&x, weight, None::<&Tensor>).unwrap().is_none();
        assert!(none(random(&[47, 512]), &weight), "few vectors");
        assert!(none(random(&[64, 8]), &random(&[8, 8])), "a small product");
        assert!(none(random(&[64, 512]).to_kind(Kind::Double), &weight.to_kind(Kind::Double)), "f64");
        assert!(none(random(&[64, 512]), &weight.set_requires_grad(true)), "training");
    }
}
