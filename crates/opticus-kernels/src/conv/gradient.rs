//! Gradient of the weights as a matrix product over pixels.
//!
//! `dw[row][channel, tap] = Σ_pixel dy[row][pixel] * input[channel][window(pixel, tap)]`. The windows are the left
//! matrix, read as vectors of pixels without any shuffle; the output gradient is the right one, turned so that
//! rows lie side by side. Pixels are cut into a fixed number of parts whose sums are added in order.

use rayon::prelude::*;

use super::windows::{Gathering, Lanes, Windows, gather};
use crate::gemm::micro::{BLOCK, Left, Product, Start};
use crate::scratch::Scratch;
use crate::simd::{Block, BlockMut, Kernel, Level, SharedMut, Simd};

/// Pixels of one pass over the sums.
const PIXELS: usize = 256;
/// Windows (channel and tap) of one task: with [`PIXELS`], what the second cache holds.
const COLUMNS: usize = 320;
/// Tasks wanted at least. Fixed, so that the partition does not depend on the number of threads.
const TASKS: usize = 16;

/// One gradient of weights.
pub(crate) struct Gradient<'a> {
    pub windows: Windows,
    pub input: &'a [f32],
    pub output: &'a [f32],
    pub groups: usize,
    /// Input channels of one group.
    pub channels: usize,
    /// Output channels of one group.
    pub rows: usize,
}

struct Partition {
    /// Channels of one task.
    channels: usize,
    /// Parts of the pixels.
    parts: usize,
}

impl Gradient<'_> {
    /// Writes the gradient in the order of the weights, `[group][row][channel][tap]`.
    pub fn run(&self, level: Level, dw: &mut [f32]) {
        let taps = self.windows.taps();
        let pixels = self.windows.images * self.windows.pixels();
        let channels = (COLUMNS / taps).clamp(1, self.channels);
        let channel_blocks = self.channels.div_ceil(channels);
        let channels = self.channels.div_ceil(channel_blocks);
        let channel_blocks = self.channels.div_ceil(channels);
        let wanted = TASKS.div_ceil(self.groups * channel_blocks);
        let parts = wanted.min(pixels.div_ceil(PIXELS)).max(1);
        let partition = Partition { channels, parts };

        let width = level.panel();
        let panels = self.rows.div_ceil(width);
        let len = panels * self.channels * taps * width;
        // `[part][group][panel][channel, tap][width]`
        let mut sums = Scratch::new(parts * self.groups * len);
        let shared = SharedMut(sums.as_mut_ptr());
        (0..self.groups * parts * channel_blocks).into_par_iter().for_each(|i| {
            let (block, rest) = (i % channel_blocks, i / channel_blocks);
            level.run(Task {
                job: self,
                partition: &partition,
                part: rest % parts,
                group: rest / parts,
                block,
                sums: shared,
                len,
                width,
            });
        });
        let lanes = level.lanes();
        let blocks = self.rows.div_ceil(lanes);
        let out = SharedMut(dw.as_mut_ptr());
        (0..self.groups * blocks).into_par_iter().for_each(|i| {
            let (group, row) = (i / blocks, i % blocks * lanes);
            level.run(Finish { job: self, sums: &sums, len, parts, group, row, width, out });
        });
    }
}

/// Adds the parts of one vector of rows, in order, and turns them into rows of the weights.
struct Finish<'a> {
    job: &'a Gradient<'a>,
    sums: &'a [f32],
    /// Values of one part of one group.
    len: usize,
    parts: usize,
    group: usize,
    row: usize,
    width: usize,
    out: SharedMut,
}

impl Kernel for Finish<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let columns = job.channels * job.windows.taps();
        let rows = S::LANES.min(job.rows - self.row);
        let first = self.row / self.width * columns * self.width + self.row % self.width;
        let part = job.groups * self.len;
        let mut offsets = [0u32; 16];
        for (j, offset) in offsets.iter_mut().enumerate() {
            *offset = (j * S::LANES) as u32;
        }
        let mut block = [0.0f32; 256];
        for column in (0..columns).step_by(S::LANES) {
            let cols = S::LANES.min(columns - column);
            // SAFETY: every part holds a vector of these rows for each column; these rows are this task's alone.
            unsafe {
                for j in 0..cols {
                    let from =
                        self.sums.as_ptr().add(self.group * self.len + first + (column + j) * self.width);
                    let mut sum = s.load(from);
                    for p in 1..self.parts {
                        sum = s.add(sum, s.load(from.add(p * part)));
                    }
                    s.store(block.as_mut_ptr().add(j * S::LANES), sum);
                }
                let dst = self.out.get().add((self.group * job.rows + self.row) * columns + column);
                let target = BlockMut { dst, stride: columns, rows, cols };
                s.vectors_to_columns(block.as_ptr(), offsets.as_ptr(), target);
            }
        }
    }
}

