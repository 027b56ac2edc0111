//! The maximum of each window, and where it was.
//!
//! As in PyTorch the first of equal values wins, and a value that is not a number beats every number. What never
//! lets a gradient through has no winner: a window of nothing but padding or -∞, and with relu a maximum that is
//! not positive. So the gradient needs the winners only, one byte for each result.

use rayon::prelude::*;

use super::shape::PoolShape;
use crate::partition::{CHUNK, check_len, rows_per_task};
use crate::simd::{Kernel, Simd, first};

/// How the place of the winner within its window is kept: `u8` for windows of up to 255 taps, `u32` for any.
pub trait Winner: Copy + Send + Sync + private::Sealed {
    /// Most taps that a window may have.
    const MOST: usize;
    /// From tags: the bits of each are the tap, or `NONE`.
    #[doc(hidden)]
    fn from_tags(tags: &[f32], winners: &mut [Self]);
    /// To tags.
    #[doc(hidden)]
    fn to_tags(winners: &[Self], tags: &mut [f32]);
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
    fn from_tags(tags: &[f32], winners: &mut [u8]) {
        for (winner, tag) in winners.iter_mut().zip(tags) {
            *winner = tag.to_bits() as u8;
        }
    }
    fn to_tags(winners: &[u8], tags: &mut [f32]) {
        for (tag, &winner) in tags.iter_mut().zip(winners) {
            *tag = f32::from_bits(u32::from(winner));
        }
    }
    fn tap(self) -> usize {
        usize::from(self)
    }
}

impl Winner for u32 {
    const MOST: usize = NONE as usize;
    fn from_tags(tags: &[f32], winners: &mut [u32]) {
        for (winner, tag) in winners.iter_mut().zip(tags) {
            *winner = tag.to_bits();
        }
    }
    fn to_tags(winners: &[u32], tags: &mut [f32]) {
        for (tag, &winner) in tags.iter_mut().zip(winners) {
            *tag = f32::from_bits(winner);
        }
    }
    fn tap(self) -> usize {
        self as usize
    }
}

/// Forgets the winner: nothing is stored.
impl Winner for () {
    const MOST: usize = usize::MAX;
    fn from_tags(_: &[f32], _: &mut [()]) {}
    fn to_tags(_: &[()], tags: &mut [f32]) {
        tags.fill(f32::from_bits(NONE));
    }
    fn tap(self) -> usize {
        usize::MAX
    }
}

/// No tap has won. (Tags travel as the bits of `f32`; these are those of a number.)
const NONE: u32 = 0x007f_ffff;

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
    fn run<S: Simd>(self, s: S) {
        // The frequent cases with their numbers known: their loops unroll.
        let pool = self.shape.pool;
        match (pool.kernel, pool.stride[1], pool.dilation[1]) {
            ([2, 2], 2, 1) => self.rows::<S, 2>(s, [2, 2], 1),
            ([3, 3], 2, 1) => self.rows::<S, 2>(s, [3, 3], 1),
            ([3, 3], 1, 1) => self.rows::<S, 1>(s, [3, 3], 1),
            (kernel, 1, dilation) => self.rows::<S, 1>(s, kernel, dilation),
            (kernel, 2, dilation) => self.rows::<S, 2>(s, kernel, dilation),
            (kernel, _, dilation) => self.rows::<S, 0>(s, kernel, dilation),
        }
    }
}

