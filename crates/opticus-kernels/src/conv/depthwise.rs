//! Convolutions in which each group has one input channel: no sum over channels, so no matrix product. Vectors are
//! runs of pixels; the weights of a channel are spread over them.

use rayon::prelude::*;

use super::implicit::{Phase, Strip};
use super::windows::{Lanes, Windows, correlate, weigh};
use crate::Activation;
use crate::activation::apply;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Level, SharedMut, Simd, first};

/// Values of a task at least: small planes are computed several at a time.
const VALUES: usize = 1 << 14;
/// Planes that are computed at once.
const TOGETHER: usize = 4;

/// A forward pass or the gradient of the input.
pub(crate) struct Depthwise<'a> {
    /// As in [`super::implicit::Implicit`].
    pub phases: Vec<Phase>,
    pub input: &'a [f32],
    pub weights: &'a [f32],
    /// Output channels that one input channel gives; or, in the gradient, gradients that are summed for one channel.
    pub multiplier: usize,
    pub gradient: bool,
    /// Channels of the result.
    pub channels: usize,
    pub out: SharedMut,
    pub out_plane: [usize; 2],
    pub step: [usize; 2],
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
}

impl Depthwise<'_> {
    /// Computes all of it; `window` is the number of taps of one filter.
    pub fn run(&self, level: Level, window: usize) {
        let plane: usize = self.out_plane.iter().product();
        let planes = self.phases[0].windows.images * self.channels;
        if plane * planes == 0 {
            return;
        }
        let tables: Vec<_> = self.phases.iter().map(|phase| phase.windows.table(level.lanes())).collect();
        let per_task = VALUES.div_ceil(plane).next_multiple_of(TOGETHER);
        (0..planes.div_ceil(per_task)).into_par_iter().for_each(|task| {
            let first = task * per_task;
            level.run(Planes {
                job: self,
                tables: &tables,
                planes: first..(first + per_task).min(planes),
                window,
            });
        });
    }
}

/// Some planes of the result.
struct Planes<'a> {
    job: &'a Depthwise<'a>,
    tables: &'a [Vec<Lanes>],
    planes: std::ops::Range<usize>,
    window: usize,
}

impl Kernel for Planes<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut planes = self.planes.clone();
        // With one plane out for each plane in, neighbours share the reading of the descriptions.
        while self.job.multiplier == 1 && planes.len() >= TOGETHER {
            self.compute::<S, TOGETHER>(s, planes.start);
            planes.start += TOGETHER;
        }
        for plane in planes {
            self.compute::<S, 1>(s, plane);
        }
    }
}

