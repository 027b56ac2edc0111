//! Forward pass and gradient of the input: the latter is a forward pass of the output gradient with the filters
//! turned by half a circle and the roles of their channels exchanged.

use rayon::prelude::*;

use super::filter::{Filter, TransformFilters};
use super::panels::by_panels;
use super::patch::{Grid, LANES, Patch, Segment};
use super::transform::{self, POINTS, PRODUCTS, TILE};
use super::{Strides, input_patch, output_patch, transform_input};
use crate::Activation;
use crate::activation::apply;
use crate::gemm::micro::{Left, Product, Start};
use crate::scratch::Scratch;
use crate::simd::{Kernel, Level, SharedMut, Simd, first};

/// Tasks wanted at least. Fixed, so that the partition does not depend on the number of threads.
const TASKS: usize = 16;
/// Bytes of transformed input of a block: half of the second cache.
const BLOCK_BYTES: usize = 1_200_000;
/// Tiles of a block, at least and at most.
pub(super) const BLOCK_TILES: [usize; 2] = [16, 64];

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
        let tiles = self.images * self.output_plane.iter().map(|d| d.div_ceil(TILE)).product::<usize>();
        let fitting = BLOCK_BYTES / (4 * PRODUCTS * self.channels.next_multiple_of(LANES));
        let most = fitting.min(tiles.div_ceil(TASKS)).clamp(BLOCK_TILES[0], BLOCK_TILES[1]);
        let out = SharedMut(out.as_mut_ptr());
        if by_panels(self, tiles) {
            return self.run_by_panels(level, tiles, out);
        }

        // One line more than needed, so that the 36 products do not all fall into one set of the cache.
        let product = slices * self.channels * width + LANES;
        let mut filters = Scratch::new(PRODUCTS * product);
        let shared = SharedMut(filters.as_mut_ptr());
        let parts = self.channels.div_ceil(LANES);
        (0..slices * parts).into_par_iter().for_each(|i| {
            let (slice, first) = (i / parts, i % parts * LANES);
            level.run(TransformFilters {
                filter: self.filter,
                rows: self.rows,
                channels: self.channels,
                panel: slice,
                part: first..(first + LANES).min(self.channels),
                out: shared,
                product,
            });
        });
        let grid = Grid::new(self.output_plane, self.images, most);
        (0..grid.blocks()).into_par_iter().for_each(|block| {
            level.run(Task { job: self, grid: &grid, block, filters: &filters, out });
        });
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

/// The transformed input of a block of tiles and the transformed filters of some rows.
pub(super) struct Factors {
    /// `[product][channel / 16][tile][16]`.
    pub inputs: *const f32,
    pub inputs_product: usize,
    pub tiles: usize,
    pub channels: usize,
    /// `[product][panel][channel][row]`.
    pub filters: *const f32,
    pub filters_product: usize,
    pub panels: usize,
}

impl Factors {
    /// Multiplies them, product by product, into `[product][row / 16][tile][16]`.
    ///
    /// # Safety
    /// The described values must be readable, and `sums` writable for whole panels, `sums_product` values a product.
    #[inline(always)]
    pub unsafe fn multiply<S: Simd>(&self, s: S, sums: *mut f32, sums_product: usize) {
        let (width, tiles) = (2 * S::LANES, self.tiles);
        let vec_stride = if S::LANES == LANES { tiles * LANES } else { S::LANES };
        for p in 0..PRODUCTS {
            for panel in 0..self.panels {
                let at = |p: usize, panel: usize| {
                    self.filters.wrapping_add(p * self.filters_product + panel * self.channels * width)
                };
                let next = if panel + 1 < self.panels { at(p, panel + 1) } else { at(p + 1, 0) };
                let row = panel * width;
                // SAFETY: by contract.
                unsafe {
                    s.multiply(&Product {
                        left: Left::Blocked(tiles * LANES),
                        a: self.inputs.add(p * self.inputs_product),
                        b: at(p, panel),
                        b_stride: width,
                        c: sums.add(p * sums_product + row / LANES * tiles * LANES + row % LANES),
                        row_stride: LANES,
                        vec_stride,
                        rows: tiles,
                        cols: width,
                        inner: self.channels,
                        start: Start::Zero,
                        activation: Activation::None,
                        next,
                    });
                }
            }
        }
    }
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
        // SAFETY: the transformed tiles hold all channels.
        unsafe { job.transform_channels(s, &segments, 0..job.channels, product, transformed.as_mut_ptr()) };

