//! Convolution as a matrix product whose right matrix (the windows) exists one panel at a time, in the first cache.
//!
//! `out[row][pixel] = Σ_channel Σ_tap weight[row][channel, tap] * input[channel][window(pixel, tap)]`. It serves the
//! forward pass of any convolution, and the gradient of its input: there each phase of the stride is such a
//! convolution of the output gradient with every `stride`-th tap of the kernel, written to every `stride`-th pixel.

use rayon::prelude::*;

use super::windows::{Gathering, Lanes, Windows, gather};
use crate::Activation;
use crate::gemm::micro::{BLOCK, Left, Product, Start};
use crate::scratch::Scratch;
use crate::simd::{Kernel, Level, Shared, SharedMut, Simd};

/// Inner steps of one pass over the result: a panel of this height fits the first cache.
const INNER: usize = 256;
/// Panels of one task: with [`INNER`], what the second cache holds beside the weights.
const PANELS: usize = 8;
/// Tasks wanted at least. Fixed, so that the partition does not depend on the number of threads.
const TASKS: usize = 16;

/// Where the weight of `(row, channel, tap)` of a group lies: `row * row + channel * channel + taps[tap]`.
pub(crate) struct WeightOrder {
    pub row: usize,
    pub channel: usize,
    pub group: usize,
    pub taps: Vec<usize>,
}

/// Where results go: pixel `(y, x)` of the grid to pixel `(y * step + offset)` of the output plane.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub out: SharedMut,
    pub plane: [usize; 2],
    pub step: [usize; 2],
    pub offset: [usize; 2],
}

/// One convolution by matrix product.
pub(crate) struct Implicit<'a> {
    pub windows: Windows,
    pub input: &'a [f32],
    pub weights: &'a [f32],
    pub order: WeightOrder,
    pub groups: usize,
    /// Input channels of one group.
    pub channels: usize,
    /// Output channels of one group.
    pub rows: usize,
    pub target: Target,
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
}

/// The fixed partition of the work.
struct Partition {
    /// Panels are cut image by image; else they run over the ends of images.
    by_image: bool,
    panels: usize,
    panels_per_task: usize,
    row_blocks: usize,
    /// Channels of one pass.
    chunk: usize,
}

impl Implicit<'_> {
    /// Computes all of it.
    pub fn run(&self, level: Level) {
        if self.windows.images == 0 || self.windows.pixels() == 0 {
            return;
        }
        let partition = self.partition(level);
        let packed = self.pack_weights(&partition);
        let tasks = partition.panels.div_ceil(partition.panels_per_task);
        (0..self.groups * tasks * partition.row_blocks).into_par_iter().for_each(|i| {
            let (task, part) = (i / partition.row_blocks, i % partition.row_blocks);
            let bounds = |part: usize| part * self.rows / partition.row_blocks;
            let first = task % tasks * partition.panels_per_task;
            level.run(Task {
                job: self,
                partition: &partition,
                weights: &packed,
                group: task / tasks,
                panels: first..(first + partition.panels_per_task).min(partition.panels),
                rows: bounds(part)..bounds(part + 1),
                width: level.panel(),
            });
        });
    }

    fn partition(&self, level: Level) -> Partition {
        let width = level.panel();
        let pixels = self.windows.pixels();
        let by_image = pixels.div_ceil(width) * width * 16 <= pixels * 17;
        let panels = if by_image {
            self.windows.images * pixels.div_ceil(width)
        } else {
            (self.windows.images * pixels).div_ceil(width)
        };
        let tasks = |per_task: usize| self.groups * panels.div_ceil(per_task);
        let row_blocks = TASKS.div_ceil(tasks(PANELS)).clamp(1, (self.rows / 64).max(1));
        let mut panels_per_task = PANELS;
        while panels_per_task > 1 && tasks(panels_per_task) * row_blocks < TASKS {
            panels_per_task /= 2;
        }
        let chunk = (INNER / self.windows.taps().max(1)).clamp(1, self.channels);
        Partition { by_image, panels, panels_per_task, row_blocks, chunk }
    }

    /// Values of one chunk of packed weights.
    fn chunk_len(&self, channels: usize) -> usize {
        (channels * self.windows.taps()).next_multiple_of(BLOCK) * self.rows
    }

    /// Weights as `[group][chunk][inner / 16][row][16]`.
    fn pack_weights(&self, partition: &Partition) -> Scratch {
        let chunks = self.channels.div_ceil(partition.chunk);
        let len = self.chunk_len(partition.chunk);
        let mut packed = Scratch::new(self.groups * chunks * len);
        packed.par_chunks_mut(len.max(1)).enumerate().for_each(|(i, chunk)| {
            let (group, c0) = (i / chunks, i % chunks * partition.chunk);
            let channels = partition.chunk.min(self.channels - c0);
            let source = &self.weights[group * self.order.group + c0 * self.order.channel..];
            let blocks = chunk.len() / (BLOCK * self.rows);
            for row in 0..self.rows {
                let mut fill = |p: usize, value: f32| {
                    chunk[(p / BLOCK * self.rows + row) * BLOCK + p % BLOCK] = value;
                };
                let mut p = 0;
                for c in 0..channels {
                    let source = &source[row * self.order.row + c * self.order.channel..];
                    for &tap in &self.order.taps {
                        fill(p, source[tap]);
                        p += 1;
                    }
                }
                for p in p..blocks * BLOCK {
                    fill(p, 0.0);
                }
            }
        });
        packed
    }
}

