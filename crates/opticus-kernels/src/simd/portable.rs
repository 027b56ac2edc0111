//! Four values in plain Rust: every processor, and what Miri can follow.

use crate::gemm::micro::{self, Product};
use crate::inference::tile::{self, Tile};

use super::Simd;

/// Needs nothing of the processor.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 4;
type V = [f32; LANES];

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Portable {
    type V = V;
    const LANES: usize = LANES;
    const MAX_ROWS: usize = 4;

    unsafe fn multiply(self, product: &Product) {
        // SAFETY: forwarded.
        unsafe { micro::multiply(self, product) }
    }
    #[inline(never)]
    unsafe fn sum(self, tile: &Tile) {
        // SAFETY: forwarded.
        unsafe { tile::sum(self, tile) }
    }

    #[inline(always)]
    fn zero(self) -> V {
        [0.0; LANES]
    }
    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; LANES]
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        // Not `mul_add`: without the instruction it is a slow library call.
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn where_positive(self, gate: V, v: V) -> V {
        zip(gate, v, |gate, v| if gate > 0.0 { v } else { 0.0 })
    }
    #[inline(always)]
    fn where_same(self, a: V, b: V, v: V) -> V {
        let mut result = v;
        for lane in 0..LANES {
            if a[lane].to_bits() != b[lane].to_bits() {
                result[lane] = 0.0;
            }
        }
        result
    }
    #[inline(always)]
    fn greater(self, best: [V; 2], v: [V; 2]) -> [V; 2] {
        let mut result = best;
        for lane in 0..LANES {
            if v[0][lane] > best[0][lane] || v[0][lane].is_nan() {
                result[0][lane] = v[0][lane];
                result[1][lane] = v[1][lane];
            }
        }
        result
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> V {
        // SAFETY: the caller promises four readable values; an array of them needs no alignment but theirs.
        unsafe { p.cast::<V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: V) {
        // SAFETY: the caller promises four writable values.
        unsafe { p.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: u32) -> V {
        let mut v = [0.0; LANES];
        for (i, lane) in v.iter_mut().enumerate() {
            if mask >> i & 1 != 0 {
                // SAFETY: the bit is set.
                *lane = unsafe { *p.wrapping_add(i) };
            }
        }
        v
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, v: V, mask: u32) {
        for (i, lane) in v.iter().enumerate() {
            if mask >> i & 1 != 0 {
                // SAFETY: the bit is set.
                unsafe { *p.wrapping_add(i) = *lane };
            }
        }
    }
    #[inline(always)]
    unsafe fn load_even(self, p: *const f32, mask: u32) -> V {
        let mut v = [0.0; LANES];
        for (i, lane) in v.iter_mut().enumerate() {
            if mask >> (2 * i) & 1 != 0 {
                // SAFETY: the bit is set.
                *lane = unsafe { *p.wrapping_add(2 * i) };
            }
        }
        v
    }
    #[inline(always)]
    unsafe fn gather(self, p: *const f32, index: *const i32, mask: u32) -> V {
        let mut v = [0.0; LANES];
        for (i, lane) in v.iter_mut().enumerate() {
            if mask >> i & 1 != 0 {
                // SAFETY: the bit is set, and four indices are readable.
                *lane = unsafe { *p.wrapping_offset(*index.add(i) as isize) };
            }
        }
        v
    }
}
