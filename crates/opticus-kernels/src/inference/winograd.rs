//! Convolution of three by three taps with a quarter of the multiplications: the tiles of
//! [`crate::conv::winograd::transform`], over blocks of channels, where every step is a whole vector.

// Rows and columns of register tiles are clearer by number.
#![allow(clippy::needless_range_loop)]

use super::direct::{Cut, Work};
use super::map::BLOCK;
use super::step::{Job, Memory, Step, part};
use super::tile::{Place, Segment, Tile};
use crate::Activation;
use crate::activation::apply_all;
use crate::conv::winograd::transform::{self, POINTS, PRODUCTS, TAPS, TILE};
use crate::scratch::Scratch;
use crate::simd::{Kernel, Level, Simd};

/// A convolution of 3×3 taps with stride 1, no dilation and one group, cut into tasks.
#[derive(Debug)]
pub(super) struct Winograd {
    job: Job,
    cut: Cut,
}

/// Rows and columns that tiles read past the input and its padding: they need not be whole.
pub(super) fn overhang(size: usize, padding: usize) -> usize {
    let out = size + 2 * padding - (TAPS - 1);
    out.next_multiple_of(TILE) + TAPS - 1 - size - padding
}

impl Winograd {
    pub fn new(job: Job, level: Level) -> Winograd {
        let mut step = Winograd { job, cut: Cut { lines: 1, panels: 1 } };
        let tiles = step.tiles();
        let Job { input, out, packed, .. } = &step.job;
        let transformed = input.blocks() * BLOCK * PRODUCTS;
        let cut = Cut::new(Work {
            images: 1,
            lines: tiles.div_ceil(FEW),
            panels: (out.blocks() * BLOCK).div_ceil(level.panel()),
            // The transform costs more than reading what it makes, and is done for each part of the panels.
            input: 4 * transformed * tiles,
            weights: packed.weights.len(),
            multiplications: packed.weights.len() * tiles,
        });
        let groups = tiles.div_ceil((TRANSFORMED / transformed).max(TILES));
        step.cut = Cut { lines: cut.lines.max(groups), panels: cut.panels };
        step
    }

    fn grid(&self) -> [usize; 2] {
        self.job.out.size.map(|side| side.div_ceil(TILE))
    }

    fn tiles(&self) -> usize {
        self.job.out.images * self.grid()[0] * self.grid()[1]
    }
}

/// Tiles that pay for reading the filters: few, and as many as a register tile has rows.
const FEW: usize = 7;
const TILES: usize = 14;
/// Values of the transformed tiles of a task: they stay in the second cache beside the filters.
const TRANSFORMED: usize = 1 << 16;

impl Step for Winograd {
    fn tasks(&self) -> usize {
        self.cut.lines * self.cut.panels
    }

    unsafe fn run(&self, level: Level, memory: &Memory, task: usize) {
        level.run(Task { step: self, memory, tiles: task / self.cut.panels, panel: task % self.cut.panels });
    }
}

struct Task<'a> {
    step: &'a Winograd,
    memory: &'a Memory<'a>,
    tiles: usize,
    panel: usize,
}

impl Task<'_> {
    /// Image, and row and column of the first pixel of a tile.
    #[inline(always)]
    fn tile(&self, tile: usize) -> (usize, usize, usize) {
        let [rows, cols] = self.step.grid();
        let (image, tile) = (tile / (rows * cols), tile % (rows * cols));
        (image, tile / cols * TILE, tile % cols * TILE)
    }
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let step = self.step;
        let Job { input, out, packed, .. } = &step.job;
        let range = part(step.tiles(), self.tiles, step.cut.lines);
        let tiles = range.len();
        let (blocks, channels) = (input.blocks(), input.channels);
        let width = 2 * S::LANES;
        let padded = out.blocks() * BLOCK;
        // `[product][block][tile][16]`
        let one = blocks * tiles * BLOCK;
        let mut transformed = Scratch::new(PRODUCTS * one);
        for (i, tile) in range.clone().enumerate() {
            for block in 0..blocks {
                for lane in (0..BLOCK).step_by(S::LANES) {
                    let to = transformed[(block * tiles + i) * BLOCK + lane..].as_mut_ptr();
                    // SAFETY: the frame holds what a tile reads past the plane.
                    unsafe { self.transform(s, tile, block, lane, to, one) };
                }
            }
        }
        let segments: Vec<Segment> = (0..blocks)
            .map(|block| Segment { offset: block * tiles * BLOCK, len: BLOCK.min(channels - block * BLOCK) })
            .collect();
        // `[product][tile][panel]`
        let mut products = Scratch::new(PRODUCTS * tiles * width);
        for panel in part(padded.div_ceil(width), self.panel, step.cut.panels) {
            let first = panel * width;
            let here = width.min(padded - first);
            for product in 0..PRODUCTS {
                let filters = &packed.weights[(first * PRODUCTS + product * here) * channels..];
                let tile = Tile {
                    input: transformed[product * one..].as_ptr(),
                    apart: BLOCK,
                    pixels: tiles,
                    second: None,
                    segments: &segments,
                    weights: filters.as_ptr(),
                    vectors: here / S::LANES,
                    out: Place {
                        first: products[product * tiles * width..].as_mut_ptr(),
                        pixel: width,
                        vector: S::LANES,
                        line: 0,
                    },
                    bias: std::ptr::null(),
                    residual: Place::NONE,
                    activation: Activation::None,
                    next: filters.as_ptr().wrapping_add(here * channels),
                };
                // SAFETY: transformed tiles and filters of this panel; the products are our own.
                unsafe { s.sum(&tile) };
            }
            for (i, tile) in range.clone().enumerate() {
                for lane in (0..here).step_by(S::LANES) {
                    let from = products[i * width + lane..].as_ptr();
                    // SAFETY: the products of this tile; its pixels of these channels are this task's alone.
                    unsafe { self.collect(s, tile, first + lane, from, tiles * width) };
                }
            }
        }
    }
}

