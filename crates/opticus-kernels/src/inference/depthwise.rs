//! Convolution of each channel by itself.

use std::sync::Arc;

use super::map::{BLOCK, Map};
use super::pack::Packed;
use super::step::{Memory, Planes, Step};
use crate::activation::apply_all;
use crate::simd::{Kernel, Level, Simd};
use crate::{Activation, Conv2d};

/// A depthwise convolution: as many groups as channels, in and out.
#[derive(Debug)]
pub(super) struct Depthwise {
    pub input: Map,
    pub out: Map,
    pub residual: Option<Map>,
    pub packed: Arc<Packed>,
    pub conv: Conv2d,
    pub activation: Activation,
}

impl Depthwise {
    fn planes(&self) -> Planes {
        Planes::of(&self.out, self.conv.kernel[0] * self.conv.kernel[1] / 2)
    }
}

impl Step for Depthwise {
    fn tasks(&self) -> usize {
        self.planes().tasks()
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
        let Depthwise { input, out, residual, packed, conv, activation } = self.step;
        let (image, block, rows) = self.step.planes().task(self.task);
        let arena = self.memory.arena.get();
        let mut taps = Vec::with_capacity(conv.kernel[0] * conv.kernel[1]);
        for y in 0..conv.kernel[0] {
            for x in 0..conv.kernel[1] {
                taps.push(y * conv.dilation[0] * input.row() + x * conv.dilation[1] * input.lanes);
            }
        }
        let [top, left] = [0, 1].map(|axis| input.before[axis] - conv.padding[axis]);
        let origin =
            input.offset + image * input.image() + block * input.plane() + top * input.row() + left * BLOCK;
        let apart = conv.stride[1] * BLOCK;
        for y in rows {
            for lane in (0..BLOCK).step_by(S::LANES) {
                let mut x = 0;
                while x < out.size[1] {
                    let pixels = (out.size[1] - x).min(PIXELS);
                    let run = Run {
                        input: arena
                            .wrapping_add(origin + y * conv.stride[0] * input.row() + x * apart + lane),
                        taps: &taps,
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