impl Planes<'_> {
    /// Computes `PLANES` planes; more than one only with a multiplier of one.
    #[inline(always)]
    fn compute<S: Simd, const PLANES: usize>(&self, s: S, first_plane: usize) {
        let job = self.job;
        let plane: usize = job.out_plane.iter().product();
        let windows = &job.phases[0].windows;
        let source: usize = windows.plane.iter().product();
        let pixels = windows.pixels();
        let direct = job.phases.len() == 1 && windows.grid == job.out_plane;
        let one = if direct { 0 } else { pixels.next_multiple_of(16) };
        let phases = job.phases.len();
        let mut aside = Scratch::new(one * phases * PLANES);
        // Planes that are summed for one result.
        let terms = if job.gradient { job.multiplier } else { 1 };
        let from = if job.gradient { first_plane * job.multiplier } else { first_plane / job.multiplier };
        let input = job.input[from * source..].as_ptr();
        let mut weights = Scratch::new(self.window * terms * PLANES);
        let mut bias = [s.zero(); PLANES];
        for (i, bias) in bias.iter_mut().enumerate() {
            *bias = s.splat(job.bias.map_or(0.0, |bias| bias[(first_plane + i) % job.channels]));
        }
        for (i, (phase, table)) in job.phases.iter().zip(self.tables).enumerate() {
            let taps = phase.taps.len();
            // `[term][plane][tap]`
            for p in 0..PLANES {
                let filter = (first_plane + p) % job.channels * terms * self.window;
                for term in 0..terms {
                    for (t, tap) in phase.taps.iter().enumerate() {
                        weights[(term * PLANES + p) * taps + t] =
                            job.weights[filter + term * self.window + tap];
                    }
                }
            }
            let (out, apart) = if direct {
                (job.out.get().wrapping_add(first_plane * plane), plane)
            } else {
                (aside[i * one..].as_mut_ptr(), phases * one)
            };
            for (v, lanes) in table.iter().enumerate() {
                let at = v * S::LANES;
                let mask = first((pixels - at).min(S::LANES));
                // SAFETY: the table describes windows over the planes of the input; `out` are planes of this task
                // alone, or the sums aside, which have room for them.
                unsafe {
                    let mut sums = bias;
                    for term in 0..terms {
                        let weights = weights.as_ptr().add(term * PLANES * taps);
                        sums = weigh(s, lanes, input.wrapping_add(term * source), source, weights, sums);
                    }
                    for (p, sum) in sums.into_iter().enumerate() {
                        s.store_masked(out.add(p * apart + at), apply(s, job.activation, sum), mask);
                    }
                }
            }
        }
        if !direct {
            for p in 0..PLANES {
                self.scatter(s, &aside[p * phases * one..], one, first_plane + p);
            }
        }
    }

    /// Writes all phases of one plane, row by row.
    #[inline(always)]
    fn scatter<S: Simd>(&self, s: S, sums: &[f32], one: usize, plane: usize) {
        let job = self.job;
        let [height, width] = job.out_plane;
        let run = job.phases[0].windows.grid[1];
        for row in 0..height {
            let (y, phase_y) = (row / job.step[0], row % job.step[0]);
            let strip = Strip {
                values: sums[phase_y * job.step[1] * one + y * run..].as_ptr(),
                phase: one,
                run,
                out: job.out.get().wrapping_add((plane * height + row) * width),
                len: width,
                step: job.step[1],
            };
            // SAFETY: sums of all phases, and a row of a plane of this task alone.
            unsafe { strip.write(s) };
        }
    }
}

/// The gradient of the weights.
pub(crate) struct DepthwiseGradient<'a> {
    pub windows: Windows,
    pub input: &'a [f32],
    pub output: &'a [f32],
    pub multiplier: usize,
    /// Output channels.
    pub rows: usize,
}

impl DepthwiseGradient<'_> {
    /// Writes the gradient, `[row][tap]`.
    pub fn run(&self, level: Level, dw: &mut [f32]) {
        let table = self.windows.table(level.lanes());
        let taps = self.windows.taps();
        dw.par_chunks_mut(taps).enumerate().for_each(|(row, dw)| {
            level.run(Row { job: self, table: &table, row, dw });
        });
    }
}

/// The gradient of one filter: all images, in order.
struct Row<'a> {
    job: &'a DepthwiseGradient<'a>,
    table: &'a [Lanes],
    row: usize,
    dw: &'a mut [f32],
}

impl Kernel for Row<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let source: usize = job.windows.plane.iter().product();
        let (pixels, channels) = (job.windows.pixels(), job.rows / job.multiplier);
        let taps = self.dw.len();
        let mut sums = Scratch::zeroed(taps * S::LANES);
        for image in 0..job.windows.images {
            let input = job.input[(image * channels + self.row / job.multiplier) * source..].as_ptr();
            let output = job.output[(image * job.rows + self.row) * pixels..].as_ptr();
            for (v, lanes) in self.table.iter().enumerate() {
                let at = v * S::LANES;
                // SAFETY: the table describes windows over the planes of the input; pixels past the last are
                // masked out.
                unsafe {
                    let dy = s.load_masked(output.add(at), first((pixels - at).min(S::LANES)));
                    correlate(s, lanes, input, dy, sums.as_mut_ptr());
                }
            }
        }
        for (tap, value) in self.dw.iter_mut().enumerate() {
            *value = sums[tap * S::LANES..][..S::LANES].iter().sum();
        }
    }
}
