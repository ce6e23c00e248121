//! Numbers as weights, keys and values store them.

use crate::kernels::lanes::Lanes;
use crate::kernels::{Bits16, widened};

/// A number of a weight matrix, or of keys and values.
pub(crate) trait Element: Copy {
    fn wide(self) -> f32;
    /// `L::N` numbers from `from` on.
    unsafe fn load<L: Lanes>(from: *const Self) -> L;
    /// Two numbers, each in all lanes.
    unsafe fn splat_two<L: Lanes>(from: *const Self) -> (L, L);
}

impl Element for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const f32) -> L {
        // SAFETY: as for the caller.
        unsafe { L::load(from) }
    }

    #[inline(always)]
    unsafe fn splat_two<L: Lanes>(from: *const f32) -> (L, L) {
        // SAFETY: as for the caller.
        unsafe { (L::splat(*from), L::splat(*from.add(1))) }
    }
}

impl Element for Bits16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        widened(self)
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Bits16) -> L {
        // SAFETY: as for the caller.
        unsafe { L::load_bf16(from) }
    }

    #[inline(always)]
    unsafe fn splat_two<L: Lanes>(from: *const Bits16) -> (L, L) {
        // SAFETY: as for the caller.
        unsafe { L::splat_two_bf16(from) }
    }
}
