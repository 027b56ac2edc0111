//! Forward pass and gradient of the input: the latter is a forward pass of the output gradient with the filters
//! turned by half a circle and the roles of their channels exchanged.

use rayon::prelude::*;

use super::patch::{Grid, LANES, Patch, Segment};
use super::transform::{self, POINTS, PRODUCTS, TAPS, TILE};
use super::{Strides, input_patch, output_patch, transform_input};
use crate::Activation;
use crate::activation::apply;
use crate::gemm::micro::{Left, Product, Start};
use crate::scratch::Scratch;
use crate::simd::{Block, Kernel, Level, SharedMut, Simd, first};

/// Tasks wanted at least. Fixed, so that the partition does not depend on the number of threads.
const TASKS: usize = 16;
/// Bytes of transformed input of a block: half of the second cache.
const BLOCK_BYTES: usize = 1_200_000;
/// Tiles of a block, at least and at most.
const BLOCK_TILES: [usize; 2] = [16, 64];

/// Filters in their tensor: tap `t` of filter `row`, channel `c` is at `row * row + c * channel + t`, where `t`
/// counts backwards if the filter is turned.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub values: &'a [f32],
    pub row: usize,
    pub channel: usize,
    pub turned: bool,
}

/// One convolution of three by three taps with stride one.
pub(crate) struct Winograd<'a> {
    pub input: &'a [f32],
    pub input_plane: [usize; 2],
    pub output_plane: [usize; 2],
    pub padding: [usize; 2],
    pub images: usize,
    pub channels: usize,
    pub rows: usize,
    pub filter: Filter<'a>,
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
}

impl Winograd<'_> {
    /// Computes all of it.
    pub fn run(&self, level: Level, out: &mut [f32]) {
        if out.is_empty() {
            return;
        }
        let width = level.panel();
        let slices = self.rows.div_ceil(width);
        let mut filters = Scratch::new(PRODUCTS * slices * self.channels * width);
        let shared = SharedMut(filters.as_mut_ptr());
        let parts = self.channels.div_ceil(LANES);
        (0..slices * parts).into_par_iter().for_each(|i| {
            level.run(TransformFilter { job: self, slice: i / parts, part: i % parts, slices, out: shared });
        });

        let tiles = self.images * self.output_plane.iter().map(|d| d.div_ceil(TILE)).product::<usize>();
        let fitting = BLOCK_BYTES / (4 * PRODUCTS * self.channels.next_multiple_of(LANES));
        let most = fitting.min(tiles.div_ceil(TASKS)).clamp(BLOCK_TILES[0], BLOCK_TILES[1]);
        let grid = Grid::new(self.output_plane, self.images, most);
        let out = SharedMut(out.as_mut_ptr());
        (0..grid.blocks()).into_par_iter().for_each(|block| {
            level.run(Task { job: self, grid: &grid, block, filters: &filters, out });
        });
    }
}

/// Transforms the filters of one panel of rows, for sixteen channels, into `[product][panel][channel][row]`.
struct TransformFilter<'a> {
    job: &'a Winograd<'a>,
    slice: usize,
    part: usize,
    slices: usize,
    out: SharedMut,
}

