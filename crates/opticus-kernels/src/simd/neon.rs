//! Four values: Arm with NEON.

use std::arch::aarch64::*;

use crate::gemm::micro::{self, Product};
use crate::inference::tile::{self, Tile};

use super::{Kernel, Simd};

/// Proof of NEON.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

/// # Safety
/// The processor must have the features, and `product` be as [`micro::multiply`] wants it.
#[target_feature(enable = "neon")]
unsafe fn multiply(product: &Product) {
    // SAFETY: forwarded.
    unsafe { micro::multiply(Neon(()), product) }
}

/// # Safety
/// The processor must have the features, and `tile` be as [`tile::sum`] wants it.
#[target_feature(enable = "neon")]
unsafe fn sum(tile: &Tile) {
    // SAFETY: forwarded.
    unsafe { tile::sum(Neon(()), tile) }
}

/// Runs `kernel` with NEON.
///
/// # Safety
/// The processor must have the feature.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) {
    kernel.run(Neon(()));
}

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    const MAX_ROWS: usize = 12;

    #[inline(always)]
    unsafe fn multiply(self, product: &Product) {
        // SAFETY: the token proves the features; the rest is forwarded.
        unsafe { multiply(product) }
    }
    #[inline(always)]
    unsafe fn sum(self, tile: &Tile) {
        // SAFETY: the token proves the features; the rest is forwarded.
        unsafe { sum(tile) }
    }

    #[inline(always)]
    fn zero(self) -> float32x4_t {
        self.splat(0.0)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: the token proves the feature.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the feature.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the feature.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the feature.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the feature.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the feature. A comparison and a choice, to treat NaN as the other sets do.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the feature.
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn where_positive(self, gate: float32x4_t, v: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the feature.
        unsafe { vbslq_f32(vcgtzq_f32(gate), v, vdupq_n_f32(0.0)) }
    }
    #[inline(always)]
    fn where_same(self, a: float32x4_t, b: float32x4_t, v: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the feature.
        unsafe {
            let same = vceqq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b));
            vbslq_f32(same, v, vdupq_n_f32(0.0))
        }
    }
    #[inline(always)]
    fn greater(self, best: [float32x4_t; 2], v: [float32x4_t; 2]) -> [float32x4_t; 2] {
        // SAFETY: the token proves the feature.
        unsafe {
            // A value that is not a number does not equal itself.
            let wins = vorrq_u32(vcgtq_f32(v[0], best[0]), vmvnq_u32(vceqq_f32(v[0], v[0])));
            [vbslq_f32(wins, v[0], best[0]), vbslq_f32(wins, v[1], best[1])]
        }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        // SAFETY: readable by contract.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: writable by contract.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: u32) -> float32x4_t {
        if mask & 15 == 15 {
            // SAFETY: all four are readable.
            return unsafe { vld1q_f32(p) };
        }
        let mut lanes = [0.0f32; 4];
        for (i, lane) in lanes.iter_mut().enumerate() {
            if mask >> i & 1 != 0 {
                // SAFETY: the bit is set.
                *lane = unsafe { *p.wrapping_add(i) };
            }
        }
        // SAFETY: a local array of four.
        unsafe { vld1q_f32(lanes.as_ptr()) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, v: float32x4_t, mask: u32) {
        let mut lanes = [0.0f32; 4];
        // SAFETY: a local array of four.
        unsafe { vst1q_f32(lanes.as_mut_ptr(), v) };
        for (i, lane) in lanes.iter().enumerate() {
            if mask >> i & 1 != 0 {
                // SAFETY: the bit is set.
                unsafe { *p.wrapping_add(i) = *lane };
            }
        }
    }
    #[inline(always)]
    unsafe fn load_even(self, p: *const f32, mask: u32) -> float32x4_t {
        let mut lanes = [0.0f32; 4];
        for (i, lane) in lanes.iter_mut().enumerate() {
            if mask >> (2 * i) & 1 != 0 {
                // SAFETY: the bit is set.
                *lane = unsafe { *p.wrapping_add(2 * i) };
            }
        }
        // SAFETY: a local array of four.
        unsafe { vld1q_f32(lanes.as_ptr()) }
    }
    #[inline(always)]
    unsafe fn gather(self, p: *const f32, index: *const i32, mask: u32) -> float32x4_t {
        let mut lanes = [0.0f32; 4];
        for (i, lane) in lanes.iter_mut().enumerate() {
            if mask >> i & 1 != 0 {
                // SAFETY: the bit is set, and four indices are readable.
                *lane = unsafe { *p.wrapping_offset(*index.add(i) as isize) };
            }
        }
        // SAFETY: a local array of four.
        unsafe { vld1q_f32(lanes.as_ptr()) }
    }
}
