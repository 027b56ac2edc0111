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
use crate::simd::{Kernel, Level, Shared, SharedMut, Simd, first};

/// Inner steps of one pass over the result: a panel of this height fits the first cache.
const INNER: usize = 256;
/// Panels of one task: with [`INNER`], what the second cache holds beside the weights.
const PANELS: usize = 8;
/// Rows of a task at least, where there are so many: they share the reading of the windows.
const ROWS: usize = 256;
/// Rows of a task at least, where the pixels are too few for all threads.
const FEW_ROWS: usize = 32;
/// Tasks wanted at least. Fixed, so that the partition does not depend on the number of threads.
const TASKS: usize = 16;

/// Where the weight of `(row, channel, tap)` of a group lies: `row * row + channel * channel`, plus the tap's place.
#[derive(Clone, Copy)]
pub(crate) struct WeightOrder {
    pub row: usize,
    pub channel: usize,
    pub group: usize,
}

/// Results for one phase of the output: pixel `(y, x)` of the grid goes to `(y, x) * step + offset` of the plane.
pub(crate) struct Phase {
    pub windows: Windows,
    /// Places of the taps among the weights of one row and channel.
    pub taps: Vec<usize>,
}

/// One convolution by matrix product.
pub(crate) struct Implicit<'a> {
    /// The phases, in the order of their offsets: `step[0] * step[1]` of them, with the same grid.
    pub phases: Vec<Phase>,
    pub input: &'a [f32],
    pub weights: &'a [f32],
    pub order: WeightOrder,
    pub groups: usize,
    /// Input channels of one group.
    pub channels: usize,
    /// Output channels of one group.
    pub rows: usize,
    pub out: SharedMut,
    pub out_plane: [usize; 2],
    /// Distance between neighbouring pixels of one phase.
    pub step: [usize; 2],
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
}