impl Kernel for TransformFilter<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let width = 2 * S::LANES;
        let product = self.slices * job.channels * width;
        const WINDOW: usize = TAPS * TAPS;
        let offsets: [u32; 16] = std::array::from_fn(|j| (j * S::LANES) as u32);
        let mut turned = [0.0f32; 16 * LANES];
        for channel in self.part * LANES..((self.part + 1) * LANES).min(job.channels) {
            for v in 0..2 {
                let row = self.slice * width + v * S::LANES;
                let rows = job.rows.saturating_sub(row).min(S::LANES);
                let at =
                    self.out.get().wrapping_add((self.slice * job.channels + channel) * width + v * S::LANES);
                let source = job.filter.values.as_ptr();
                let source = source.wrapping_add(row * job.filter.row + channel * job.filter.channel);
                // SAFETY: nine taps of `rows` filters of one channel, `LANES` columns at a time; this panel and
                // channel of the result belong to this task alone.
                unsafe {
                    let mut tap = 0;
                    while tap < WINDOW {
                        let cols = S::LANES.min(WINDOW - tap);
                        let block =
                            Block { src: source.wrapping_add(tap), stride: job.filter.row, rows, cols };
                        let dst = turned.as_mut_ptr().add(tap * S::LANES);
                        s.columns_to_vectors(block, dst, offsets.as_ptr());
                        tap += cols;
                    }
                    let mut half = [[s.zero(); TAPS]; POINTS];
                    for j in 0..TAPS {
                        let mut g = [s.zero(); TAPS];
                        for (i, g) in g.iter_mut().enumerate() {
                            let tap = i * TAPS + j;
                            let tap = if job.filter.turned { WINDOW - 1 - tap } else { tap };
                            *g = s.load(turned.as_ptr().add(tap * S::LANES));
                        }
                        for (i, v) in transform::filter(s, g).into_iter().enumerate() {
                            half[i][j] = v;
                        }
                    }
                    for (i, row) in half.into_iter().enumerate() {
                        for (j, v) in transform::filter(s, row).into_iter().enumerate() {
                            s.store(at.add((i * POINTS + j) * product), v);
                        }
                    }
                }
            }
        }
    }
}

/// All output channels of one block of tiles.
struct Task<'a> {
    job: &'a Winograd<'a>,
    grid: &'a Grid,
    block: usize,
    filters: &'a [f32],
    out: SharedMut,
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let width = 2 * S::LANES;
        let mut segments = Vec::new();
        let tiles = self.grid.segments(self.block, &mut segments);
        let blocks = job.channels.div_ceil(LANES);
        // One line more than needed, so that the 36 products of a tile do not all fall into one set of the cache.
        let product = blocks * tiles * LANES + LANES;
        let mut transformed = Scratch::new(PRODUCTS * product);
        self.transform(s, &segments, tiles, product, &mut transformed);

        // Output channels at a time: whole panels, and whole patches of sixteen.
        let step = if blocks <= 4 { 64 } else { 32 };
        let step = step.min(job.rows.next_multiple_of(width.max(LANES)));
        let sum = step * tiles + LANES;
        let mut sums = Scratch::new(PRODUCTS * sum);
        let slices = job.rows.div_ceil(width);
        for row in (0..job.rows).step_by(step) {
            for p in 0..PRODUCTS {
                let panels = row / width..((row + step).div_ceil(width)).min(slices);
                for slice in panels.clone() {
                    let at = slice * width - row;
                    let panel = |p: usize, slice: usize| {
                        self.filters.as_ptr().wrapping_add((p * slices + slice) * job.channels * width)
                    };
                    let next =
                        if slice + 1 < panels.end { panel(p, slice + 1) } else { panel(p + 1, panels.start) };
                    // SAFETY: the transformed tiles and filters hold all channels; the sums hold `step` rows,
                    // sixteen side by side.
                    unsafe {
                        let vec_stride = if S::LANES == LANES { tiles * LANES } else { S::LANES };
                        s.multiply(&Product {
                            left: Left::Blocked(tiles * LANES),
                            a: transformed.as_ptr().add(p * product),
                            b: panel(p, slice),
                            b_stride: width,
                            c: sums.as_mut_ptr().add(p * sum + at / LANES * tiles * LANES + at % LANES),
                            row_stride: LANES,
                            vec_stride,
                            rows: tiles,
                            cols: width,
                            inner: job.channels,
                            start: Start::Zero,
                            activation: Activation::None,
                            next,
                        });
                    }
                }
            }
            self.finish(s, &segments, tiles, row..(row + step).min(job.rows), &sums);
        }
    }
}

