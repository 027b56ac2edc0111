//! The register tile: up to [`Simd::MAX_ROWS`] rows of two vectors, summed over the inner dimension.
//!
//! Every fast path of this crate ends here. One step of the inner dimension loads the two vectors of the right
//! matrix once, and one value of the left matrix a row, spread over a vector. Rows of the left matrix lie at a
//! constant distance, so that their addresses are immediate offsets and need no registers:
//!
//! - [`Left::Blocked`]: `[inner / 16][rows][16]`, sixteen inner values of a row side by side;
//! - [`Left::Stepped`]: `[inner][rows]`, the rows of one inner step side by side.

use crate::Activation;
use crate::activation::apply_all;
use crate::simd::{Simd, first};

/// Inner values that lie side by side in a blocked left matrix.
pub(crate) const BLOCK: usize = 16;

/// Values in a cache line.
const LINE: usize = 16;

/// How the left matrix lies in memory.
#[derive(Clone, Copy)]
pub(crate) enum Left {
    /// `[inner / 16][rows][16]`; the distance between two blocks, in values.
    Blocked(usize),
    /// `[inner][rows]`; the distance between two inner steps, in values.
    Stepped(usize),
}

/// What the sum starts from.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    Zero,
    /// What is already there.
    Sum,
    /// One value a row.
    RowBias(*const f32),
    /// One value a column.
    ColBias(*const f32),
}

/// One product `c[rows][cols] = start + a[rows][inner] * b[inner][cols]` within a panel.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub left: Left,
    pub a: *const f32,
    /// One row of the right matrix: two vectors.
    pub b: *const f32,
    /// Distance between two rows of the right matrix.
    pub b_stride: usize,
    pub c: *mut f32,
    /// Distance between two rows of the result.
    pub row_stride: usize,
    /// Distance between the two vectors of a row of the result.
    pub vec_stride: usize,
    pub rows: usize,
    /// Columns to write, at most two vectors.
    pub cols: usize,
    pub inner: usize,
    pub start: Start,
    pub activation: Activation,
    /// What will be read after this product, one cache line for each inner step of each register tile: it is asked
    /// for on the way. Need not be valid.
    pub next: *const f32,
}

/// Computes `product` in register tiles of nearly equal height. Kernels call it as [`Simd::multiply`], which is one
/// compiled function an instruction set.
///
/// # Safety
/// All ranges that `product` describes must be valid; `b` must be readable for two whole vectors a row.
#[inline(always)]
pub(crate) unsafe fn multiply<S: Simd>(s: S, product: &Product) {
    let tiles = product.rows.div_ceil(S::MAX_ROWS);
    let mut row = 0;
    for tile in 0..tiles {
        let rows = product.rows / tiles + usize::from(tile < product.rows % tiles);
        // SAFETY: a part of the rows that the caller promises.
        unsafe {
            let a_step = match product.left {
                Left::Blocked(_) => BLOCK,
                Left::Stepped(_) => 1,
            };
            let start = match product.start {
                Start::RowBias(bias) => Start::RowBias(bias.add(row)),
                other => other,
            };
            let part = Product {
                a: product.a.add(row * a_step),
                c: product.c.add(row * product.row_stride),
                rows,
                start,
                next: product.next.wrapping_add(tile * product.inner * LINE),
                ..*product
            };
            by_rows(s, &part);
        }
        row += rows;
    }
}

