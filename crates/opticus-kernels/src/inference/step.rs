//! What all steps of a run share.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use super::map::{BLOCK, Map};
use super::pack::Packed;
use crate::simd::{Kernel, Level, SharedMut, Simd};
use crate::{Activation, Conv2d};

/// Memory of one run.
pub(super) struct Memory<'a> {
    /// The batch of pictures, `[image][channel][row][column]`.
    pub input: &'a [f32],
    pub arena: SharedMut,
}

/// A part of the work of a run that can be cut into tasks.
pub(super) trait Step: Send + Sync + Debug {
    /// How many tasks it is cut into.
    fn tasks(&self) -> usize;

    /// Does one of them.
    ///
    /// # Safety
    /// The arena must hold the maps of the step, of which those that are read must be written, and nobody else may
    /// use those that the step writes; no task may run twice at a time.
    unsafe fn run(&self, level: Level, memory: &Memory, task: usize);
}

/// A convolution to do, whatever the algorithm.
#[derive(Debug)]
pub(super) struct Job {
    pub input: Map,
    pub out: Map,
    /// Added before the activation.
    pub residual: Option<Map>,
    pub packed: Arc<Packed>,
    pub conv: Conv2d,
    pub activation: Activation,
}

/// Part `i` of `n` nearly equal parts of `0..len`.
pub(super) fn part(len: usize, i: usize, n: usize) -> Range<usize> {
    i * len / n..(i + 1) * len / n
}

/// Rows of the planes of a map, cut into tasks: whole planes if they are small.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Planes {
    images: usize,
    blocks: usize,
    rows: usize,
    /// Parts of a plane.
    parts: usize,
}

/// Values of one task that pay for being handed over.
const WORTH: usize = 1 << 16;

impl Planes {
    /// The planes of `map`; each value of it costs `work` operations.
    pub fn of(map: &Map, work: usize) -> Planes {
        let values = map.pixels() * map.lanes * work.max(1);
        let parts = (values / WORTH).clamp(1, map.size[0].max(1));
        Planes { images: map.images, blocks: map.blocks(), rows: map.size[0], parts }
    }

    pub fn tasks(&self) -> usize {
        self.images * self.blocks * self.parts
    }

    /// Image, block and rows of a task.
    pub fn task(&self, task: usize) -> (usize, usize, Range<usize>) {
        let plane = task / self.parts;
        (plane / self.blocks, plane % self.blocks, part(self.rows, task % self.parts, self.parts))
    }
}

/// The zeros around a value.
#[derive(Debug)]
pub(super) struct Frame {
    pub map: Map,
}

impl Step for Frame {
    fn tasks(&self) -> usize {
        self.map.images
    }

    unsafe fn run(&self, _: Level, memory: &Memory, image: usize) {
        let map = &self.map;
        let (row, lanes) = (map.row(), map.lanes);
        let [top, left] = map.before;
        let [bottom, right] = map.after;
        for block in 0..map.blocks() {
            let plane =
                memory.arena.get().wrapping_add(map.offset + image * map.image() + block * map.plane());
            let zero = |at: usize, len: usize| {
                // SAFETY: inside the plane, which the map has for itself.
                unsafe { std::slice::from_raw_parts_mut(plane.add(at), len).fill(0.0) };
            };
            zero(0, top * row);
            zero((top + map.size[0]) * row, bottom * row);
            for y in top..top + map.size[0] {
                zero(y * row, left * lanes);
                zero((y + 1) * row - right * lanes, right * lanes);
            }
        }
    }
}

/// Reads pictures `[image][channel][row][column]` into a map.
#[derive(Debug)]
pub(super) struct Import {
    pub map: Map,
}

impl Step for Import {
    fn tasks(&self) -> usize {
        Planes::of(&self.map, 4).tasks()
    }

