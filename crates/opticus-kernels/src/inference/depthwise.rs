//! Convolution of each channel by itself.

use super::map::BLOCK;
use super::step::{Job, Memory, Planes, Step};
use crate::Activation;
use crate::activation::apply_all;
use crate::simd::{Kernel, Level, Simd};

/// A depthwise convolution: as many groups as channels, in and out.
#[derive(Debug)]
pub(super) struct Depthwise {
    job: Job,
    /// From the first tap of a window to each.
    taps: Vec<usize>,
    planes: Planes,
}

impl Depthwise {
    pub fn new(job: Job) -> Depthwise {
        let Job { input, out, conv, .. } = &job;
        let [height, width] = conv.kernel;
        let tap =
            |y: usize, x: usize| y * conv.dilation[0] * input.row() + x * conv.dilation[1] * input.lanes;
        let taps = (0..height * width).map(|i| tap(i / width, i % width)).collect();
        let planes = Planes::of(out, height * width / 2);
        Depthwise { job, taps, planes }
    }
}

impl Step for Depthwise {
    fn tasks(&self) -> usize {
        self.planes.tasks()
    }

    unsafe fn run(&self, level: Level, memory: &Memory, task: usize) {
        level.run(Task { step: self, memory, task });
    }
}

struct Task<'a> {
    step: &'a Depthwise,
    memory: &'a Memory<'a>,
    task: usize,
}

/// A run of pixels of one row and block, for one vector of channels.
#[derive(Clone, Copy)]
struct Run<'a> {
    input: *const f32,
    /// From the first tap to each.
    taps: &'a [usize],
    weights: *const f32,
    bias: *const f32,
    residual: *const f32,
    out: *mut f32,
    /// Distance between the pixels of the input.
    apart: usize,
    activation: Activation,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Depthwise { job, taps, planes } = self.step;
        let Job { input, out, residual, packed, conv, activation } = job;
        let (image, block, rows) = planes.task(self.task);
        let arena = self.memory.arena.get();
        let origin = input.window(image, block, conv.padding);
        let apart = conv.stride[1] * BLOCK;
        for y in rows {
            for lane in (0..BLOCK).step_by(S::LANES) {
                let mut x = 0;
                while x < out.size[1] {
                    let pixels = (out.size[1] - x).min(PIXELS);
                    let run = Run {
                        input: arena
                            .wrapping_add(origin + y * conv.stride[0] * input.row() + x * apart + lane),
                        taps,
                        weights: packed.weights[block * taps.len() * BLOCK + lane..].as_ptr(),
                        bias: packed.bias[block * BLOCK + lane..].as_ptr(),
                        residual: residual.as_ref().map_or(std::ptr::null(), |map| {
                            arena.wrapping_add(map.at(image, block, y, x) + lane).cast_const()
                        }),
                        out: arena.wrapping_add(out.at(image, block, y, x) + lane),
                        apart,
                        activation: *activation,
                    };
                    // SAFETY: windows of the framed input, filters of this block, and pixels of the output that are
                    // this task's alone.
                    unsafe { by_pixels(s, &run, pixels) };
                    x += pixels;
                }
            }
        }
    }
}

/// Sums side by side: enough to hide how long an addition takes.
const PIXELS: usize = 7;

/// # Safety
/// All that `run` describes must be valid for `pixels` pixels, at most [`PIXELS`].
#[inline(always)]
unsafe fn by_pixels<S: Simd>(s: S, run: &Run, pixels: usize) {
    // SAFETY: forwarded.
    unsafe {
        match pixels {
            7 => sum::<S, 7>(s, run),
            6 => sum::<S, 6>(s, run),
            5 => sum::<S, 5>(s, run),
            4 => sum::<S, 4>(s, run),
            3 => sum::<S, 3>(s, run),
            2 => sum::<S, 2>(s, run),
            _ => sum::<S, 1>(s, run),
        }
    }
}

/// # Safety
/// As [`by_pixels`].
#[inline(always)]
unsafe fn sum<S: Simd, const N: usize>(s: S, run: &Run) {
    // SAFETY: pixels and taps that the caller promises.
    unsafe {
        let mut acc = [[s.load(run.bias)]; N];
        for (tap, &offset) in run.taps.iter().enumerate() {
            let weight = s.load(run.weights.add(tap * BLOCK));
            for (i, [sum]) in acc.iter_mut().enumerate() {
                *sum = s.fma(s.load(run.input.add(offset + i * run.apart)), weight, *sum);
            }
        }
        if !run.residual.is_null() {
            for (i, [sum]) in acc.iter_mut().enumerate() {
                *sum = s.add(*sum, s.load(run.residual.add(i * BLOCK)));
            }
        }
        apply_all(s, run.activation, &mut acc);
        for (i, [sum]) in acc.iter().enumerate() {
            s.store(run.out.add(i * BLOCK), *sum);
        }
    }
}