/// Some panels of some rows of one group.
struct Task<'a> {
    job: &'a Implicit<'a>,
    partition: &'a Partition,
    weights: &'a [f32],
    group: usize,
    panels: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    width: usize,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let (taps, rows) = (job.windows.taps(), self.rows.len());
        let plane: usize = job.windows.plane.iter().product();
        let image_rows = job.groups * job.rows;
        let out_plane: usize = job.target.plane.iter().product();
        // Results that are not runs of pixels of one image are summed aside and scattered at the end.
        let direct =
            self.partition.by_image && job.target.step == [1, 1] && job.target.plane == job.windows.grid;
        let columns = self.panels.len() * self.width;
        let mut aside = Scratch::new(if direct { 0 } else { rows * columns });
        let mut panel = Scratch::new(self.partition.chunk * taps * self.width);
        let mut lanes = [Lanes::new(), Lanes::new()];
        let row0 = self.group * job.rows + self.rows.start;
        let chunks = job.channels.div_ceil(self.partition.chunk);
        let chunk_len = job.chunk_len(self.partition.chunk);
        for chunk in 0..chunks {
            let c0 = chunk * self.partition.chunk;
            let channels = self.partition.chunk.min(job.channels - c0);
            let weights = &self.weights[(self.group * chunks + chunk) * chunk_len..][..chunk_len];
            let source = Shared(job.input[(self.group * job.channels + c0) * plane..].as_ptr());
            for p in self.panels.clone() {
                let (image, pixel, count) = self.place(p);
                for (v, lanes) in lanes.iter_mut().enumerate() {
                    let here = count.saturating_sub(v * S::LANES).min(S::LANES);
                    if here == 0 {
                        continue;
                    }
                    let (n, at) = self.advance(image, pixel, v * S::LANES);
                    job.windows.describe(lanes, n, at, here);
                    // SAFETY: the windows are over the planes of the input; the panel holds a row of `width` for
                    // every channel and tap of a chunk.
                    unsafe {
                        gather(
                            s,
                            lanes,
                            Gathering {
                                src: source.get(),
                                plane,
                                channels,
                                dst: panel.as_mut_ptr().add(v * S::LANES),
                                dst_step: self.width,
                            },
                        );
                    }
                }
                let last = chunk + 1 == chunks;
                let start = match (chunk, job.bias) {
                    (0, Some(bias)) => Start::RowBias(bias[row0..].as_ptr()),
                    (0, None) => Start::Zero,
                    _ => Start::Sum,
                };
                let (c, row_stride) = if direct {
                    let at = (image * image_rows + row0) * out_plane + pixel;
                    (job.target.out.get().wrapping_add(at), out_plane)
                } else {
                    (aside[(p - self.panels.start) * self.width..].as_mut_ptr(), columns)
                };
                // SAFETY: the packed weights hold `rows` of every block; the panel is as wide as two vectors; the
                // pixels of these rows belong to this task alone.
                unsafe {
                    s.multiply(&Product {
                        left: Left::Blocked(job.rows * BLOCK),
                        // Not by slicing: a stride larger than the kernel has phases without taps, hence without weights.
                        a: weights.as_ptr().wrapping_add(self.rows.start * BLOCK),
                        b: panel.as_ptr(),
                        b_stride: self.width,
                        c,
                        row_stride,
                        vec_stride: S::LANES,
                        rows,
                        cols: count,
                        inner: channels * taps,
                        start,
                        activation: if last { job.activation } else { Activation::None },
                    });
                }
            }
        }
        if !direct {
            self.scatter(&aside, row0, columns);
        }
    }
}

impl Task<'_> {
    /// Image, first pixel and number of pixels of a panel.
    #[inline(always)]
    fn place(&self, panel: usize) -> (usize, usize, usize) {
        let pixels = self.job.windows.pixels();
        if self.partition.by_image {
            let per_image = pixels.div_ceil(self.width);
            let pixel = panel % per_image * self.width;
            (panel / per_image, pixel, self.width.min(pixels - pixel))
        } else {
            let at = panel * self.width;
            (at / pixels, at % pixels, self.width.min(self.job.windows.images * pixels - at))
        }
    }

    #[inline(always)]
    fn advance(&self, image: usize, pixel: usize, by: usize) -> (usize, usize) {
        let pixels = self.job.windows.pixels();
        (image + (pixel + by) / pixels, (pixel + by) % pixels)
    }

    /// Writes the sums to their pixels.
    #[inline(always)]
    fn scatter(&self, sums: &[f32], row0: usize, columns: usize) {
        let job = self.job;
        let Target { out, plane, step, offset } = job.target;
        let grid = job.windows.grid;
        let image_rows = job.groups * job.rows;
        for panel in self.panels.clone() {
            let (image, pixel, count) = self.place(panel);
            let from = (panel - self.panels.start) * self.width;
            let (mut n, mut y, mut x) = (image, pixel / grid[1], pixel % grid[1]);
            let mut done = 0;
            while done < count {
                let run = (grid[1] - x).min(count - done);
                let at = (y * step[0] + offset[0]) * plane[1] + x * step[1] + offset[1];
                for row in 0..self.rows.len() {
                    let values = &sums[row * columns + from + done..][..run];
                    let target = (n * image_rows + row0 + row) * plane[0] * plane[1] + at;
                    for (i, value) in values.iter().enumerate() {
                        // SAFETY: a pixel of a row of this task.
                        unsafe { *out.get().add(target + i * step[1]) = *value };
                    }
                }
                done += run;
                (x, y) = (0, y + 1);
                if y == grid[0] {
                    (y, n) = (0, n + 1);
                }
            }
        }
    }
}