/// The sums of some channels over one part of the pixels.
struct Task<'a> {
    job: &'a Gradient<'a>,
    partition: &'a Partition,
    part: usize,
    group: usize,
    block: usize,
    sums: SharedMut,
    len: usize,
    width: usize,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let taps = job.windows.taps();
        let c0 = self.block * self.partition.channels;
        let channels = self.partition.channels.min(job.channels - c0);
        let columns = channels * taps;
        let plane: usize = job.windows.plane.iter().product();
        let pixels = job.windows.pixels();
        let total = job.windows.images * pixels;
        // Parts are whole passes, so that only the last pass of all is short.
        let passes = total.div_ceil(PIXELS);
        let bound = |part: usize| (part * passes / self.partition.parts * PIXELS).min(total);
        let range = bound(self.part)..bound(self.part + 1);

        let panels = job.rows.div_ceil(self.width);
        let mut left = Scratch::new(PIXELS * columns);
        let mut right = Scratch::new(panels * PIXELS * self.width);
        let mut lanes = Lanes::new();
        let sums = self.sums.get().wrapping_add((self.part * job.groups + self.group) * self.len);
        let input = job.input[(self.group * job.channels + c0) * plane..].as_ptr();
        let mut first = range.start;
        let mut start = Start::Zero;
        while first < range.end || (first == range.start && matches!(start, Start::Zero)) {
            let count = PIXELS.min(range.end - first);
            for at in (0..count).step_by(S::LANES) {
                let pixel = first + at;
                let here = S::LANES.min(count - at);
                job.windows.describe(&mut lanes, pixel / pixels, pixel % pixels, here);
                // SAFETY: the windows are over the planes of the input; `left` holds 16 pixels of every column a
                // block.
                unsafe {
                    let dst = left.as_mut_ptr().add(at / BLOCK * BLOCK * columns + at % BLOCK);
                    gather(s, &lanes, Gathering { src: input, plane, channels, dst, dst_step: BLOCK });
                }
            }
            self.turn(s, first, count, &mut right);
            for panel in 0..panels {
                let c = (panel * job.channels + c0) * taps * self.width;
                // SAFETY: `left` and `right` hold `count` inner steps; the sums of these channels and this part
                // belong to this task alone.
                unsafe {
                    s.multiply(&Product {
                        left: Left::Blocked(columns * BLOCK),
                        a: left.as_ptr(),
                        b: right[panel * PIXELS * self.width..].as_ptr(),
                        b_stride: self.width,
                        c: sums.wrapping_add(c),
                        row_stride: self.width,
                        vec_stride: S::LANES,
                        rows: columns,
                        cols: self.width.min((job.rows - panel * self.width).next_multiple_of(S::LANES)),
                        inner: count,
                        start,
                        activation: crate::Activation::None,
                        next: std::ptr::null(),
                    });
                }
            }
            start = Start::Sum;
            first += count.max(1);
        }
    }
}

impl Task<'_> {
    /// Lays the output gradient of pixels `first..first + count` out as `[panel][pixel][row]`.
    #[inline(always)]
    fn turn<S: Simd>(&self, s: S, first: usize, count: usize, right: &mut [f32]) {
        let job = self.job;
        let pixels = job.windows.pixels();
        let mut offsets = [0u32; 16];
        for (j, offset) in offsets.iter_mut().enumerate() {
            *offset = (j * self.width) as u32;
        }
        let mut done = 0;
        while done < count {
            let (image, pixel) = ((first + done) / pixels, (first + done) % pixels);
            let cols = S::LANES.min(count - done).min(pixels - pixel);
            for row in (0..job.rows).step_by(S::LANES) {
                let source = (image * job.groups + self.group) * job.rows + row;
                let src = job.output[source * pixels + pixel..].as_ptr();
                let block = Block { src, stride: pixels, rows: S::LANES.min(job.rows - row), cols };
                let dst = (row / self.width * PIXELS + done) * self.width + row % self.width;
                // SAFETY: the block lies in the output gradient; `right` holds `count` pixels a panel.
                unsafe { s.columns_to_vectors(block, right[dst..].as_mut_ptr(), offsets.as_ptr()) };
            }
            done += cols;
        }
    }
}