impl Task<'_> {
    /// Transforms the input under all tiles into `[product][channel / 16][tile][16]`.
    #[inline(always)]
    fn transform<S: Simd>(&self, s: S, segments: &[Segment], tiles: usize, product: usize, out: &mut [f32]) {
        let job = self.job;
        let plane: usize = job.input_plane.iter().product();
        let mut patch = Patch::new();
        for segment in segments {
            input_patch(&mut patch, segment, job.input_plane, job.padding);
            let mut pixels = Scratch::new(patch.len());
            let mut rows = Scratch::new(POINTS * patch.cols * S::LANES);
            patch.clear_border(&mut pixels);
            for (block, channel) in (0..job.channels).step_by(LANES).enumerate() {
                let channels = LANES.min(job.channels - channel);
                let source = &job.input[(segment.image * job.channels + channel) * plane..];
                // SAFETY: the patch describes these planes; the result holds all tiles of the segment.
                unsafe {
                    patch.load(s, source.as_ptr(), plane, channels, pixels.as_mut_ptr());
                    for lane in (0..LANES).step_by(S::LANES) {
                        transform_input(
                            s,
                            segment,
                            pixels.as_ptr().add(lane),
                            rows.as_mut_ptr(),
                            out.as_mut_ptr().add(block * tiles * LANES + lane),
                            Strides { product, tile: LANES },
                        );
                    }
                }
            }
        }
    }

    /// Turns sums back into pixels of some output channels.
    #[inline(always)]
    fn finish<S: Simd>(
        &self,
        s: S,
        segments: &[Segment],
        tiles: usize,
        channels: std::ops::Range<usize>,
        sums: &[f32],
    ) {
        let job = self.job;
        let plane: usize = job.output_plane.iter().product();
        let mut patch = Patch::new();
        let product = sums.len() / PRODUCTS;
        for segment in segments {
            output_patch(&mut patch, segment, job.output_plane);
            let mut pixels = Scratch::new(patch.len());
            for (block, channel) in channels.clone().step_by(LANES).enumerate() {
                let count = LANES.min(channels.end - channel);
                for lane in (0..count).step_by(S::LANES) {
                    // SAFETY: the bias has a value for each of the set bits; sums and pixels hold all tiles of
                    // the segment.
                    unsafe {
                        let bias = match job.bias {
                            Some(bias) => s.load_masked(
                                bias[channel + lane..].as_ptr(),
                                first((count - lane).min(S::LANES)),
                            ),
                            None => s.zero(),
                        };
                        let from = sums.as_ptr().add((block * tiles + segment.tile) * LANES + lane);
                        self.transform_output(s, segment, from, product, bias, pixels.as_mut_ptr().add(lane));
                    }
                }
                // SAFETY: the patch describes these planes, whose tiles belong to this task alone.
                unsafe {
                    let at = (segment.image * job.rows + channel) * plane;
                    patch.save(s, pixels.as_ptr(), self.out.get().add(at), plane, count);
                }
            }
        }
    }

    /// `Aᵀ m A` of each tile of a segment, plus the bias, through the activation.
    ///
    /// # Safety
    /// `sums` must hold the tiles of the segment for every product, and `pixels` their patch.
    #[inline(always)]
    unsafe fn transform_output<S: Simd>(
        &self,
        s: S,
        segment: &Segment,
        sums: *const f32,
        product: usize,
        bias: S::V,
        pixels: *mut f32,
    ) {
        let cols = segment.size[1] * TILE;
        for tile in 0..segment.size[0] * segment.size[1] {
            let (tile_row, tile_col) = (tile / segment.size[1], tile % segment.size[1]);
            // SAFETY: inside the ranges that the caller promises.
            unsafe {
                let sums = sums.add(tile * LANES);
                let mut half = [[s.zero(); POINTS]; TILE];
                for j in 0..POINTS {
                    let mut m = [s.zero(); POINTS];
                    for (i, m) in m.iter_mut().enumerate() {
                        *m = s.load(sums.add((i * POINTS + j) * product));
                    }
                    for (i, v) in transform::output(s, m).into_iter().enumerate() {
                        half[i][j] = v;
                    }
                }
                let at = pixels.add((tile_row * TILE * cols + tile_col * TILE) * LANES);
                for (i, row) in half.into_iter().enumerate() {
                    for (j, v) in transform::output(s, row).into_iter().enumerate() {
                        let v = apply(s, self.job.activation, s.add(v, bias));
                        s.store(at.add((i * cols + j) * LANES), v);
                    }
                }
            }
        }
    }
}