impl<W: Winner> Rows<'_, W> {
    /// `STEP` is the horizontal stride, or 0 where it is known at run time only.
    #[inline(always)]
    fn rows<S: Simd, const STEP: usize>(self, s: S, kernel: [usize; 2], dilation: usize) {
        let shape = self.shape;
        let [height, width] = shape.input;
        let [height_out, width_out] = shape.output;
        let (stride, padding) = (shape.pool.stride[1], shape.pool.padding[1]);
        // With relu the maximum begins at zero, which nothing negative passes.
        let start = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        // What lies past the input never wins. Where windows reach there, rows are copied with such margins.
        let window = (kernel[1] - 1) * dilation + 1;
        let reach = (width_out - 1) * stride + window;
        let margins = padding > 0 || reach > width;
        let row_len = reach.max(width + padding);
        let mut padded = vec![f32::NEG_INFINITY; if margins { kernel[0] * row_len } else { 0 }];
        let nothing = vec![f32::NEG_INFINITY; row_len];
        let mut rows: Vec<*const f32> = vec![nothing.as_ptr(); kernel[0]];
        let mut tags = vec![0.0f32; width_out];
        let strided: [i32; 16] = std::array::from_fn(|i| (i * stride) as i32);
        for i in 0..self.out.len() / width_out {
            let row = self.first + i;
            let plane = &self.x[row / height_out * height * width..][..height * width];
            for tap in 0..kernel[0] {
                rows[tap] = match shape.position(0, row % height_out, tap) {
                    Some(y) if margins => {
                        let padded = &mut padded[tap * row_len..][..row_len];
                        padded[padding..][..width].copy_from_slice(&plane[y * width..][..width]);
                        padded.as_ptr()
                    }
                    Some(y) => plane[y * width..][..width].as_ptr(),
                    None => nothing.as_ptr(),
                };
            }
            let out = &mut self.out[i * width_out..][..width_out];
            let mut x = 0;
            while x < width_out {
                let n = (width_out - x).min(S::LANES);
                let mut best = [s.splat(start), s.splat(f32::from_bits(NONE))];
                for r in 0..kernel[0] {
                    for c in 0..kernel[1] {
                        // SAFETY: every row has `reach` values, which is where the last window ends; the lanes past
                        // the last window are masked out; there are `kernel[0]` rows.
                        let v = unsafe {
                            let p = rows.get_unchecked(r).wrapping_add(x * stride + c * dilation);
                            match STEP {
                                1 if n == S::LANES => s.load(p),
                                1 => s.load_masked(p, first(n)),
                                2 => s.load_even(p, EVEN & first(2 * n)),
                                _ => s.gather(p, strided.as_ptr(), first(n)),
                            }
                        };
                        let tap = (r * kernel[1] + c) as u32;
                        best = s.greater(best, [v, s.splat(f32::from_bits(tap))]);
                    }
                }
                // SAFETY: `x + n` is at most the end of both rows.
                unsafe {
                    s.store_masked(out.as_mut_ptr().add(x), best[0], first(n));
                    s.store_masked(tags.as_mut_ptr().add(x), best[1], first(n));
                }
                x += S::LANES;
            }
            W::from_tags(&tags, &mut self.winners[i * width_out..][..width_out]);
        }
    }
}

/// Every second lane.
const EVEN: u32 = 0x5555_5555;

/// Some planes of the gradient.
struct Backward<'a, W> {
    shape: &'a PoolShape,
    dy: &'a [f32],
    winners: &'a [W],
    dx: &'a mut [f32],
}

/// Up to so many taps, the results are gone through once for each, sixteen at a time; else once, one at a time.
const FEW_TAPS: usize = 16;

impl<W: Winner> Kernel for Backward<'_, W> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let shape = self.shape;
        let plane = shape.input[0] * shape.input[1];
        let out_plane = shape.output[0] * shape.output[1];
        let mut phases = Phases::new(shape);
        for (i, dx) in self.dx.chunks_mut(plane).enumerate() {
            let dy = &self.dy[i * out_plane..][..out_plane];
            let winners = &self.winners[i * out_plane..][..out_plane];
            if shape.taps() <= FEW_TAPS {
                phases.gather(s, shape, dy, winners, dx);
            } else {
                scatter(shape, dy, winners, dx);
            }
        }
    }
}

/// Gradients of the rows of one plane, apart by the column's place within the stride: there the columns that a tap
/// of neighbouring windows reaches are neighbours.
struct Phases {
    /// `[ring of rows][phase][column / stride]`.
    sums: Vec<f32>,
    /// Winners of one row of results.
    tags: Vec<f32>,
    /// Rows that windows may still reach while one is finished.
    ring: usize,
    /// Columns of one phase.
    len: usize,
}

