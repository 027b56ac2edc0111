//! Gradient of the weights: the filter of four by four taps is a tile of the output gradient, and the three by
//! three outputs are the taps of the weights. Products are summed over tiles and images; the sums are turned back
//! once.

use rayon::prelude::*;

use super::patch::{Grid, LANES, Patch, Segment};
use super::transform::{self, POINTS, PRODUCTS, TAPS, TILE};
use super::{Strides, input_patch, output_patch, transform_input};
use crate::Activation;
use crate::gemm::micro::{Left, Product, Start};
use crate::scratch::Scratch;
use crate::simd::{BlockMut, Kernel, Level, SharedMut, Simd};

/// Tasks wanted at least. Fixed, so that the partition does not depend on the number of threads.
const TASKS: usize = 16;
/// Channels, input and output, of one task: their sums stay in the second cache.
const CHANNELS: usize = 64;
/// Tiles of a block.
const BLOCK_TILES: usize = 56;
/// Taps of a window.
const WINDOW: usize = TAPS * TAPS;

/// One gradient of the weights of a convolution of three by three taps with stride one.
pub(crate) struct WinogradGradient<'a> {
    pub input: &'a [f32],
    pub output: &'a [f32],
    pub input_plane: [usize; 2],
    pub output_plane: [usize; 2],
    pub padding: [usize; 2],
    pub images: usize,
    pub channels: usize,
    pub rows: usize,
}

impl WinogradGradient<'_> {
    /// Writes the gradient, `[row][channel][tap]`.
    pub fn run(&self, level: Level, dw: &mut [f32]) {
        let grid = Grid::new(self.output_plane, self.images, BLOCK_TILES);
        let [down, across] = [self.rows, self.channels].map(|n| n.div_ceil(CHANNELS));
        let blocks = grid.blocks();
        let parts = TASKS.div_ceil(down * across).min(blocks).max(1);
        // The first part is summed in place.
        let mut others = Scratch::new((parts - 1) * dw.len());
        let len = dw.len();
        let (first, rest) = (SharedMut(dw.as_mut_ptr()), SharedMut(others.as_mut_ptr()));
        (0..parts * down * across).into_par_iter().for_each(|i| {
            let (part, pair) = (i / (down * across), i % (down * across));
            let out = if part == 0 { first } else { SharedMut(rest.get().wrapping_add((part - 1) * len)) };
            level.run(Task {
                job: self,
                grid: &grid,
                blocks: part * blocks / parts..(part + 1) * blocks / parts,
                row: pair / across * CHANNELS,
                channel: pair % across * CHANNELS,
                out,
            });
        });
        if parts > 1 {
            dw.par_chunks_mut(1 << 12).enumerate().for_each(|(i, dw)| {
                for part in 0..parts - 1 {
                    let other = &others[part * len + (i << 12)..];
                    for (value, other) in dw.iter_mut().zip(other) {
                        *value += *other;
                    }
                }
            });
        }
    }
}

/// Some output channels and some input channels over some blocks of tiles.
struct Task<'a> {
    job: &'a WinogradGradient<'a>,
    grid: &'a Grid,
    blocks: std::ops::Range<usize>,
    row: usize,
    channel: usize,
    out: SharedMut,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let width = 2 * S::LANES;
        let rows = CHANNELS.min(job.rows - self.row);
        let channels = CHANNELS.min(job.channels - self.channel);
        let padded = channels.next_multiple_of(LANES);
        let slices = rows.next_multiple_of(LANES).div_ceil(width);
        let most = self.grid.block_tiles();
        // One line more than needed, so that the products of a tile do not all fall into one set of the cache.
        let left = most * padded + LANES;
        let right = slices * most * width + LANES;
        let mut inputs = Scratch::new(PRODUCTS * left);
        let mut outputs = Scratch::new(PRODUCTS * right);
        let mut sums = Scratch::new(PRODUCTS * slices * padded * width);
        let mut segments = Vec::new();
        let mut start = Start::Zero;
        if self.blocks.is_empty() {
            sums.fill(0.0);
        }
        for block in self.blocks.clone() {
            let tiles = self.grid.segments(block, &mut segments);
            self.transform_inputs(s, &segments, channels, left, &mut inputs);
            self.transform_outputs(s, &segments, rows, [tiles, right], &mut outputs);
            for p in 0..PRODUCTS {
                for slice in 0..slices {
                    // SAFETY: inputs and outputs hold `tiles` steps; the sums hold all channels.
                    unsafe {
                        s.multiply(&Product {
                            left: Left::Stepped(padded),
                            a: inputs.as_ptr().add(p * left),
                            b: outputs.as_ptr().add(p * right + slice * tiles * width),
                            b_stride: width,
                            c: sums.as_mut_ptr().add((p * slices + slice) * padded * width),
                            row_stride: width,
                            vec_stride: S::LANES,
                            rows: channels,
                            cols: width.min(rows.next_multiple_of(LANES) - slice * width),
                            inner: tiles,
                            start,
                            activation: Activation::None,
                            next: std::ptr::null(),
                        });
                    }
                }
            }
            start = Start::Sum;
        }
        self.finish(s, rows, channels, padded, &sums);
    }
}