/// # Safety
/// As [`multiply`], with at most `MAX_ROWS` rows.
#[inline(always)]
unsafe fn by_rows<S: Simd>(s: S, product: &Product) {
    macro_rules! tiles {
        ($($rows:literal)*) => {
            match product.rows {
                $(
                    // A condition of constants keeps what cannot be from being compiled at all.
                    $rows => if const { $rows <= S::MAX_ROWS } {
                        // SAFETY: forwarded.
                        unsafe { by_cols::<S, $rows>(s, product) }
                    },
                )*
                _ => unreachable!("a register tile has at most MAX_ROWS rows"),
            }
        };
    }
    tiles!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// # Safety
/// As [`multiply`], with exactly `ROWS` rows.
#[inline(always)]
unsafe fn by_cols<S: Simd, const ROWS: usize>(s: S, product: &Product) {
    // SAFETY: forwarded; one vector is enough where the columns fit in it.
    unsafe {
        if product.cols <= S::LANES { tile::<S, ROWS, 1>(s, product) } else { tile::<S, ROWS, 2>(s, product) }
    }
}

/// # Safety
/// As [`multiply`], with exactly `ROWS` rows and at most `VECS` vectors of columns.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECS: usize>(s: S, product: &Product) {
    let Product { mut a, mut b, b_stride, c, row_stride, vec_stride, inner, mut next, .. } = *product;
    let mut acc = [[s.zero(); VECS]; ROWS];
    // SAFETY: rows, columns and inner steps stay inside what the caller promises.
    unsafe {
        if !matches!(product.start, Start::Sum) {
            // The result is written at the end; its lines come meanwhile.
            for r in 0..ROWS {
                for v in 0..VECS {
                    s.prefetch_write(c.wrapping_add(r * row_stride + v * vec_stride));
                }
            }
        }
        match product.start {
            Start::Zero => {}
            Start::Sum => {
                for (r, row) in acc.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        let at = c.add(r * row_stride + v * vec_stride);
                        *sum = if product.cols >= (v + 1) * S::LANES {
                            s.load(at)
                        } else {
                            s.load_masked(at, first(product.cols - v * S::LANES))
                        };
                    }
                }
            }
            Start::ColBias(bias) => {
                for v in 0..VECS {
                    let mask = first(product.cols.saturating_sub(v * S::LANES).min(S::LANES));
                    let value = s.load_masked(bias.wrapping_add(v * S::LANES), mask);
                    for row in acc.iter_mut() {
                        row[v] = value;
                    }
                }
            }
            Start::RowBias(bias) => {
                for (r, row) in acc.iter_mut().enumerate() {
                    *row = [s.splat(*bias.add(r)); VECS];
                }
            }
        }
        match product.left {
            Left::Blocked(block) => {
                for _ in 0..inner / BLOCK {
                    for p in 0..BLOCK {
                        step::<S, ROWS, VECS, BLOCK>(s, &mut acc, a.add(p), b);
                        b = b.add(b_stride);
                        s.prefetch(next);
                        next = next.wrapping_add(LINE);
                        // The next block of this tile's rows, a line a step: it lies in another page.
                        s.prefetch_near(a.wrapping_add(block + p * BLOCK));
                    }
                    a = a.add(block);
                }
                for p in 0..inner % BLOCK {
                    step::<S, ROWS, VECS, BLOCK>(s, &mut acc, a.add(p), b);
                    b = b.wrapping_add(b_stride);
                }
            }
            Left::Stepped(stride) => {
                for _ in 0..inner {
                    step::<S, ROWS, VECS, 1>(s, &mut acc, a, b);
                    a = a.wrapping_add(stride);
                    b = b.wrapping_add(b_stride);
                }
            }
        }
        apply_all(s, product.activation, &mut acc);
        for (r, row) in acc.iter().enumerate() {
            for (v, value) in row.iter().enumerate() {
                let at = c.add(r * row_stride + v * vec_stride);
                if product.cols >= (v + 1) * S::LANES {
                    s.store(at, *value);
                } else {
                    s.store_masked(at, *value, first(product.cols - v * S::LANES));
                }
            }
        }
    }
}

/// One inner step.
///
/// # Safety
/// `ROWS` values at distance `APART` must be readable at `a`, and `VECS` vectors at `b`.
#[inline(always)]
unsafe fn step<S: Simd, const ROWS: usize, const VECS: usize, const APART: usize>(
    s: S,
    acc: &mut [[S::V; VECS]; ROWS],
    a: *const f32,
    b: *const f32,
) {
    let mut right = [s.zero(); VECS];
    // SAFETY: by contract.
    unsafe {
        for (v, value) in right.iter_mut().enumerate() {
            *value = s.load(b.add(v * S::LANES));
        }
        for (r, row) in acc.iter_mut().enumerate() {
            let left = s.splat(*a.add(r * APART));
            for (sum, value) in row.iter_mut().zip(right) {
                *sum = s.fma(left, value, *sum);
            }
        }
    }
}