impl Phases {
    fn new(shape: &PoolShape) -> Phases {
        let pool = &shape.pool;
        let few = shape.taps() <= FEW_TAPS;
        let reach = |axis: usize| (pool.kernel[axis] - 1) * pool.dilation[axis];
        let ring = if few { reach(0) + 1 } else { 0 };
        let columns = (shape.output[1] - 1) * pool.stride[1] + reach(1) + 1;
        let len = columns.max(shape.input[1] + pool.padding[1]).div_ceil(pool.stride[1]);
        Phases { sums: vec![0.0; ring * pool.stride[1] * len], tags: vec![0.0; shape.output[1]], ring, len }
    }

    /// One plane.
    #[inline(always)]
    fn gather<S: Simd, W: Winner>(
        &mut self,
        s: S,
        shape: &PoolShape,
        dy: &[f32],
        winners: &[W],
        dx: &mut [f32],
    ) {
        let (pool, width_out) = (&shape.pool, shape.output[1]);
        let (stride, row_len) = (pool.stride[1], pool.stride[1] * self.len);
        self.sums.fill(0.0);
        let mut windows = 0;
        // Rows are counted from the begin of the padding.
        for row in 0..shape.input[0] + pool.padding[0] {
            // Every window that begins at or above this row.
            while windows < shape.output[0] && windows * pool.stride[0] <= row {
                let dy = &dy[windows * width_out..][..width_out];
                W::to_tags(&winners[windows * width_out..][..width_out], &mut self.tags);
                for r in 0..pool.kernel[0] {
                    let place = (windows * pool.stride[0] + r * pool.dilation[0]) % self.ring * row_len;
                    for c in 0..pool.kernel[1] {
                        let column = c * pool.dilation[1];
                        let from = place + column % stride * self.len + column / stride;
                        let tap = s.splat(f32::from_bits((r * pool.kernel[1] + c) as u32));
                        let sums = self.sums[from..][..width_out].as_mut_ptr();
                        let (dy, tags) = (dy.as_ptr(), self.tags[..width_out].as_ptr());
                        let mut i = 0;
                        while i < width_out {
                            let mask = first((width_out - i).min(S::LANES));
                            // SAFETY: all three hold `width_out` values, and lanes past those are masked out.
                            unsafe {
                                let d = s.load_masked(dy.add(i), mask);
                                let d = s.where_same(s.load_masked(tags.add(i), mask), tap, d);
                                let sum = s.add(s.load_masked(sums.add(i), mask), d);
                                s.store_masked(sums.add(i), sum, mask);
                            }
                            i += S::LANES;
                        }
                    }
                }
                windows += 1;
            }
            let sums = &mut self.sums[row % self.ring * row_len..][..row_len];
            if let Some(y) = row.checked_sub(pool.padding[0]) {
                interleave(s, sums, stride, pool.padding[1], &mut dx[y * shape.input[1]..][..shape.input[1]]);
            }
            sums.fill(0.0);
        }
    }
}

/// `row[x] = sums[phase of x + padding][(x + padding) / stride]`.
#[inline(always)]
fn interleave<S: Simd>(s: S, sums: &[f32], stride: usize, padding: usize, row: &mut [f32]) {
    let len = sums.len() / stride;
    if stride == 1 {
        return row.copy_from_slice(&sums[padding..][..row.len()]);
    }
    let (mut column, mut place) = (0, padding);
    if stride == 2 {
        if padding % 2 == 1 && !row.is_empty() {
            row[0] = sums[len + padding / 2];
            (column, place) = (1, padding + 1);
        }
        while column + 2 * S::LANES <= row.len() {
            // SAFETY: both phases hold `(padding + row.len()).div_ceil(2)` values at least, and the row what is asked.
            unsafe {
                let p = sums.as_ptr().add(place / 2);
                s.store_in_turn(row.as_mut_ptr().add(column), s.load(p), s.load(p.add(len)), u32::MAX);
            }
            (column, place) = (column + 2 * S::LANES, place + 2 * S::LANES);
        }
    }
    for (x, value) in row[column..].iter_mut().enumerate() {
        let place = place + x;
        *value = sums[place % stride * len + place / stride];
    }
}

/// Many taps: zeros first, while the plane stays in the cache.
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
