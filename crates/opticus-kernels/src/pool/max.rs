//! The maximum of each window, and where it was.
//!
//! As in PyTorch the first of equal values wins, and a value that is not a number beats every number. What never
//! lets a gradient through has no winner: a window of nothing but padding or -∞, and with relu a maximum that is
//! not positive. So the gradient needs the winners only, one byte for each result.

use rayon::prelude::*;

use super::shape::PoolShape;
use crate::partition::{CHUNK, check_len, rows_per_task};
use crate::simd::{Kernel, Simd};

/// How the place of the winner within its window is kept: `u8` for windows of up to 255 taps, `u32` for any.
pub trait Winner: Copy + Send + Sync + private::Sealed {
    /// Most taps that a window may have.
    const MOST: usize;
    /// The tap, or none where it is `u32::MAX`.
    #[doc(hidden)]
    fn of(tap: u32) -> Self;
    /// The tap; none is [`Winner::MOST`] or more.
    #[doc(hidden)]
    fn tap(self) -> usize;
}

mod private {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u32 {}
    impl Sealed for () {}
}

impl Winner for u8 {
    const MOST: usize = 255;
    #[inline(always)]
    fn of(tap: u32) -> u8 {
        tap as u8
    }
    #[inline(always)]
    fn tap(self) -> usize {
        usize::from(self)
    }
}

impl Winner for u32 {
    const MOST: usize = u32::MAX as usize;
    #[inline(always)]
    fn of(tap: u32) -> u32 {
        tap
    }
    #[inline(always)]
    fn tap(self) -> usize {
        self as usize
    }
}

/// Forgets the winner: nothing is stored.
impl Winner for () {
    const MOST: usize = usize::MAX;
    #[inline(always)]
    fn of(_: u32) {}
    #[inline(always)]
    fn tap(self) -> usize {
        usize::MAX
    }
}

/// No tap has won yet.
const NONE: u32 = u32::MAX;

/// The maximum of each window, with `relu` of that of each input (or, which is the same, of the maximum), and the
/// winners for [`max_pool2d_backward`].
///
/// # Panics
/// If a slice has another length than `shape` says, or the windows have more taps than `W` can tell apart.
pub fn max_pool2d<W: Winner>(shape: &PoolShape, x: &[f32], relu: bool, out: &mut [f32], winners: &mut [W]) {
    check_len("input", x.len(), shape.input_len());
    check_len("output", out.len(), shape.output_len());
    check_len("winners", winners.len(), shape.output_len());
    assert!(shape.taps() <= W::MOST, "windows of {} taps need larger winners", shape.taps());
    if out.is_empty() {
        return;
    }
    let width = shape.output[1];
    let task = |first: usize, out: &mut [f32], winners: &mut [W]| {
        shape.level.run(Rows { shape, x, relu, first, out, winners });
    };
    if x.len() <= CHUNK {
        return task(0, out, winners);
    }
    // A row of the output stands for several of the input.
    let rows = rows_per_task(shape.input[1] * shape.pool.stride[0].min(shape.input[0]));
    out.par_chunks_mut(rows * width)
        .zip(winners.par_chunks_mut(rows * width))
        .enumerate()
        .for_each(|(i, (out, winners))| task(i * rows, out, winners));
}

/// The maximum of each window, for inference.
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn max_pool2d_infer(shape: &PoolShape, x: &[f32], relu: bool, out: &mut [f32]) {
    // Values of no size: nothing is allocated.
    let mut forgotten = vec![(); out.len()];
    max_pool2d(shape, x, relu, out, &mut forgotten);
}

/// Gradient of the input: each output's goes to the winner of its window. All of `dx` is written.
///
/// # Panics
/// If a slice has another length than `shape` says, or a winner is not of this shape.
pub fn max_pool2d_backward<W: Winner>(shape: &PoolShape, dy: &[f32], winners: &[W], dx: &mut [f32]) {
    check_len("output gradient", dy.len(), shape.output_len());
    check_len("winners", winners.len(), shape.output_len());
    check_len("input gradient", dx.len(), shape.input_len());
    let (plane, out_plane) = (shape.input[0] * shape.input[1], shape.output[0] * shape.output[1]);
    if dx.is_empty() {
        return;
    }
    let task = |(dx, (dy, winners)): (&mut [f32], (&[f32], &[W]))| {
        shape.level.run(Backward { shape, dy, winners, dx });
    };
    if dx.len() <= CHUNK {
        return task((dx, (dy, winners)));
    }
    let planes = rows_per_task(plane);
    dx.par_chunks_mut(planes * plane)
        .zip(dy.par_chunks(planes * out_plane).zip(winners.par_chunks(planes * out_plane)))
        .for_each(task);
}

