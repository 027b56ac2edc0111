//! Greatest values and means of windows.

use std::ops::Range;

use super::map::{BLOCK, Map};
use super::step::{Memory, Planes, Step};
use crate::PoolShape;
use crate::pool::Averages;
use crate::simd::{Kernel, Level, Simd};

/// What is made of the values of a window.
#[derive(Debug)]
enum Kind {
    Greatest,
    /// The sum, divided by the product of a number a row and a number a column.
    Mean(Vec<f32>, Vec<f32>),
}

/// Windows along both axes, and what is made of them.
#[derive(Debug)]
pub(super) struct Pool {
    pub input: Map,
    pub out: Map,
    rows: Vec<Range<usize>>,
    cols: Vec<Range<usize>>,
    /// Pixels from one tap to the next.
    dilation: [usize; 2],
    kind: Kind,
}

impl Pool {
    /// The greatest value of each window.
    pub fn greatest(shape: &PoolShape, input: Map, out: Map) -> Pool {
        let pool = shape.pool();
        let along = |axis: usize| {
            let (size, padding, step) = (input.size[axis], pool.padding[axis], pool.dilation[axis]);
            let window = |i: usize| {
                let begin = i * pool.stride[axis];
                // The first tap inside the input, and the end of the last one.
                let skipped = padding.saturating_sub(begin).div_ceil(step);
                let first = begin + skipped * step - padding;
                let end = (begin + (pool.kernel[axis] - 1) * step + 1).saturating_sub(padding).min(size);
                first..end.max(first)
            };
            (0..out.size[axis]).map(window).collect()
        };
        Pool { input, out, rows: along(0), cols: along(1), dilation: pool.dilation, kind: Kind::Greatest }
    }

    /// The means of windows.
    pub fn means(windows: &Averages, input: Map, out: Map) -> Pool {
        let [rows, cols] = [&windows.rows, &windows.cols];
        let counts = |along: &[(Range<usize>, f32)]| along.iter().map(|(_, count)| *count).collect();
        let ranges = |along: &[(Range<usize>, f32)]| along.iter().map(|(range, _)| range.clone()).collect();
        let kind = Kind::Mean(counts(rows), counts(cols));
        Pool { input, out, rows: ranges(rows), cols: ranges(cols), dilation: [1, 1], kind }
    }

    fn planes(&self) -> Planes {
        let taps = self.input.pixels() / self.out.pixels().max(1);
        Planes::of(&self.out, taps.max(2))
    }
}

impl Step for Pool {
    fn tasks(&self) -> usize {
        self.planes().tasks()
    }

    unsafe fn run(&self, level: Level, memory: &Memory, task: usize) {
        level.run(Task { step: self, memory, task });
    }
}

struct Task<'a> {
    step: &'a Pool,
    memory: &'a Memory<'a>,
    task: usize,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Pool { input, out, rows, cols, dilation, kind } = self.step;
        let (image, block, range) = self.step.planes().task(self.task);
        let arena = self.memory.arena.get();
        for y in range {
            for (x, cols_here) in cols.iter().enumerate() {
                for lane in (0..BLOCK).step_by(S::LANES) {
                    let to = arena.wrapping_add(out.at(image, block, y, x) + lane);
                    let window = Window {
                        first: arena.wrapping_add(input.at(image, block, 0, 0) + lane),
                        row: input.row(),
                        rows: rows[y].clone(),
                        cols: cols_here.clone(),
                        dilation: *dilation,
                    };
                    // SAFETY: windows are inside the plane; this pixel of the output is this task's alone.
                    unsafe {
                        let value = match kind {
                            Kind::Greatest => window.fold(s, s.splat(f32::NEG_INFINITY), |a, b| s.max(a, b)),
                            Kind::Mean(heights, widths) => {
                                let sum = window.fold(s, s.zero(), |a, b| s.add(a, b));
                                s.mul(sum, s.splat(1.0 / (heights[y] * widths[x])))
                            }
                        };
                        s.store(to, value);
                    }
                }
            }
        }
    }
}

/// A window of a plane, for one vector of channels.
struct Window {
    first: *const f32,
    row: usize,
    rows: Range<usize>,
    cols: Range<usize>,
    dilation: [usize; 2],
}

impl Window {
    /// All values of the window, in four chains where it is wide.
    ///
    /// # Safety
    /// The window must be readable.
    #[inline(always)]
    unsafe fn fold<S: Simd>(&self, s: S, start: S::V, f: impl Fn(S::V, S::V) -> S::V) -> S::V {
        let [mut a, mut b, mut c, mut d] = [start; 4];
        let apart = self.dilation[1] * BLOCK;
        let count = self.cols.len().div_ceil(self.dilation[1]);
        let mut y = self.rows.start;
        while y < self.rows.end {
            let mut at = self.first.wrapping_add(y * self.row + self.cols.start * BLOCK);
            // SAFETY: by contract.
            unsafe {
                for _ in 0..count / 4 {
                    a = f(a, s.load(at));
                    b = f(b, s.load(at.wrapping_add(apart)));
                    c = f(c, s.load(at.wrapping_add(2 * apart)));
                    d = f(d, s.load(at.wrapping_add(3 * apart)));
                    at = at.wrapping_add(4 * apart);
                }
                for _ in 0..count % 4 {
                    a = f(a, s.load(at));
                    at = at.wrapping_add(apart);
                }
            }
            y += self.dilation[0];
        }
        f(f(a, b), f(c, d))
    }
}
