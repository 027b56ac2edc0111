//! One vector type per instruction set, chosen at run time.
//!
//! A kernel is a value that implements [`Kernel`]: its `run` is generic over [`Simd`] and inlined into one entry
//! point per instruction set ([`Level::run`]), which is compiled with that set enabled. So a kernel is written
//! once, and the shipped binary runs at full speed on every processor without `target-cpu=native`.

mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use std::sync::OnceLock;

use crate::gemm::micro::Product;
use crate::inference::tile::Tile;

/// Vectors of `f32` of one instruction set. A value of an implementing type is the proof that the processor has
/// the instructions: only [`Level::run`] makes one, after the check.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// One vector register.
    type V: Copy;
    /// Number of `f32` in one vector; divides 16.
    const LANES: usize;
    /// Rows of the largest register tile of two vectors a row: as many accumulators as the registers hold.
    const MAX_ROWS: usize;

    /// All lanes zero.
    fn zero(self) -> Self::V;
    /// All lanes equal to `x`.
    fn splat(self, x: f32) -> Self::V;
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The greater of each lane; the second where a lane is not a number.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lesser of each lane; the second where a lane is not a number.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Each lane of `v` where that of `gate` is above zero, else zero.
    fn where_positive(self, gate: Self::V, v: Self::V) -> Self::V;
    /// Each lane of `v` where the bits of `a` and `b` are the same, else zero.
    fn where_same(self, a: Self::V, b: Self::V, v: Self::V) -> Self::V;
    /// Of values with tags, those of `v` where its value is above that of `best` or not a number, else those of
    /// `best`. Tags may be any bits.
    fn greater(self, best: [Self::V; 2], v: [Self::V; 2]) -> [Self::V; 2];

    /// # Safety
    /// `LANES` values must be readable at `p`.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `LANES` values must be writable at `p`.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// Lane `i` is read where bit `i` of `mask` is set, else it is zero.
    ///
    /// # Safety
    /// The values of the set bits must be readable.
    unsafe fn load_masked(self, p: *const f32, mask: u32) -> Self::V;
    /// # Safety
    /// The values of the set bits must be writable.
    unsafe fn store_masked(self, p: *mut f32, v: Self::V, mask: u32);
    /// Lane `i` is `p[2 * i]` where bit `2 * i` of `mask` is set, else zero.
    ///
    /// # Safety
    /// The values of the set bits must be readable.
    unsafe fn load_even(self, p: *const f32, mask: u32) -> Self::V;
    /// Lane `i` is `p[index[i]]` where bit `i` of `mask` is set, else zero.
    ///
    /// # Safety
    /// `LANES` indices must be readable, and the values of the set bits.
    unsafe fn gather(self, p: *const f32, index: *const i32, mask: u32) -> Self::V;

    /// Writes the lanes of `a` and `b` in turn: value `i` of the `2 * LANES` where bit `i` of `mask` is set.
    ///
    /// # Safety
    /// The values of the set bits must be writable.
    #[inline(always)]
    unsafe fn store_in_turn(self, p: *mut f32, a: Self::V, b: Self::V, mask: u32) {
        let mut lanes = [[0.0f32; 16]; 2];
        // SAFETY: `LANES` is at most 16; bits are set where values are writable.
        unsafe {
            self.store(lanes[0].as_mut_ptr(), a);
            self.store(lanes[1].as_mut_ptr(), b);
            for i in 0..2 * Self::LANES {
                if mask >> i & 1 != 0 {
                    *p.wrapping_add(i) = lanes[i % 2][i / 2];
                }
            }
        }
    }

    /// Asks for the cache line at `p`, which need not be valid, to be brought near.
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        let _ = p;
    }
    /// As [`Simd::prefetch`], into the nearest cache.
    #[inline(always)]
    fn prefetch_near(self, p: *const f32) {
        let _ = p;
    }
    /// As [`Simd::prefetch`], for a line that will be written.
    #[inline(always)]
    fn prefetch_write(self, p: *const f32) {
        let _ = p;
    }

    /// The matrix product of [`crate::gemm::micro`], compiled once for this instruction set.
    ///
    /// # Safety
    /// As [`crate::gemm::micro::multiply`].
    unsafe fn multiply(self, product: &Product);
    /// The sum over windows of [`crate::inference::tile`], compiled once for this instruction set.
    ///
    /// # Safety
    /// As [`crate::inference::tile::sum`].
    unsafe fn sum(self, tile: &Tile);

    /// Reads a block of `rows` rows and `cols` columns (each at most `LANES`), and writes each of its columns as
    /// one vector, lanes past `rows` zero, at `dst + offsets[column]`.
    ///
    /// # Safety
    /// The block must be readable with row pitch `stride`, `cols` offsets too, and `LANES` values writable at each.
    #[inline(always)]
    unsafe fn columns_to_vectors(self, block: Block, dst: *mut f32, offsets: *const u32) {
        for j in 0..block.cols {
            // SAFETY: inside the ranges that the caller promises.
            unsafe {
                let out = dst.add(*offsets.add(j) as usize);
                for i in 0..block.rows {
                    *out.add(i) = *block.src.add(i * block.stride + j);
                }
                for i in block.rows..Self::LANES {
                    *out.add(i) = 0.0;
                }
            }
        }
    }

    /// The reverse: reads `cols` vectors at `src + offsets[column]` and writes them as the columns of a block of
    /// `rows` rows with pitch `stride`.
    ///
    /// # Safety
    /// As for [`Simd::columns_to_vectors`], with reading and writing exchanged.
    #[inline(always)]
    unsafe fn vectors_to_columns(self, src: *const f32, offsets: *const u32, block: BlockMut) {
        for j in 0..block.cols {
            // SAFETY: inside the ranges that the caller promises.
            unsafe {
                let column = src.add(*offsets.add(j) as usize);
                for i in 0..block.rows {
                    *block.dst.add(i * block.stride + j) = *column.add(i);
                }
            }
        }
    }
}

