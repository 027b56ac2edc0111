//! Sixteen values: x86 with AVX-512.

use std::arch::x86_64::*;

use crate::gemm::micro::{self, Product};
use crate::inference::tile::{self, Tile};

use super::{Block, BlockMut, Kernel, Simd, first};

/// Proof of AVX-512 F, VL, DQ, BW and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

/// # Safety
/// The processor must have the features, and `product` be as [`micro::multiply`] wants it.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi2")]
unsafe fn multiply(product: &Product) {
    // SAFETY: forwarded.
    unsafe { micro::multiply(Avx512(()), product) }
}

/// # Safety
/// The processor must have the features, and `tile` be as [`tile::sum`] wants it.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi2")]
unsafe fn sum(tile: &Tile) {
    // SAFETY: forwarded.
    unsafe { tile::sum(Avx512(()), tile) }
}

/// Runs `kernel` with AVX-512.
///
/// # Safety
/// The processor must have the features.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi2")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) {
    kernel.run(Avx512(()));
}

// In every block below: a value of `Avx512` proves the features, and the ranges are what the caller promises.
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const MAX_ROWS: usize = 14;

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
    fn zero(self) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn store_in_turn(self, p: *mut f32, a: __m512, b: __m512, mask: u32) {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            _mm512_mask_storeu_ps(p, mask as __mmask16, _mm512_permutex2var_ps(a, low, b));
            let rest = (mask >> 16) as __mmask16;
            _mm512_mask_storeu_ps(p.wrapping_add(16), rest, _mm512_permutex2var_ps(a, high, b));
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
    fn where_positive(self, gate: __m512, v: __m512) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate, _mm512_setzero_ps()), v) }
    }
    #[inline(always)]
    fn where_same(self, a: __m512, b: __m512, v: __m512) -> __m512 {
        // SAFETY: the token proves the features.
        unsafe {
            let same = _mm512_cmpeq_epi32_mask(_mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_maskz_mov_ps(same, v)
        }
    }
    #[inline(always)]
    fn greater(self, best: [__m512; 2], v: [__m512; 2]) -> [__m512; 2] {
        // SAFETY: the token proves the features.
        unsafe {
            let wins = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v[0], best[0])
                | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v[0], v[0]);
            [_mm512_mask_mov_ps(best[0], wins, v[0]), _mm512_mask_mov_ps(best[1], wins, v[1])]
        }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: readable by contract.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: writable by contract.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: u32) -> __m512 {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe { _mm512_maskz_loadu_ps(mask as __mmask16, p) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, v: __m512, mask: u32) {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe { _mm512_mask_storeu_ps(p, mask as __mmask16, v) }
    }
    #[inline(always)]
    unsafe fn load_even(self, p: *const f32, mask: u32) -> __m512 {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe {
            let low = _mm512_maskz_loadu_ps(mask as __mmask16, p);
            let high = _mm512_maskz_loadu_ps((mask >> 16) as __mmask16, p.wrapping_add(16));
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            _mm512_permutex2var_ps(low, even, high)
        }
    }
    #[inline(always)]
    unsafe fn gather(self, p: *const f32, index: *const i32, mask: u32) -> __m512 {
        // SAFETY: lanes that are masked out are not touched by the instruction.
        unsafe {
            let index = _mm512_loadu_si512(index.cast());
            _mm512_mask_i32gather_ps::<4>(_mm512_setzero_ps(), mask as __mmask16, index, p)
        }
    }

    #[inline(always)]
    unsafe fn columns_to_vectors(self, block: Block, dst: *mut f32, offsets: *const u32) {
        // SAFETY: rows and columns past the block are masked out; offsets are read for the columns of the block.
        unsafe {
            let mask = first(block.cols) as __mmask16;
            let mut v = [_mm512_setzero_ps(); 16];
            if block.rows == 16 {
                for (i, row) in v.iter_mut().enumerate() {
                    *row = _mm512_maskz_loadu_ps(mask, block.src.add(i * block.stride));
                }
            } else {
                for (i, row) in v.iter_mut().enumerate() {
                    let mask = if i < block.rows { mask } else { 0 };
                    *row = _mm512_maskz_loadu_ps(mask, block.src.wrapping_add(i * block.stride));
                }
            }
            let v = transpose(v);
            if block.cols == 16 {
                for (j, column) in v.iter().enumerate() {
                    _mm512_storeu_ps(dst.add(*offsets.add(j) as usize), *column);
                }
            } else {
                for (j, column) in v.iter().enumerate() {
                    if j < block.cols {
                        _mm512_storeu_ps(dst.add(*offsets.add(j) as usize), *column);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn vectors_to_columns(self, src: *const f32, offsets: *const u32, block: BlockMut) {
        // SAFETY: offsets are read for the columns of the block; rows and columns past it are not written.
        unsafe {
            let mut v = [_mm512_setzero_ps(); 16];
            for (j, column) in v.iter_mut().enumerate() {
                if j < block.cols {
                    *column = _mm512_loadu_ps(src.add(*offsets.add(j) as usize));
                }
            }
            let v = transpose(v);
            let mask = first(block.cols) as __mmask16;
            for (i, row) in v.iter().enumerate() {
                if i < block.rows {
                    _mm512_mask_storeu_ps(block.dst.add(i * block.stride), mask, *row);
                }
            }
        }
    }
}

/// The transpose of sixteen rows of sixteen: 64 shuffles.
///
/// # Safety
/// The processor must have AVX-512.
#[inline(always)]
unsafe fn transpose(r: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: the caller proves the features.
    unsafe {
        let mut t = [_mm512_setzero_ps(); 16];
        // Within each 128-bit lane: 4x4 blocks of rows 4g..4g+4.
        for g in 0..4 {
            let a = _mm512_unpacklo_ps(r[4 * g], r[4 * g + 1]);
            let b = _mm512_unpackhi_ps(r[4 * g], r[4 * g + 1]);
            let c = _mm512_unpacklo_ps(r[4 * g + 2], r[4 * g + 3]);
            let d = _mm512_unpackhi_ps(r[4 * g + 2], r[4 * g + 3]);
            t[4 * g] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(c)));
            t[4 * g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(c)));
            t[4 * g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b), _mm512_castps_pd(d)));
            t[4 * g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b), _mm512_castps_pd(d)));
        }
        // Across the lanes: a 4x4 transpose of whole lanes for each column of the blocks.
        let mut out = [_mm512_setzero_ps(); 16];
        for q in 0..4 {
            let a = _mm512_shuffle_f32x4::<0x88>(t[q], t[4 + q]);
            let b = _mm512_shuffle_f32x4::<0xdd>(t[q], t[4 + q]);
            let c = _mm512_shuffle_f32x4::<0x88>(t[8 + q], t[12 + q]);
            let d = _mm512_shuffle_f32x4::<0xdd>(t[8 + q], t[12 + q]);
            out[q] = _mm512_shuffle_f32x4::<0x88>(a, c);
            out[8 + q] = _mm512_shuffle_f32x4::<0xdd>(a, c);
            out[4 + q] = _mm512_shuffle_f32x4::<0x88>(b, d);
            out[12 + q] = _mm512_shuffle_f32x4::<0xdd>(b, d);
        }
        out
    }
}