    unsafe fn run(&self, _: Level, memory: &Memory, task: usize) {
        let map = &self.map;
        let (image, block, rows) = Planes::of(map, 4).task(task);
        let [height, width] = map.size;
        let first = block * map.lanes;
        for y in rows {
            // SAFETY: a row of the map, which is this task's alone.
            let out = unsafe {
                let at = memory.arena.get().add(map.at(image, block, y, 0));
                std::slice::from_raw_parts_mut(at, width * map.lanes)
            };
            for lane in 0..map.lanes {
                let channel = first + lane;
                if channel < map.channels {
                    let at = ((image * map.channels + channel) * height + y) * width;
                    let row = &memory.input[at..at + width];
                    out.iter_mut().skip(lane).step_by(map.lanes).zip(row).for_each(|(out, x)| *out = *x);
                } else {
                    out.iter_mut().skip(lane).step_by(map.lanes).for_each(|out| *out = 0.0);
                }
            }
        }
    }
}

/// The values of a map as `[image][channel][row][column]`.
///
/// # Safety
/// The map must be written.
pub(super) unsafe fn export(map: &Map, arena: SharedMut) -> Vec<f32> {
    use rayon::prelude::*;
    let [height, width] = map.size;
    let mut values = vec![0.0f32; map.images * map.channels * height * width];
    let channel = |i: usize, plane: &mut [f32]| {
        let (image, channel) = (i / map.channels, i % map.channels);
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            let at = map.at(image, channel / map.lanes, y, 0) + channel % map.lanes;
            for (x, value) in row.iter_mut().enumerate() {
                // SAFETY: pixels of the map, which is written by contract.
                *value = unsafe { *arena.get().add(at + x * map.lanes) };
            }
        }
    };
    if height * width == 0 {
        return values;
    }
    let planes = values.len() / (height * width);
    if values.len() < WORTH || planes < 2 {
        values.chunks_exact_mut(height * width).enumerate().for_each(|(i, plane)| channel(i, plane));
    } else {
        values.par_chunks_exact_mut(height * width).enumerate().for_each(|(i, plane)| channel(i, plane));
    }
    values
}

/// Channels of other values, side by side: joined maps, added channels of zeros, thinned or repeated rows and columns.
#[derive(Debug)]
pub(super) struct Arrange {
    pub out: Map,
    /// Maps whose channels follow one another, with the number of zeros before the first.
    pub parts: Vec<Map>,
    pub before: usize,
    /// The row that each row comes from, and the column that each column comes from.
    pub rows: Vec<usize>,
    pub cols: Vec<usize>,
}

impl Arrange {
    /// The map and its channel that output channel `channel` comes from.
    fn source(&self, channel: usize) -> Option<(&Map, usize)> {
        let mut channel = channel.checked_sub(self.before)?;
        for part in &self.parts {
            if channel < part.channels {
                return Some((part, channel));
            }
            channel -= part.channels;
        }
        None
    }
}

impl Step for Arrange {
    fn tasks(&self) -> usize {
        Planes::of(&self.out, 2).tasks()
    }

    unsafe fn run(&self, _: Level, memory: &Memory, task: usize) {
        let out = &self.out;
        let (image, block, rows) = Planes::of(out, 2).task(task);
        let arena = memory.arena.get();
        for y in rows {
            let to = out.at(image, block, y, 0);
            for lane in 0..out.lanes {
                let source = self.source(block * out.lanes + lane).map(|(map, channel)| {
                    let at = map.at(image, channel / map.lanes, self.rows[y], 0) + channel % map.lanes;
                    (at, map.lanes)
                });
                for (x, from) in self.cols.iter().enumerate() {
                    // SAFETY: pixels of the maps of this step; this row of the output is this task's alone.
                    unsafe {
                        *arena.add(to + x * out.lanes + lane) = match source {
                            Some((at, apart)) => *arena.add(at + from * apart),
                            None => 0.0,
                        };
                    }
                }
            }
        }
    }
}

/// The channels of each position over their norm, times one number a channel (to whole blocks).
#[derive(Debug)]
pub(super) struct Normalize {
    pub input: Map,
    pub out: Map,
    pub scale: Vec<f32>,
}

/// Norms are no less than this, as in PyTorch's `normalize`.
const LEAST_NORM: f32 = 1e-12;

impl Step for Normalize {
    fn tasks(&self) -> usize {
        self.out.images * self.out.size[0]
    }

