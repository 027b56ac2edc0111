//! Products in double precision: scalar products of many rows, for statistics that single precision would spoil.

use std::ops::Range;

use rayon::prelude::*;

use crate::simd::{Kernel, Level, Simd};

/// Inner steps of one pass: a panel of this height fits the first cache.
const INNER: usize = 256;
/// Rows of one task: with [`INNER`], what the second cache holds beside a panel.
const ROWS: usize = 192;

/// `out[i][j] = Σ a[i] · b[j]` in `f64`: the scalar product of each row of `a` with each row of `b`. `a` and `b` hold
/// rows of `inner` values, `out` is contiguous by rows. Values of `f32` are widened before they are multiplied.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn dots<T: Copy + Into<f64> + Sync>(a: &[T], b: &[T], inner: usize, out: &mut [f64]) {
    dots_at(Level::best(), a, b, inner, out);
}

/// [`dots`] with a chosen instruction set.
pub(crate) fn dots_at<T: Copy + Into<f64> + Sync>(
    level: Level,
    a: &[T],
    b: &[T],
    inner: usize,
    out: &mut [f64],
) {
    assert!(inner > 0, "rows of no values");
    let (rows, cols) = (a.len() / inner, b.len() / inner);
    assert!(rows * inner == a.len(), "{} values are no rows of {inner}", a.len());
    assert!(cols * inner == b.len(), "{} values are no rows of {inner}", b.len());
    assert!(out.len() == rows * cols, "{} values for a result of {rows}×{cols}", out.len());
    let [height, width] = tile(level);
    let tasks = rows.div_ceil(ROWS);
    let packed: Vec<f64> = pack(a, inner, height);
    let panels: Vec<(usize, usize)> =
        (0..cols.div_ceil(width)).flat_map(|panel| (0..tasks).map(move |task| (panel, task))).collect();
    let results: Vec<Vec<f64>> = panels
        .par_iter()
        .map(|&(panel, task)| {
            let rows = task * ROWS..((task + 1) * ROWS).min(rows);
            let cols = panel * width..((panel + 1) * width).min(cols);
            let mut result = vec![0.0; rows.len().next_multiple_of(height) * width];
            level.run(Task { packed: &packed, b, inner, rows, cols, level, result: &mut result });
            result
        })
        .collect();
    out.par_chunks_mut(cols.max(1)).enumerate().for_each(|(row, out)| {
        for (panel, out) in out.chunks_mut(width).enumerate() {
            let result = &results[panel * tasks + row / ROWS];
            out.copy_from_slice(&result[row % ROWS * width..][..out.len()]);
        }
    });
}

/// Rows and columns of the register tile: as many accumulators as the registers hold.
fn tile(level: Level) -> [usize; 2] {
    match level {
        Level::Avx512 => [8, 16],
        Level::Avx2 => [6, 8],
        Level::Portable | Level::Neon => [4, 4],
    }
}

/// The rows as `[row / height][inner][height]`, zeros past the last.
fn pack<T: Copy + Into<f64> + Sync>(a: &[T], inner: usize, height: usize) -> Vec<f64> {
    let rows = a.len() / inner;
    let mut packed = vec![0.0; rows.next_multiple_of(height) * inner];
    packed.par_chunks_mut(height * inner).enumerate().for_each(|(group, packed)| {
        for row in group * height..((group + 1) * height).min(rows) {
            for (step, value) in a[row * inner..][..inner].iter().enumerate() {
                packed[step * height + row % height] = (*value).into();
            }
        }
    });
    packed
}

/// Some rows of one panel of the result.
struct Task<'a, T> {
    packed: &'a [f64],
    b: &'a [T],
    inner: usize,
    rows: Range<usize>,
    cols: Range<usize>,
    level: Level,
    result: &'a mut [f64],
}

impl<T: Copy + Into<f64> + Sync> Kernel for Task<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match self.level {
            Level::Avx512 => self.run_tiles::<8, 16, true>(),
            Level::Avx2 => self.run_tiles::<6, 8, true>(),
            Level::Neon => self.run_tiles::<4, 4, true>(),
            // Without the instruction, a fused product is a slow call.
            Level::Portable => self.run_tiles::<4, 4, false>(),
        }
    }
}

impl<T: Copy + Into<f64> + Sync> Task<'_, T> {
    #[inline(always)]
    fn run_tiles<const H: usize, const W: usize, const FUSED: bool>(self) {
        let mut panel = [[0.0f64; W]; INNER];
        for first in (0..self.inner).step_by(INNER) {
            let steps = INNER.min(self.inner - first);
            for (lane, col) in self.cols.clone().enumerate() {
                let values = &self.b[col * self.inner + first..][..steps];
                for (values, row) in values.iter().zip(&mut panel) {
                    row[lane] = (*values).into();
                }
            }
            for (group, out) in
                self.result.as_chunks_mut::<W>().0.as_chunks_mut::<H>().0.iter_mut().enumerate()
            {
                let start = (self.rows.start + group * H) * self.inner + first * H;
                let left = self.packed[start..][..steps * H].as_chunks::<H>().0;
                let mut sums = *out;
                for (left, right) in left.iter().zip(&panel) {
                    for (sums, left) in sums.iter_mut().zip(left) {
                        for (sum, right) in sums.iter_mut().zip(right) {
                            *sum = if FUSED { left.mul_add(*right, *sum) } else { *sum + left * right };
                        }
                    }
                }
                *out = sums;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_instruction_set_gives_the_scalar_products() {
        for (rows, cols, inner) in [(1, 1, 1), (5, 17, 3), (23, 9, 300), (401, 33, 257)] {
            let values = |count: usize, seed: u64| -> Vec<f32> {
                (0..count as u64).map(|i| ((i * 2_654_435_761 + seed) % 1009) as f32 / 500.0 - 1.0).collect()
            };
            let (a, b) = (values(rows * inner, 1), values(cols * inner, 7));
            for level in Level::available() {
                let mut out = vec![f64::NAN; rows * cols];
                dots_at(level, &a, &b, inner, &mut out);
                for (i, got) in out.iter().enumerate() {
                    let (a, b) = (&a[i / cols * inner..][..inner], &b[i % cols * inner..][..inner]);
                    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    assert!((got - sum).abs() < 1e-11, "{level:?} {rows}×{cols}×{inner}: {got} for {sum}");
                }
            }
        }
    }

    #[test]
    fn the_number_of_threads_does_not_show() {
        let values: Vec<f64> = (0..300 * 500).map(|i| (f64::from(i) * 0.37).sin()).collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![0.0; 300 * 300];
            pool.install(|| dots(&values, &values, 500, &mut out));
            out
        };
        assert_eq!(run(1), run(3));
    }
}
