//! Eight values: x86 with AVX2 and FMA.

use std::arch::x86_64::*;

use crate::gemm::micro::{self, Product};
use crate::inference::tile::{self, Tile};

use super::{Kernel, Simd};

/// Proof of AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// # Safety
/// The processor must have the features, and `product` be as [`micro::multiply`] wants it.
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply(product: &Product) {
    // SAFETY: forwarded.
    unsafe { micro::multiply(Avx2(()), product) }
}

/// # Safety
/// The processor must have the features, and `tile` be as [`tile::sum`] wants it.
#[target_feature(enable = "avx2,fma")]
unsafe fn sum(tile: &Tile) {
    // SAFETY: forwarded.
    unsafe { tile::sum(Avx2(()), tile) }
}

/// Runs `kernel` with AVX2 and FMA.
///
/// # Safety
/// The processor must have the features.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) {
    kernel.run(Avx2(()));
}

/// All bits of lane `i` set where bit `i` of `mask` is.
#[inline(always)]
fn lanes(mask: u32) -> __m256i {
    // SAFETY: only called where an `Avx2` exists.
    unsafe {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask as i32), bits), bits)
    }
}

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const MAX_ROWS: usize = 6;

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
    fn zero(self) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn store_in_turn(self, p: *mut f32, a: __m256, b: __m256, mask: u32) {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            _mm256_maskstore_ps(p, lanes(mask), _mm256_permute2f128_ps::<0x20>(low, high));
            _mm256_maskstore_ps(
                p.wrapping_add(8),
                lanes(mask >> 8),
                _mm256_permute2f128_ps::<0x31>(low, high),
            );
        }
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: a hint, which never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch_near(self, p: *const f32) {
        // SAFETY: a hint, which never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch_write(self, p: *const f32) {
        // SAFETY: a hint, which never faults.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(p.cast()) }
    }
    #[inline(always)]
    fn where_positive(self, gate: __m256, v: __m256) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(gate, _mm256_setzero_ps()), v) }
    }
    #[inline(always)]
    fn where_same(self, a: __m256, b: __m256, v: __m256) -> __m256 {
        // SAFETY: the token proves the features.
        unsafe {
            let same = _mm256_cmpeq_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b));
            _mm256_and_ps(_mm256_castsi256_ps(same), v)
        }
    }
    #[inline(always)]
    fn greater(self, best: [__m256; 2], v: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: the token proves the features.
        unsafe {
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(v[0], best[0]);
            let wins = _mm256_or_ps(above, _mm256_cmp_ps::<_CMP_UNORD_Q>(v[0], v[0]));
            [_mm256_blendv_ps(best[0], v[0], wins), _mm256_blendv_ps(best[1], v[1], wins)]
        }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: readable by contract.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: writable by contract.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: u32) -> __m256 {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe { _mm256_maskload_ps(p, lanes(mask)) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, v: __m256, mask: u32) {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe { _mm256_maskstore_ps(p, lanes(mask), v) }
    }
    #[inline(always)]
    unsafe fn load_even(self, p: *const f32, mask: u32) -> __m256 {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe {
            let low = _mm256_maskload_ps(p, lanes(mask));
            let high = _mm256_maskload_ps(p.wrapping_add(8), lanes(mask >> 8));
            let pairs = _mm256_shuffle_ps::<0x88>(low, high);
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(_mm256_castps_pd(pairs)))
        }
    }
    #[inline(always)]
    unsafe fn gather(self, p: *const f32, index: *const i32, mask: u32) -> __m256 {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe {
            let index = _mm256_loadu_si256(index.cast());
            let mask = _mm256_castsi256_ps(lanes(mask));
            _mm256_mask_i32gather_ps::<4>(_mm256_setzero_ps(), p, index, mask)
        }
    }
}