/// Some rows of the output, counted over all planes.
struct Rows<'a, W> {
    shape: &'a PoolShape,
    x: &'a [f32],
    relu: bool,
    first: usize,
    out: &'a mut [f32],
    winners: &'a mut [W],
}

impl<W: Winner> Kernel for Rows<'_, W> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let pool = &self.shape.pool;
        match (pool.kernel, pool.stride, pool.dilation) {
            ([2, 2], [2, 2], [1, 1]) => self.rows_of::<2, 2>(),
            ([3, 3], [2, 2], [1, 1]) => self.rows_of::<3, 2>(),
            ([3, 3], [1, 1], [1, 1]) => self.rows_of::<3, 1>(),
            _ => self.any_rows(),
        }
    }
}

impl<W: Winner> Rows<'_, W> {
    /// Square windows of `K` by `K` neighbours, `STEP` apart: a whole window is compared in registers.
    #[inline(always)]
    fn rows_of<const K: usize, const STEP: usize>(self) {
        let [_, width] = self.shape.input;
        let [height_out, width_out] = self.shape.output;
        let padding = self.shape.pool.padding[1];
        // Rows of padding never win.
        let nothing = vec![f32::NEG_INFINITY; width];
        // Windows that lie inside the input from left to right.
        let begin = padding.div_ceil(STEP).min(width_out);
        let end = if width + padding < K { begin } else { (width + padding - K) / STEP + 1 };
        let inner = begin..end.clamp(begin, width_out);
        for i in 0..self.out.len() / width_out {
            let row = self.first + i;
            let plane = plane_of(self.shape, self.x, row);
            let rows: [&[f32]; K] =
                std::array::from_fn(|tap| match self.shape.position(0, row % height_out, tap) {
                    Some(y) => &plane[y * width..][..width],
                    None => &nothing[..],
                });
            let out = &mut self.out[i * width_out..][..width_out];
            let winners = &mut self.winners[i * width_out..][..width_out];
            if !inner.is_empty() {
                let from = inner.start * STEP - padding;
                let rows = rows.map(|row| &row[from..]);
                inside::<W, K, STEP>(&rows, self.relu, &mut out[inner.clone()], &mut winners[inner.clone()]);
            }
            for x in (0..inner.start).chain(inner.end..width_out) {
                let (mut most, mut tap) = (f32::NEG_INFINITY, NONE);
                for (r, row) in rows.iter().enumerate() {
                    for c in 0..K {
                        if let Some(position) = self.shape.position(1, x, c) {
                            better(&mut most, &mut tap, row[position], (r * K + c) as u32);
                        }
                    }
                }
                (out[x], winners[x]) = finish(most, tap, self.relu);
            }
        }
    }

    /// Any windows, tap by tap over a row of results.
    #[inline(always)]
    fn any_rows(self) {
        let width = self.shape.input[1];
        let [height_out, width_out] = self.shape.output;
        let (kernel, stride) = (self.shape.pool.kernel, self.shape.pool.stride[1]);
        let mut taps = vec![NONE; width_out];
        for i in 0..self.out.len() / width_out {
            let row = self.first + i;
            let plane = plane_of(self.shape, self.x, row);
            let out = &mut self.out[i * width_out..][..width_out];
            out.fill(f32::NEG_INFINITY);
            taps.fill(NONE);
            for r in 0..kernel[0] {
                let Some(y) = self.shape.position(0, row % height_out, r) else { continue };
                let values = &plane[y * width..][..width];
                for c in 0..kernel[1] {
                    let windows = self.shape.windows_of(1, c);
                    let Some(first) = self.shape.position(1, windows.start, c) else { continue };
                    let tap = (r * kernel[1] + c) as u32;
                    let results = out[windows.clone()].iter_mut().zip(&mut taps[windows]);
                    if stride == 1 {
                        for ((most, winner), &v) in results.zip(&values[first..]) {
                            better(most, winner, v, tap);
                        }
                    } else {
                        for ((most, winner), &v) in results.zip(values[first..].iter().step_by(stride)) {
                            better(most, winner, v, tap);
                        }
                    }
                }
            }
            let winners = &mut self.winners[i * width_out..][..width_out];
            for ((out, winner), &tap) in out.iter_mut().zip(winners).zip(&taps) {
                (*out, *winner) = finish(*out, tap, self.relu);
            }
        }
    }
}

/// The plane of the input that a row of the output is from.
#[inline(always)]
fn plane_of<'a>(shape: &PoolShape, x: &'a [f32], row: usize) -> &'a [f32] {
    let plane = shape.input[0] * shape.input[1];
    &x[row / shape.output[0] * plane..][..plane]
}

/// The greater of two values, with its tap.
#[inline(always)]
fn better(most: &mut f32, winner: &mut u32, v: f32, tap: u32) {
    let wins = (v > *most) | v.is_nan();
    *most = if wins { v } else { *most };
    *winner = if wins { tap } else { *winner };
}