/// A block of a matrix to read: at most `LANES` by `LANES`.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub src: *const f32,
    pub stride: usize,
    pub rows: usize,
    pub cols: usize,
}

/// A block of a matrix to write: at most `LANES` by `LANES`.
#[derive(Clone, Copy)]
pub(crate) struct BlockMut {
    pub dst: *mut f32,
    pub stride: usize,
    pub rows: usize,
    pub cols: usize,
}

/// The mask of the first `n` lanes.
#[inline(always)]
pub(crate) fn first(n: usize) -> u32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}

/// Work that runs at any instruction set.
pub(crate) trait Kernel {
    /// The work. Must be `#[inline(always)]`, as everything hot that it calls, so that it is compiled with the
    /// instructions of `S`.
    fn run<S: Simd>(self, simd: S);
}

/// An instruction set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Level {
    /// Vectors of four values, any processor.
    Portable,
    /// Arm: four values.
    Neon,
    /// x86 with AVX2 and FMA: eight values.
    Avx2,
    /// x86 with AVX-512 (F, VL, DQ, BW): sixteen values.
    Avx512,
}

impl Level {
    /// The best instruction set of this processor.
    pub fn best() -> Level {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Level::available().last().copied().unwrap_or(Level::Portable))
    }

    /// The instruction sets of this processor, slowest first.
    pub fn available() -> Vec<Level> {
        [Level::Portable, Level::Neon, Level::Avx2, Level::Avx512]
            .into_iter()
            .filter(|level| level.is_available())
            .collect()
    }

    fn is_available(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "aarch64")]
            Level::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// Width of a panel of the right matrix of a product: two vectors.
    pub(crate) fn panel(self) -> usize {
        2 * self.lanes()
    }

    /// Values in one vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Level::Portable | Level::Neon => 4,
            Level::Avx2 => 8,
            Level::Avx512 => 16,
        }
    }

    /// Runs `kernel` with this instruction set.
    ///
    /// # Panics
    /// If the processor lacks it.
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        debug_assert!(self.is_available(), "{self:?} is not available on this processor");
        match self {
            // SAFETY: a `Level` other than the portable one is only made by `available`, which asks the processor
            // (`Method::at` asks for a forced one).
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512::run(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2::run(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Level::Neon => unsafe { neon::run(kernel) },
            _ => kernel.run(portable::Portable),
        }
    }
}

/// A pointer that several threads write through, each to its own part.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(pub *mut f32);

// SAFETY: it is only an address; every use states why its part is no other thread's.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

impl SharedMut {
    /// The address; a method so that closures capture the whole wrapper.
    #[inline(always)]
    pub fn get(self) -> *mut f32 {
        self.0
    }
}

/// A pointer that several threads read through.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub *const f32);

// SAFETY: it is only an address of values that nobody writes while it lives.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The address.
    #[inline(always)]
    pub fn get(self) -> *const f32 {
        self.0
    }
}
