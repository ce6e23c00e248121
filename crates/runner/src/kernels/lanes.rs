//! Vectors of f32, one interface for what the processor has: AVX-512, AVX2, or arrays that every compiler makes vector
//! instructions of. A kernel is written once, over [`Lanes`], and compiled for each.

use std::sync::OnceLock;

/// The instructions that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// 16 numbers at a time.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 numbers at a time, with fused multiplication and addition.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What the compiler makes of arrays.
    Portable,
}

impl Level {
    /// The best of this processor.
    pub(crate) fn best() -> Level {
        static KNOWN: OnceLock<Level> = OnceLock::new();
        *KNOWN.get_or_init(|| Level::all().remove(0))
    }

    /// Every level that this processor has, the best first.
    pub(crate) fn all() -> Vec<Level> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                levels.push(Level::Avx512);
            }
            if avx2 {
                levels.push(Level::Avx2);
            }
        }
        levels.push(Level::Portable);
        levels
    }
}

/// What is computed with vectors, written once for all of them.
pub(crate) trait Kernel {
    /// Computes it; to be marked `#[inline(always)]`, like all that it calls, so that it is compiled for the level.
    ///
    /// # Safety
    /// The processor must have the instructions of `L`.
    unsafe fn run<L: Lanes>(self);
}

impl Level {
    /// Runs `kernel` with the instructions of this level.
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn avx512<K: Kernel>(kernel: K) {
            // SAFETY: the instructions are those of this function.
            unsafe { kernel.run::<Avx512>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2<K: Kernel>(kernel: K) {
            // SAFETY: the instructions are those of this function.
            unsafe { kernel.run::<Avx2>() }
        }
        match self {
            // SAFETY: a level is only ever made by `Level::all`, which asks the processor.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(kernel) },
            // SAFETY: arrays need no instructions of their own.
            Level::Portable => unsafe { kernel.run::<Array>() },
        }
    }
}

/// A vector of `N` f32.
///
/// # Safety
/// The methods of a level's type may be called only where the processor has the level's instructions, and pointers must
/// be good for `N` numbers.
pub(crate) trait Lanes: Copy {
    /// Numbers in it.
    const N: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// `N` numbers of bf16.
    unsafe fn load_bf16(from: *const u16) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self + a * b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// Two neighbouring numbers of bf16, each in all lanes.
    unsafe fn splat_two_bf16(from: *const u16) -> (Self, Self);

    /// The sum of all lanes.
    unsafe fn sum(self) -> f32;
    /// Asks for the memory at `at`, which need not be good for anything.
    #[inline(always)]
    fn prefetch<T>(_at: *const T) {}
}

/// Lanes of every processor.
#[derive(Clone, Copy)]
pub(crate) struct Array([f32; 8]);

impl Lanes for Array {
    const N: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Array([x; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: good for 8 numbers, says the caller.
        Array(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: good for 8 numbers, says the caller.
        Array(unsafe { from.cast::<[u16; 8]>().read_unaligned() }.map(super::widened))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: good for 8 numbers, says the caller.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let mut sum = self.0;
        for ((sum, a), b) in sum.iter_mut().zip(a.0).zip(b.0) {
            *sum += a * b;
        }
        Array(sum)
    }

    #[inline(always)]
    unsafe fn splat_two_bf16(from: *const u16) -> (Self, Self) {
        // SAFETY: good for two numbers, says the caller.
        let [first, second] = unsafe { from.cast::<[u16; 2]>().read_unaligned() }.map(super::widened);
        (Array([first; 8]), Array([second; 8]))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.iter().sum()
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    /// The upper half of 32 bits: the second of two neighbouring bf16 as an f32.
    const SECOND: i32 = -0x1_0000;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    /// A hint, which every processor has.
    #[inline(always)]
    fn prefetch<T>(at: *const T) {
        // SAFETY: a prefetch reads nothing that the program could see, and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    // SAFETY, of every block below: the trait's conditions are those of the instructions.
    impl Lanes for Avx2 {
        const N: usize = 8;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Avx2(unsafe { _mm256_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx2(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> Self {
            let bits = unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())) };
            Avx2(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits)) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            Avx2(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn splat_two_bf16(from: *const u16) -> (Self, Self) {
            let two = unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) };
            let first = unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(two)) };
            let second = unsafe { _mm256_castsi256_ps(_mm256_and_si256(two, _mm256_set1_epi32(SECOND))) };
            (Avx2(first), Avx2(second))
        }

        #[inline(always)]
        fn prefetch<T>(at: *const T) {
            prefetch(at);
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    impl Lanes for Avx512 {
        const N: usize = 16;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Avx512(unsafe { _mm512_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> Self {
            let bits = unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())) };
            Avx512(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn splat_two_bf16(from: *const u16) -> (Self, Self) {
            let two = unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) };
            let first = unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(two)) };
            let second = unsafe { _mm512_castsi512_ps(_mm512_and_si512(two, _mm512_set1_epi32(SECOND))) };
            (Avx512(first), Avx512(second))
        }

        #[inline(always)]
        fn prefetch<T>(at: *const T) {
            prefetch(at);
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
    }
}