impl Task<'_> {
    /// Transforms the input under all tiles into `[product][tile][channel]`.
    #[inline(always)]
    fn transform_inputs<S: Simd>(
        &self,
        s: S,
        segments: &[Segment],
        channels: usize,
        product: usize,
        out: &mut [f32],
    ) {
        let job = self.job;
        let plane: usize = job.input_plane.iter().product();
        let padded = channels.next_multiple_of(LANES);
        let mut patch = Patch::new();
        for segment in segments {
            input_patch(&mut patch, segment, job.input_plane, job.padding);
            let mut pixels = Scratch::new(patch.len());
            let mut rows = Scratch::new(POINTS * patch.cols * S::LANES);
            patch.clear_border(&mut pixels);
            for channel in (0..channels).step_by(LANES) {
                let count = LANES.min(channels - channel);
                let source = &job.input[(segment.image * job.channels + self.channel + channel) * plane..];
                // SAFETY: the patch describes these planes; the result holds all tiles of the segment.
                unsafe {
                    patch.load(s, source.as_ptr(), plane, count, pixels.as_mut_ptr());
                    for lane in (0..LANES).step_by(S::LANES) {
                        transform_input(
                            s,
                            segment,
                            pixels.as_ptr().add(lane),
                            rows.as_mut_ptr(),
                            out.as_mut_ptr().add(channel + lane),
                            Strides { product, tile: padded },
                        );
                    }
                }
            }
        }
    }

    /// Transforms the output gradient of all tiles into `[product][panel][tile][row]`.
    #[inline(always)]
    fn transform_outputs<S: Simd>(
        &self,
        s: S,
        segments: &[Segment],
        rows: usize,
        [tiles, product]: [usize; 2],
        out: &mut [f32],
    ) {
        let job = self.job;
        let width = 2 * S::LANES;
        let plane: usize = job.output_plane.iter().product();
        let mut patch = Patch::new();
        for segment in segments {
            output_patch(&mut patch, segment, job.output_plane);
            let mut pixels = Scratch::new(patch.len());
            patch.clear_border(&mut pixels);
            for row in (0..rows).step_by(LANES) {
                let count = LANES.min(rows - row);
                let source = &job.output[(segment.image * job.rows + self.row + row) * plane..];
                // SAFETY: the patch describes these planes; the result holds all tiles of the segment.
                unsafe {
                    patch.load(s, source.as_ptr(), plane, count, pixels.as_mut_ptr());
                    for lane in (0..LANES).step_by(S::LANES) {
                        let at = row + lane;
                        let dst = out.as_mut_ptr().add(at / width * tiles * width + at % width);
                        transform_output_gradient(
                            s,
                            segment,
                            pixels.as_ptr().add(lane),
                            dst,
                            Strides { product, tile: width },
                        );
                    }
                }
            }
        }
    }

    /// Turns the sums into taps, and writes them.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, rows: usize, channels: usize, padded: usize, sums: &[f32]) {
        let width = 2 * S::LANES;
        let product = sums.len() / PRODUCTS;
        let offsets: [u32; 16] = std::array::from_fn(|j| (j * S::LANES) as u32);
        let mut taps = [0.0f32; 16 * LANES];
        for row in (0..rows).step_by(S::LANES) {
            for channel in 0..channels {
                // SAFETY: the sums hold all rows and channels; these weights belong to this task alone.
                unsafe {
                    let from = sums.as_ptr().add((row / width * padded + channel) * width + row % width);
                    let mut half = [[s.zero(); POINTS]; TAPS];
                    for j in 0..POINTS {
                        let mut m = [s.zero(); POINTS];
                        for (i, m) in m.iter_mut().enumerate() {
                            *m = s.load(from.add((i * POINTS + j) * product));
                        }
                        for (i, v) in transform::gradient(s, m).into_iter().enumerate() {
                            half[i][j] = v;
                        }
                    }
                    for (i, m) in half.into_iter().enumerate() {
                        for (j, v) in transform::gradient(s, m).into_iter().enumerate() {
                            s.store(taps.as_mut_ptr().add((i * TAPS + j) * S::LANES), v);
                        }
                    }
                    let stride = self.job.channels * WINDOW;
                    let at = (self.row + row) * stride + (self.channel + channel) * WINDOW;
                    let dst = self.out.get().add(at);
                    let mut tap = 0;
                    while tap < WINDOW {
                        let cols = S::LANES.min(WINDOW - tap);
                        let rows = S::LANES.min(rows - row);
                        let block = BlockMut { dst: dst.add(tap), stride, rows, cols };
                        s.vectors_to_columns(taps.as_ptr().add(tap * S::LANES), offsets.as_ptr(), block);
                        tap += cols;
                    }
                }
            }
        }
    }
}

/// Transforms the tiles of a patch of the output gradient by `G g Gᵀ`.
///
/// # Safety
/// The patch must hold `4 n` rows and columns for the `n` tiles of the segment, and `dst` all tiles.
#[inline(always)]
unsafe fn transform_output_gradient<S: Simd>(
    s: S,
    segment: &Segment,
    patch: *const f32,
    dst: *mut f32,
    strides: Strides,
) {
    let cols = segment.size[1] * TILE;
    for tile in 0..segment.size[0] * segment.size[1] {
        let (tile_row, tile_col) = (tile / segment.size[1], tile % segment.size[1]);
        // SAFETY: inside the ranges that the caller promises.
        unsafe {
            let at = patch.add((tile_row * TILE * cols + tile_col * TILE) * LANES);
            let dst = dst.add((segment.tile + tile) * strides.tile);
            let mut half = [[s.zero(); TILE]; POINTS];
            for j in 0..TILE {
                let mut g = [s.zero(); TILE];
                for (i, g) in g.iter_mut().enumerate() {
                    *g = s.load(at.add((i * cols + j) * LANES));
                }
                for (i, v) in transform::output_gradient(s, g).into_iter().enumerate() {
                    half[i][j] = v;
                }
            }
            for (i, row) in half.into_iter().enumerate() {
                for (j, v) in transform::output_gradient(s, row).into_iter().enumerate() {
                    s.store(dst.add((i * POINTS + j) * strides.product), v);
                }
            }
        }
    }
}
