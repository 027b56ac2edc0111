//! Many filters, few tiles: the transformed filters would be larger than all else, so they never leave the cache.
//! The input is transformed first, for all tiles; then each task transforms the filters of one panel of rows and
//! takes all tiles through the rest.

use rayon::prelude::*;

use super::filter::TransformFilters;
use super::forward::{BLOCK_TILES, Factors, Winograd};
use super::patch::{Grid, LANES};
use super::transform::PRODUCTS;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Level, SharedMut, Simd};

/// Rows of one task.
const ROWS: usize = 32;
/// Tiles up to which reading all of them for each panel costs less than reading all filters for each block.
const TILES: usize = 128;
/// Channels from which the filters are too large to be read again for each block of tiles.
const CHANNELS: usize = 384;

/// Whether there are so many filters and so few tiles.
pub(super) fn by_panels(job: &Winograd, tiles: usize) -> bool {
    tiles <= TILES && job.channels >= CHANNELS && job.rows >= 4 * ROWS
}

impl Winograd<'_> {
    /// Computes all of it, panel by panel.
    pub(super) fn run_by_panels(&self, level: Level, tiles: usize, out: SharedMut) {
        let grid = Grid::new(self.output_plane, self.images, BLOCK_TILES[1].min(tiles));
        let blocks = self.channels.div_ceil(LANES);
        // One line more than needed, so that the 36 products of a tile do not all fall into one set of the cache.
        let product = blocks * grid.block_tiles() * LANES + LANES;
        let mut inputs = Scratch::new(grid.blocks() * PRODUCTS * product);
        // Blocks of tiles are few, so the channels are cut too.
        let shared = SharedMut(inputs.as_mut_ptr());
        (0..grid.blocks() * blocks).into_par_iter().for_each(|i| {
            level.run(Transform {
                job: self,
                grid: &grid,
                block: i / blocks,
                part: i % blocks,
                product,
                out: shared,
            });
        });
        (0..self.rows.div_ceil(ROWS)).into_par_iter().for_each(|i| {
            let rows = i * ROWS..((i + 1) * ROWS).min(self.rows);
            level.run(Panel { job: self, grid: &grid, rows, inputs: &inputs, product, out });
        });
    }
}

/// The input under one block of tiles, sixteen channels.
struct Transform<'a> {
    job: &'a Winograd<'a>,
    grid: &'a Grid,
    block: usize,
    part: usize,
    product: usize,
    out: SharedMut,
}

impl Kernel for Transform<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut segments = Vec::new();
        let tiles = self.grid.segments(self.block, &mut segments);
        let out =
            self.out.get().wrapping_add(self.block * PRODUCTS * self.product + self.part * tiles * LANES);
        let first = self.part * LANES;
        let channels = first..(first + LANES).min(self.job.channels);
        // SAFETY: the result holds all tiles of all blocks; these channels of this block are this task's alone.
        unsafe { self.job.transform_channels(s, &segments, channels, self.product, out) };
    }
}

/// Some rows, all tiles.
struct Panel<'a> {
    job: &'a Winograd<'a>,
    grid: &'a Grid,
    rows: std::ops::Range<usize>,
    inputs: &'a [f32],
    product: usize,
    out: SharedMut,
}

impl Kernel for Panel<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let width = 2 * S::LANES;
        let panels = self.rows.len().div_ceil(width);
        let filters_product = panels * job.channels * width + LANES;
        let mut filters = Scratch::new(PRODUCTS * filters_product);
        for panel in 0..panels {
            let transform = TransformFilters {
                filter: job.filter,
                rows: job.rows,
                channels: job.channels,
                panel: self.rows.start / width + panel,
                part: 0..job.channels,
                out: self.out,
                product: filters_product,
            };
            // SAFETY: the filters hold all panels.
            unsafe { transform.transform(s, filters.as_mut_ptr().add(panel * job.channels * width)) };
        }
        let sum = ROWS * self.grid.block_tiles() + LANES;
        let mut sums = Scratch::new(PRODUCTS * sum);
        let mut segments = Vec::new();
        for block in 0..self.grid.blocks() {
            let tiles = self.grid.segments(block, &mut segments);
            let factors = Factors {
                inputs: self.inputs[block * PRODUCTS * self.product..].as_ptr(),
                inputs_product: self.product,
                tiles,
                channels: job.channels,
                filters: filters.as_ptr(),
                filters_product,
                panels,
            };
            // SAFETY: inputs and filters hold all channels, and the sums all rows.
            unsafe { factors.multiply(s, sums.as_mut_ptr(), sum) };
            job.finish(s, &segments, tiles, self.rows.clone(), &sums, self.out);
        }
    }
}