    unsafe fn run(&self, _: Level, memory: &Memory, task: usize) {
        let (image, y) = (task / self.out.size[0], task % self.out.size[0]);
        let arena = memory.arena.get();
        for x in 0..self.out.size[1] {
            // SAFETY: a position of the input; this row of the output is this task's alone.
            unsafe {
                let value = |channel: usize| {
                    *arena.add(self.input.at(image, channel / BLOCK, y, x) + channel % BLOCK)
                };
                let squares = (0..self.out.channels).map(|channel| f64::from(value(channel)).powi(2));
                let norm = (squares.sum::<f64>().sqrt() as f32).max(LEAST_NORM);
                for (channel, scale) in self.scale.iter().enumerate() {
                    let at = self.out.at(image, channel / BLOCK, y, x) + channel % BLOCK;
                    *arena.add(at) = value(channel) * (scale / norm);
                }
            }
        }
    }
}

/// What an [`Each`] does with the values of its maps.
#[derive(Debug)]
pub(super) enum Operation {
    /// `scale · x + shift`, one of each a channel (to whole blocks).
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Apply(crate::Function),
    Add(Map),
    /// The product with a map of the same size.
    Mul(Map),
    /// The product with one value a channel.
    Weigh(Map),
}

/// An operation on each value.
#[derive(Debug)]
pub(super) struct Each {
    pub input: Map,
    pub out: Map,
    pub operation: Operation,
}

impl Step for Each {
    fn tasks(&self) -> usize {
        Planes::of(&self.out, 1).tasks()
    }

    unsafe fn run(&self, level: Level, memory: &Memory, task: usize) {
        let (image, block, rows) = Planes::of(&self.out, 1).task(task);
        let arena = memory.arena.get();
        for y in rows {
            let len = self.out.size[1] * self.out.lanes;
            // SAFETY: rows of the maps of this step; this row of the output is this task's alone.
            let (read, out) = unsafe {
                let read = |map: &Map, y: usize, len: usize| {
                    std::slice::from_raw_parts(arena.add(map.at(image, block, y, 0)).cast_const(), len)
                };
                let out = arena.add(self.out.at(image, block, y, 0));
                (read, std::slice::from_raw_parts_mut(out, len))
            };
            let x = read(&self.input, y, len);
            match &self.operation {
                Operation::Apply(function) => crate::elementwise::apply_at(level, *function, x, out),
                Operation::Affine { scale, shift } => {
                    let lanes = block * self.out.lanes..(block + 1) * self.out.lanes;
                    level.run(Row { x, out, with: With::Affine(&scale[lanes.clone()], &shift[lanes]) });
                }
                Operation::Add(map) => level.run(Row { x, out, with: With::Add(read(map, y, len)) }),
                Operation::Mul(map) => level.run(Row { x, out, with: With::Mul(read(map, y, len)) }),
                Operation::Weigh(map) => {
                    level.run(Row { x, out, with: With::Weigh(read(map, 0, self.out.lanes)) });
                }
            }
        }
    }
}

/// What one row of an [`Each`] is computed with.
enum With<'a> {
    Affine(&'a [f32], &'a [f32]),
    Add(&'a [f32]),
    Mul(&'a [f32]),
    Weigh(&'a [f32]),
}

struct Row<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
    with: With<'a>,
}

impl Kernel for Row<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Row { x, out, with } = self;
        for i in (0..out.len()).step_by(S::LANES) {
            // SAFETY: a row is a whole number of blocks, and a block one of vectors; all slices are as long as they
            // are said to be where they are made.
            unsafe {
                let v = s.load(x.as_ptr().add(i));
                let lane = i % BLOCK;
                let y = match with {
                    With::Affine(scale, shift) => {
                        s.fma(v, s.load(scale.as_ptr().add(lane)), s.load(shift.as_ptr().add(lane)))
                    }
                    With::Add(b) => s.add(v, s.load(b.as_ptr().add(i))),
                    With::Mul(b) => s.mul(v, s.load(b.as_ptr().add(i))),
                    With::Weigh(b) => s.mul(v, s.load(b.as_ptr().add(lane))),
                };
                s.store(out.as_mut_ptr().add(i), y);
            }
        }
    }
}
