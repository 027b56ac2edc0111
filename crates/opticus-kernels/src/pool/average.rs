//! The mean of each window, and of windows that share out the input evenly.

use std::ops::Range;

use rayon::prelude::*;

use super::shape::PoolShape;
use crate::partition::{CHUNK, check_len, rows_per_task};
use crate::simd::{Kernel, Level, Simd};

/// What the sum of a window is divided by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Averaged {
    /// The number of pixels of the window inside the padded input (`count_include_pad`).
    WithPadding,
    /// The number of pixels of the window inside the input.
    InputOnly,
}

/// The mean of each window.
///
/// # Panics
/// If a slice has another length than `shape` says, or its windows are dilated.
pub fn avg_pool2d(shape: &PoolShape, averaged: Averaged, x: &[f32], out: &mut [f32]) {
    check_len("input", x.len(), shape.input_len());
    check_len("output", out.len(), shape.output_len());
    each_plane(&Averages::of_pool(shape, averaged), shape.level, x, out);
}

/// Gradient of the input. All of `dx` is written.
///
/// # Panics
/// If a slice has another length than `shape` says, or its windows are dilated.
pub fn avg_pool2d_backward(shape: &PoolShape, averaged: Averaged, dy: &[f32], dx: &mut [f32]) {
    check_len("output gradient", dy.len(), shape.output_len());
    check_len("input gradient", dx.len(), shape.input_len());
    each_plane_back(&Averages::of_pool(shape, averaged), shape.level, dy, dx);
}

/// The means of windows that share out each plane (`[height, width]`) evenly, whatever its size: window `i` of `n`
/// along a side of `s` pixels is `⌊i·s/n⌋..⌈(i+1)·s/n⌉`. An output of 1×1 is the global mean. `x` and `out` hold any
/// number of planes.
///
/// # Panics
/// If a plane has no pixels, or the slices do not hold equally many planes.
pub fn adaptive_avg_pool2d(input: [usize; 2], output: [usize; 2], x: &[f32], out: &mut [f32]) {
    let windows = Averages::adaptive(input, output);
    windows.check(x.len(), out.len());
    each_plane(&windows, Level::best(), x, out);
}

/// Gradient of the input of [`adaptive_avg_pool2d`]. All of `dx` is written.
///
/// # Panics
/// If a plane has no pixels, or the slices do not hold equally many planes.
pub fn adaptive_avg_pool2d_backward(input: [usize; 2], output: [usize; 2], dy: &[f32], dx: &mut [f32]) {
    let windows = Averages::adaptive(input, output);
    windows.check(dx.len(), dy.len());
    each_plane_back(&windows, Level::best(), dy, dx);
}

/// The windows of a plane: a range of pixels and a divisor for each place along each axis.
pub(crate) struct Averages {
    input: [usize; 2],
    pub(crate) rows: Vec<(Range<usize>, f32)>,
    pub(crate) cols: Vec<(Range<usize>, f32)>,
}

impl Averages {
    pub(crate) fn of_pool(shape: &PoolShape, averaged: Averaged) -> Averages {
        let pool = shape.pool;
        assert!(pool.dilation == [1, 1], "an average has no dilation");
        let along = |axis: usize| {
            let (size, padding) = (shape.input[axis], pool.padding[axis]);
            let window = |i: usize| {
                let begin = i * pool.stride[axis];
                let end = (begin + pool.kernel[axis]).min(size + 2 * padding);
                let inside = begin.saturating_sub(padding)..end.saturating_sub(padding).min(size);
                let count = match averaged {
                    Averaged::WithPadding => end - begin,
                    Averaged::InputOnly => inside.len(),
                };
                (inside, count as f32)
            };
            (0..shape.output[axis]).map(window).collect()
        };
        Averages { input: shape.input, rows: along(0), cols: along(1) }
    }

    pub(crate) fn adaptive(input: [usize; 2], output: [usize; 2]) -> Averages {
        assert!(!input.contains(&0) && !output.contains(&0), "planes of {input:?} pooled to {output:?}");
        let along = |axis: usize| {
            let (size, count) = (input[axis], output[axis]);
            let window = |i: usize| {
                let range = i * size / count..((i + 1) * size).div_ceil(count);
                let len = range.len() as f32;
                (range, len)
            };
            (0..count).map(window).collect()
        };
        Averages { input, rows: along(0), cols: along(1) }
    }