        // Output channels at a time: whole panels, and whole patches of sixteen.
        let step = if blocks <= 4 { 64 } else { 32 };
        let step = step.min(job.rows.next_multiple_of(width.max(LANES)));
        let sum = step * tiles + LANES;
        let mut sums = Scratch::new(PRODUCTS * sum);
        for row in (0..job.rows).step_by(step) {
            let rows = row..(row + step).min(job.rows);
            let factors = Factors {
                inputs: transformed.as_ptr(),
                inputs_product: product,
                tiles,
                channels: job.channels,
                filters: self.filters[row * job.channels..].as_ptr(),
                filters_product: self.filters.len() / PRODUCTS,
                panels: rows.len().div_ceil(width),
            };
            // SAFETY: the transformed tiles and filters hold all channels; the sums hold `step` rows.
            unsafe { factors.multiply(s, sums.as_mut_ptr(), sum) };
            job.finish(s, &segments, tiles, rows, &sums, self.out);
        }
    }
}

impl Winograd<'_> {
    /// Transforms some channels of the input under all tiles into `[product][channel / 16][tile][16]`.
    ///
    /// # Safety
    /// `out`, where the first of the channels goes, must hold them all.
    #[inline(always)]
    pub(super) unsafe fn transform_channels<S: Simd>(
        &self,
        s: S,
        segments: &[Segment],
        channels: std::ops::Range<usize>,
        product: usize,
        out: *mut f32,
    ) {
        let plane: usize = self.input_plane.iter().product();
        let tiles = segments.last().map_or(0, |last| last.tile + last.size[0] * last.size[1]);
        let mut patch = Patch::new();
        for segment in segments {
            input_patch(&mut patch, segment, self.input_plane, self.padding);
            let mut pixels = Scratch::new(patch.len());
            let mut rows = Scratch::new(POINTS * patch.cols * S::LANES);
            patch.clear_border(&mut pixels);
            for (block, channel) in channels.clone().step_by(LANES).enumerate() {
                let count = LANES.min(channels.end - channel);
                let source = &self.input[(segment.image * self.channels + channel) * plane..];
                // SAFETY: the patch describes these planes; the result holds all tiles of the segment.
                unsafe {
                    patch.load(s, source.as_ptr(), plane, count, pixels.as_mut_ptr());
                    for lane in (0..LANES).step_by(S::LANES) {
                        transform_input(
                            s,
                            segment,
                            pixels.as_ptr().add(lane),
                            rows.as_mut_ptr(),
                            out.add(block * tiles * LANES + lane),
                            Strides { product, tile: LANES },
                        );
                    }
                }
            }
        }
    }

    /// Turns sums back into pixels of some output channels.
    #[inline(always)]
    pub(super) fn finish<S: Simd>(
        &self,
        s: S,
        segments: &[Segment],
        tiles: usize,
        channels: std::ops::Range<usize>,
        sums: &[f32],
        out: SharedMut,
    ) {
        let plane: usize = self.output_plane.iter().product();
        let mut patch = Patch::new();
        let product = sums.len() / PRODUCTS;
        for segment in segments {
            output_patch(&mut patch, segment, self.output_plane);
            let mut pixels = Scratch::new(patch.len());
            for (block, channel) in channels.clone().step_by(LANES).enumerate() {
                let count = LANES.min(channels.end - channel);
                for lane in (0..count).step_by(S::LANES) {
                    // SAFETY: the bias has a value for each of the set bits; sums and pixels hold all tiles of
                    // the segment.
                    unsafe {
                        let bias = match self.bias {
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
                    let at = (segment.image * self.rows + channel) * plane;
                    patch.save(s, pixels.as_ptr(), out.get().add(at), plane, count);
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
                        let v = apply(s, self.activation, s.add(v, bias));
                        s.store(at.add((i * cols + j) * LANES), v);
                    }
                }
            }
        }
    }
}