impl Implicit<'_> {
    /// Computes all of it.
    pub fn run(&self, level: Level) {
        if self.windows().images == 0 || self.windows().pixels() == 0 {
            return;
        }
        let partition = self.partition(level);
        let packed: Vec<Scratch> = self.phases.iter().map(|phase| self.pack_weights(phase)).collect();
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

    /// The windows of the first phase: all have the same grid.
    fn windows(&self) -> &Windows {
        &self.phases[0].windows
    }

    fn partition(&self, level: Level) -> Partition {
        let width = level.panel();
        let pixels = self.windows().pixels();
        let by_image = pixels.div_ceil(width) * width * 16 <= pixels * 17;
        let panels = if by_image {
            self.windows().images * pixels.div_ceil(width)
        } else {
            (self.windows().images * pixels).div_ceil(width)
        };
        let tasks = |per_task: usize| self.groups * panels.div_ceil(per_task);
        // Sums of all phases of a task stay in the second cache.
        let most_rows = 512 / self.phases.len();
        let row_blocks = TASKS
            .div_ceil(tasks(PANELS))
            .max(self.rows / most_rows.max(1))
            .clamp(1, (self.rows / ROWS).max(1));
        let mut panels_per_task = PANELS;
        while panels_per_task > 1 && tasks(panels_per_task) * row_blocks < TASKS {
            panels_per_task /= 2;
        }
        // Few pixels: only rows are left to cut.
        let few = TASKS.div_ceil(tasks(panels_per_task)).min(self.rows / FEW_ROWS);
        let row_blocks = row_blocks.max(few);
        Partition { by_image, panels, panels_per_task, row_blocks }
    }

    /// Channels of one pass of a phase.
    fn chunk(&self, phase: &Phase) -> usize {
        (INNER / phase.taps.len().max(1)).clamp(1, self.channels)
    }

    /// Values of one chunk of packed weights.
    fn chunk_len(&self, phase: &Phase) -> usize {
        (self.chunk(phase) * phase.taps.len()).next_multiple_of(BLOCK) * self.rows
    }

    /// Weights as `[group][chunk][inner / 16][row][16]`.
    fn pack_weights(&self, phase: &Phase) -> Scratch {
        let step = self.chunk(phase);
        let chunks = self.channels.div_ceil(step);
        let len = self.chunk_len(phase);
        let mut packed = Scratch::new(self.groups * chunks * len);
        if phase.taps.is_empty() {
            return packed;
        }
        packed.par_chunks_mut(len.max(1)).enumerate().for_each(|(i, chunk)| {
            let (group, c0) = (i / chunks, i % chunks * step);
            let channels = step.min(self.channels - c0);
            let source = &self.weights[group * self.order.group + c0 * self.order.channel..];
            // Weights of a row that lie in the order of the taps are copied, others picked one by one first.
            let in_order = self.order.channel == phase.taps.len() && phase.taps.is_sorted();
            let inner = channels * phase.taps.len();
            let mut picked = Scratch::new(if in_order { 0 } else { inner * self.rows });
            let (rows, pitch) = if in_order {
                (source, self.order.row)
            } else {
                for row in 0..self.rows {
                    for c in 0..channels {
                        let source = &source[row * self.order.row + c * self.order.channel..];
                        let picked = &mut picked[row * inner + c * phase.taps.len()..][..phase.taps.len()];
                        for (value, &tap) in picked.iter_mut().zip(&phase.taps) {
                            *value = source[tap];
                        }
                    }
                }
                (&picked[..], inner)
            };
            for (b, block) in chunk.chunks_exact_mut(BLOCK * self.rows).enumerate() {
                let count = BLOCK.min(inner.saturating_sub(b * BLOCK));
                for (row, block) in block.chunks_exact_mut(BLOCK).enumerate() {
                    let values = &rows[(row * pitch + b * BLOCK).min(rows.len())..];
                    match (values.first_chunk::<BLOCK>(), count) {
                        (Some(values), BLOCK) => block.copy_from_slice(values),
                        _ => {
                            block[..count].copy_from_slice(&values[..count]);
                            block[count..].fill(0.0);
                        }
                    }
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
    weights: &'a [Scratch],
    group: usize,
    panels: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    width: usize,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let windows = job.windows();
        // Results that are not runs of pixels of one image are summed aside and scattered at the end.
        let direct = self.partition.by_image && job.step == [1, 1] && job.out_plane == windows.grid;
        let columns = self.panels.len() * self.width;
        let one = if direct { 0 } else { self.rows.len() * columns };
        let mut aside = Scratch::new(job.phases.len() * one);
        for (i, (phase, weights)) in job.phases.iter().zip(self.weights).enumerate() {
            self.sum(s, phase, weights, if direct { None } else { Some(&mut aside[i * one..][..one]) });
        }
        if !direct {
            self.scatter(s, &aside, one, columns);
        }
    }
}

impl Task<'_> {
    /// Computes one phase, into `aside` or straight into the output.
    #[inline(always)]
    fn sum<S: Simd>(&self, s: S, phase: &Phase, weights: &[f32], mut aside: Option<&mut [f32]>) {
        let job = self.job;
        let windows = &phase.windows;
        let (taps, rows) = (windows.taps(), self.rows.len());
        let plane: usize = windows.plane.iter().product();
        let out_plane: usize = job.out_plane.iter().product();
        let columns = self.panels.len() * self.width;
        let step = job.chunk(phase);
        let mut panel = Scratch::new(step * taps * self.width);
        let mut lanes = [Lanes::new(), Lanes::new()];
        let row0 = self.group * job.rows + self.rows.start;
        let chunks = job.channels.div_ceil(step);
        let chunk_len = job.chunk_len(phase);
        for chunk in 0..chunks {
            let c0 = chunk * step;
            let channels = step.min(job.channels - c0);
            let weights = &weights[(self.group * chunks + chunk) * chunk_len..][..chunk_len];
            let source = Shared(job.input[(self.group * job.channels + c0) * plane..].as_ptr());
            for p in self.panels.clone() {
                let (image, pixel, count) = self.place(p);
                for (v, lanes) in lanes.iter_mut().enumerate() {
                    let here = count.saturating_sub(v * S::LANES).min(S::LANES);
                    if here == 0 || taps == 0 {
                        continue;
                    }
                    let (n, at) = self.advance(image, pixel, v * S::LANES);
                    windows.describe(lanes, n, at, here);
                    let dst = panel[v * S::LANES..].as_mut_ptr();
                    // SAFETY: the windows are over the planes of the input; the panel holds a row of `width` for
                    // every channel and tap of a chunk.
                    unsafe {
                        gather(
                            s,
                            lanes,
                            Gathering { src: source.get(), plane, channels, dst, dst_step: self.width },
                        );
                    }
                }
                let last = chunk + 1 == chunks;
                let start = match (chunk, job.bias) {
                    (0, Some(bias)) => Start::RowBias(bias[row0..].as_ptr()),
                    (0, None) => Start::Zero,
                    _ => Start::Sum,
                };
                let (c, row_stride) = match &mut aside {
                    Some(aside) => (aside[(p - self.panels.start) * self.width..].as_mut_ptr(), columns),
                    None => {
                        let at = (image * job.groups * job.rows + row0) * out_plane + pixel;
                        (job.out.get().wrapping_add(at), out_plane)
                    }
                };
                // SAFETY: the packed weights hold `rows` of every block; the panel is as wide as two vectors; the
                // pixels of these rows belong to this task alone.
                unsafe {
                    s.multiply(&Product {
                        left: Left::Blocked(job.rows * BLOCK),
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
                        next: std::ptr::null(),
                    });
                }
            }
        }
    }

    /// Image, first pixel and number of pixels of a panel.
    #[inline(always)]
    fn place(&self, panel: usize) -> (usize, usize, usize) {
        let windows = self.job.windows();
        let pixels = windows.pixels();
        if self.partition.by_image {
            let per_image = pixels.div_ceil(self.width);
            let pixel = panel % per_image * self.width;
            (panel / per_image, pixel, self.width.min(pixels - pixel))
        } else {
            let at = panel * self.width;
            (at / pixels, at % pixels, self.width.min(windows.images * pixels - at))
        }
    }

    #[inline(always)]
    fn advance(&self, image: usize, pixel: usize, by: usize) -> (usize, usize) {
        let pixels = self.job.windows().pixels();
        (image + (pixel + by) / pixels, (pixel + by) % pixels)
    }

    /// Writes the sums of all phases to their pixels, a row of the output at a time.
    #[inline(always)]
    fn scatter<S: Simd>(&self, s: S, sums: &[f32], one: usize, columns: usize) {
        let job = self.job;
        let (plane, step) = (job.out_plane, job.step);
        let grid = job.windows().grid;
        let row0 = self.group * job.rows + self.rows.start;
        for panel in self.panels.clone() {
            let (image, pixel, count) = self.place(panel);
            let from = (panel - self.panels.start) * self.width;
            let (mut n, mut y, mut x) = (image, pixel / grid[1], pixel % grid[1]);
            let mut done = 0;
            while done < count {
                let run = (grid[1] - x).min(count - done);
                for row in 0..self.rows.len() {
                    let image_row = n * job.groups * job.rows + row0 + row;
                    for phase_y in 0..step[0].min(plane[0] - y * step[0]) {
                        let at = (image_row * plane[0] + y * step[0] + phase_y) * plane[1] + x * step[1];
                        let values = phase_y * step[1] * one + row * columns + from + done;
                        let strip = Strip {
                            values: sums[values..].as_ptr(),
                            phase: one,
                            run,
                            out: job.out.get().wrapping_add(at),
                            len: (run * step[1]).min(plane[1] - x * step[1]),
                            step: step[1],
                        };
                        // SAFETY: sums of all phases, and a part of a row of the output that is this task's alone.
                        unsafe { strip.write(s) };
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

/// A run of pixels of one row for all horizontal phases.
pub(super) struct Strip {
    /// First value of phase 0.
    pub values: *const f32,
    /// Distance between the phases.
    pub phase: usize,
    /// Values of each phase.
    pub run: usize,
    pub out: *mut f32,
    /// Values to write: the last ones of some phases may lie past the plane.
    pub len: usize,
    pub step: usize,
}

impl Strip {
    /// Writes the phases in turn.
    ///
    /// # Safety
    /// The described values must be readable, and the output writable.
    #[inline(always)]
    pub unsafe fn write<S: Simd>(&self, s: S) {
        // SAFETY: values past `run` and outputs past `len` are masked out.
        unsafe {
            if self.step <= 2 {
                for i in (0..self.run).step_by(S::LANES) {
                    let mask = first((self.run - i).min(S::LANES));
                    let a = s.load_masked(self.values.add(i), mask);
                    let out = self.out.wrapping_add(self.step * i);
                    let rest = first(self.len.saturating_sub(self.step * i).min(2 * S::LANES));
                    if self.step == 1 {
                        s.store_masked(out, a, mask);
                    } else {
                        let b = s.load_masked(self.values.add(self.phase + i), mask);
                        s.store_in_turn(out, a, b, rest);
                    }
                }
            } else {
                for i in 0..self.len {
                    *self.out.add(i) = *self.values.add(i % self.step * self.phase + i / self.step);
                }
            }
        }
    }
}