    fn planes(&self) -> [usize; 2] {
        [self.input[0] * self.input[1], self.rows.len() * self.cols.len()]
    }

    fn check(&self, input: usize, output: usize) {
        let [plane, out_plane] = self.planes();
        assert!(input.is_multiple_of(plane), "{input} values are no whole number of planes of {plane}");
        check_len("output", output, input / plane * out_plane);
    }
}

fn each_plane(windows: &Averages, level: Level, x: &[f32], out: &mut [f32]) {
    let [plane, out_plane] = windows.planes();
    if out.is_empty() {
        return;
    }
    if x.len() <= CHUNK {
        return level.run(Forward { windows, x, out });
    }
    let planes = rows_per_task(plane);
    out.par_chunks_mut(planes * out_plane)
        .zip(x.par_chunks(planes * plane))
        .for_each(|(out, x)| level.run(Forward { windows, x, out }));
}

fn each_plane_back(windows: &Averages, level: Level, dy: &[f32], dx: &mut [f32]) {
    let [plane, out_plane] = windows.planes();
    if dx.is_empty() {
        return;
    }
    if dx.len() <= CHUNK {
        return level.run(Backward { windows, dy, dx });
    }
    let planes = rows_per_task(plane);
    dx.par_chunks_mut(planes * plane)
        .zip(dy.par_chunks(planes * out_plane))
        .for_each(|(dx, dy)| level.run(Backward { windows, dy, dx }));
}

struct Forward<'a> {
    windows: &'a Averages,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let [plane, out_plane] = self.windows.planes();
        let (width, width_out) = (self.windows.input[1], self.windows.cols.len());
        // The sums of the rows of a window, pixel by pixel.
        let mut sums = vec![0.0f32; width];
        for (x, out) in self.x.chunks(plane).zip(self.out.chunks_mut(out_plane)) {
            if out_plane == 1 && self.windows.rows[0].0.len() * self.windows.cols[0].0.len() == plane {
                out[0] = sum(x) / (self.windows.rows[0].1 * self.windows.cols[0].1);
                continue;
            }
            for ((rows, height), out) in self.windows.rows.iter().zip(out.chunks_mut(width_out)) {
                sums.fill(0.0);
                for row in x[rows.start * width..rows.end.max(rows.start) * width].chunks(width) {
                    for (sum, x) in sums.iter_mut().zip(row) {
                        *sum += x;
                    }
                }
                for ((cols, count), out) in self.windows.cols.iter().zip(out) {
                    *out = sums[cols.clone()].iter().sum::<f32>() / (height * count);
                }
            }
        }
    }
}

/// Sixteen sums side by side: vectorised, and closer to the true sum than one after the other.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let (groups, rest) = values.as_chunks::<16>();
    let mut lanes = [0.0f32; 16];
    for group in groups {
        for (lane, value) in lanes.iter_mut().zip(group) {
            *lane += value;
        }
    }
    (lanes.iter().chain(rest).map(|&lane| f64::from(lane)).sum::<f64>()) as f32
}

struct Backward<'a> {
    windows: &'a Averages,
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let [plane, out_plane] = self.windows.planes();
        let (width, width_out) = (self.windows.input[1], self.windows.cols.len());
        let mut shares = vec![0.0f32; width];
        for (dx, dy) in self.dx.chunks_mut(plane).zip(self.dy.chunks(out_plane)) {
            dx.fill(0.0);
            for ((rows, height), dy) in self.windows.rows.iter().zip(dy.chunks(width_out)) {
                shares.fill(0.0);
                for ((cols, count), dy) in self.windows.cols.iter().zip(dy) {
                    let share = dy / (height * count);
                    shares[cols.clone()].iter_mut().for_each(|sum| *sum += share);
                }
                for row in dx[rows.start * width..rows.end.max(rows.start) * width].chunks_mut(width) {
                    for (dx, share) in row.iter_mut().zip(&shares) {
                        *dx += share;
                    }
                }
            }
        }
    }
}