impl Task<'_> {
    /// `Bᵀ d B` of one tile, for one vector of channels, to `to` with distance `apart` between the products.
    ///
    /// # Safety
    /// The tile must be inside the framed input, and the products writable.
    #[inline(always)]
    unsafe fn transform<S: Simd>(
        &self,
        s: S,
        tile: usize,
        block: usize,
        lane: usize,
        to: *mut f32,
        apart: usize,
    ) {
        let Job { input, conv, .. } = &self.step.job;
        let (image, y, x) = self.tile(tile);
        let at = input.window(image, block, conv.padding) + y * input.row() + x * BLOCK + lane;
        let from = self.memory.arena.get().wrapping_add(at).cast_const();
        let mut half = [[s.zero(); POINTS]; POINTS];
        // SAFETY: by contract.
        unsafe {
            for j in 0..POINTS {
                let mut d = [s.zero(); POINTS];
                for (i, d) in d.iter_mut().enumerate() {
                    *d = s.load(from.add(i * input.row() + j * BLOCK));
                }
                for (i, v) in transform::input(s, d).into_iter().enumerate() {
                    half[i][j] = v;
                }
            }
            for (i, row) in half.into_iter().enumerate() {
                for (j, v) in transform::input(s, row).into_iter().enumerate() {
                    s.store(to.add((i * POINTS + j) * apart), v);
                }
            }
        }
    }

    /// `Aᵀ m A` of one tile with all that follows, for one vector of channels from `channel` on.
    ///
    /// # Safety
    /// The products must be readable at `from` with distance `apart`, and the pixels of the output be nobody else's.
    #[inline(always)]
    unsafe fn collect<S: Simd>(&self, s: S, tile: usize, channel: usize, from: *const f32, apart: usize) {
        let Job { out, residual, packed, activation, .. } = &self.step.job;
        let (image, y, x) = self.tile(tile);
        let arena = self.memory.arena.get();
        let (block, lane) = (channel / BLOCK, channel % BLOCK);
        let mut half = [[s.zero(); POINTS]; TILE];
        // SAFETY: by contract.
        unsafe {
            let bias = s.load(packed.bias[channel..].as_ptr());
            for j in 0..POINTS {
                let mut m = [s.zero(); POINTS];
                for (i, m) in m.iter_mut().enumerate() {
                    *m = s.load(from.add((i * POINTS + j) * apart));
                }
                for (i, v) in transform::output(s, m).into_iter().enumerate() {
                    half[i][j] = v;
                }
            }
            let [rows, cols] = [(out.size[0] - y).min(TILE), (out.size[1] - x).min(TILE)];
            for (i, row) in half.into_iter().enumerate() {
                if i >= rows {
                    break;
                }
                let mut values = [transform::output(s, row)];
                for value in &mut values[0] {
                    *value = s.add(*value, bias);
                }
                if let Some(map) = residual {
                    let at = arena.wrapping_add(map.at(image, block, y + i, x) + lane);
                    for (j, value) in values[0].iter_mut().enumerate() {
                        if j < cols {
                            *value = s.add(*value, s.load(at.add(j * BLOCK)));
                        }
                    }
                }
                apply_all(s, *activation, &mut values);
                let at = arena.wrapping_add(out.at(image, block, y + i, x) + lane);
                for (j, value) in values[0].iter().enumerate() {
                    if j < cols {
                        s.store(at.add(j * BLOCK), *value);
                    }
                }
            }
        }
    }
}