#[inline(always)]
fn finish<W: Winner>(most: f32, tap: u32, relu: bool) -> (f32, W) {
    let dead = relu & (most <= 0.0);
    (if dead { 0.0 } else { most }, W::of(if dead { NONE } else { tap }))
}

/// Windows that lie inside the input from left to right; the first begins at the begin of `rows`.
#[inline(always)]
fn inside<W: Winner, const K: usize, const STEP: usize>(
    rows: &[&[f32]; K],
    relu: bool,
    out: &mut [f32],
    winners: &mut [W],
) {
    let needed = (out.len() - 1) * STEP + K;
    let rows = rows.map(|row| row[..needed].as_ptr());
    for (x, (out, winner)) in out.iter_mut().zip(winners).enumerate() {
        let (mut most, mut tap) = (f32::NEG_INFINITY, NONE);
        for (r, row) in rows.iter().enumerate() {
            for c in 0..K {
                // SAFETY: less than `needed`, to which every row was cut. (An index that is checked keeps the
                // compiler from vector instructions.)
                let v = unsafe { *row.add(x * STEP + c) };
                better(&mut most, &mut tap, v, (r * K + c) as u32);
            }
        }
        (*out, *winner) = finish(most, tap, relu);
    }
}

/// Some planes of the gradient.
struct Backward<'a, W> {
    shape: &'a PoolShape,
    dy: &'a [f32],
    winners: &'a [W],
    dx: &'a mut [f32],
}

impl<W: Winner> Kernel for Backward<'_, W> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let shape = self.shape;
        let plane = shape.input[0] * shape.input[1];
        let out_plane = shape.output[0] * shape.output[1];
        let planes = self.dx.chunks_mut(plane);
        let pool = &shape.pool;
        let side_by_side =
            (pool.kernel, pool.stride, pool.padding, pool.dilation) == ([2, 2], [2, 2], [0, 0], [1, 1]);
        for (i, dx) in planes.enumerate() {
            let dy = &self.dy[i * out_plane..][..out_plane];
            let winners = &self.winners[i * out_plane..][..out_plane];
            if side_by_side {
                pairs(shape, dy, winners, dx);
            } else {
                scatter(shape, dy, winners, dx);
            }
        }
    }
}

/// Windows of 2 by 2 side by side: every pixel is written once.
#[inline(always)]
fn pairs<W: Winner>(shape: &PoolShape, dy: &[f32], winners: &[W], dx: &mut [f32]) {
    let ([height, width], width_out) = (shape.input, shape.output[1]);
    for (y, rows) in dx.chunks_mut(2 * width).enumerate() {
        if y >= shape.output[0] {
            rows.fill(0.0);
            continue;
        }
        let dy = &dy[y * width_out..][..width_out];
        let winners = &winners[y * width_out..][..width_out];
        for (r, row) in rows.chunks_mut(width).enumerate().take(height - 2 * y) {
            // With `ceil`, a window at the right end may have one pixel; without, a pixel may have no window.
            let (pairs, rest) = row.as_chunks_mut::<2>();
            for ((pair, &d), winner) in pairs.iter_mut().zip(dy).zip(winners) {
                let tap = winner.tap();
                *pair = [if tap == 2 * r { d } else { 0.0 }, if tap == 2 * r + 1 { d } else { 0.0 }];
            }
            for pixel in rest {
                let last = dy.get(width / 2).zip(winners.get(width / 2));
                *pixel = last.map_or(0.0, |(&d, winner)| if winner.tap() == 2 * r { d } else { 0.0 });
            }
        }
    }
}

/// Any windows: zeros first, while the plane stays in the cache.
#[inline(always)]
fn scatter<W: Winner>(shape: &PoolShape, dy: &[f32], winners: &[W], dx: &mut [f32]) {
    let width = shape.input[1];
    let pool = &shape.pool;
    dx.fill(0.0);
    let offsets: Vec<usize> = (0..pool.kernel[0])
        .flat_map(|r| (0..pool.kernel[1]).map(move |c| r * pool.dilation[0] * width + c * pool.dilation[1]))
        .collect();
    let rows = dy.chunks(shape.output[1]).zip(winners.chunks(shape.output[1]));
    for (y, (dy, winners)) in rows.enumerate() {
        // The window's begin may lie before the input; its winner never does.
        let mut begin =
            (y * pool.stride[0] * width).wrapping_sub(pool.padding[0] * width).wrapping_sub(pool.padding[1]);
        for (&d, winner) in dy.iter().zip(winners) {
            if let Some(&offset) = offsets.get(winner.tap()) {
                dx[begin.wrapping_add(offset)] += d;
            }
            begin = begin.wrapping_add(pool.stride[1]);
        }
    }
}
