//! Tiles of planes: cutting the work into blocks of tiles, and turning pixels of sixteen channels into vectors.
//!
//! A tensor has one plane a channel; the transforms want the channels of a pixel side by side. So a piece of
//! sixteen planes is turned, block by block of sixteen pixels in a row of memory, into a patch
//! `[row][column][16]` that lies in the cache, with zeros where it reaches over the border.

use super::transform::TILE;
use crate::simd::{Block, BlockMut, Simd};

/// Channels of a patch, side by side.
pub(super) const LANES: usize = 16;

/// Pixels ahead of the writing whose cache lines are asked for: every plane is another page.
const AHEAD: usize = 48;

/// Tiles of four by four over the planes of a batch.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    images: usize,
    /// Rows and columns of tiles.
    tiles: [usize; 2],
    /// Columns of tiles of one unit of work.
    unit_cols: usize,
    /// Units of work side by side.
    units_across: usize,
    /// Units of a block.
    units: usize,
}

/// Adjacent tiles of one image within a block.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub image: usize,
    /// First row and column of tiles.
    pub first: [usize; 2],
    /// Rows and columns of tiles.
    pub size: [usize; 2],
    /// Number within the block of the first tile.
    pub tile: usize,
}

impl Grid {
    /// Cuts planes into blocks of at most `most` tiles (at least one).
    pub fn new(plane: [usize; 2], images: usize, most: usize) -> Grid {
        let tiles = plane.map(|d| d.div_ceil(TILE));
        let units_across = tiles[1].div_ceil(most);
        let unit_cols = tiles[1].div_ceil(units_across);
        let units_across = tiles[1].div_ceil(unit_cols);
        let units = (most / unit_cols).max(1).min(images * tiles[0] * units_across);
        Grid { images, tiles, unit_cols, units_across, units }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        (self.images * self.tiles[0] * self.units_across).div_ceil(self.units)
    }

    /// Tiles of the largest block.
    pub fn block_tiles(&self) -> usize {
        self.units * self.unit_cols
    }

    /// The segments of a block, and its number of tiles.
    pub fn segments(&self, block: usize, segments: &mut Vec<Segment>) -> usize {
        segments.clear();
        let rows = self.tiles[0];
        let last = ((block + 1) * self.units).min(self.images * rows * self.units_across);
        let (mut unit, mut tile) = (block * self.units, 0);
        while unit < last {
            // Units run down the rows of one column of units, then across, then through the images.
            let (row, across, image) =
                (unit % rows, unit / rows % self.units_across, unit / rows / self.units_across);
            let height = (rows - row).min(last - unit);
            let col = across * self.unit_cols;
            let width = self.unit_cols.min(self.tiles[1] - col);
            segments.push(Segment { image, first: [row, col], size: [height, width], tile });
            tile += height * width;
            unit += height;
        }
        tile
    }
}

/// Pixels that lie side by side in the plane.
struct Run {
    /// Where they begin in the plane.
    start: usize,
    /// Where their places in the patch begin in the table.
    table: usize,
    len: usize,
}

/// A rectangle of a plane, with border, as a patch.
pub(super) struct Patch {
    pub rows: usize,
    pub cols: usize,
    /// Place in the patch of each pixel of the runs.
    places: Vec<u32>,
    runs: Vec<Run>,
    /// The part of the patch inside the plane.
    inside: [std::ops::Range<usize>; 2],
}

impl Patch {
    pub fn new() -> Patch {
        Patch { rows: 0, cols: 0, places: Vec::new(), runs: Vec::new(), inside: [0..0, 0..0] }
    }

    /// Describes the rectangle of `size` pixels from `origin` (which may lie outside) of planes of size `plane`.
    pub fn describe(&mut self, plane: [usize; 2], origin: [isize; 2], size: [usize; 2]) {
        [self.rows, self.cols] = size;
        self.inside = [0, 1].map(|i| {
            let low = (-origin[i]).clamp(0, size[i] as isize);
            let high = (plane[i] as isize - origin[i]).clamp(low, size[i] as isize);
            low as usize..high as usize
        });
        self.places.clear();
        self.runs.clear();
        let [rows, cols] = self.inside.clone();
        for row in rows {
            let start = (row as isize + origin[0]) as usize * plane[1]
                + (cols.start as isize + origin[1]).max(0) as usize;
            let len = cols.len();
            match self.runs.last_mut() {
                Some(run) if run.start + run.len == start => run.len += len,
                _ => self.runs.push(Run { start, table: self.places.len(), len }),
            }
            self.places.extend(cols.clone().map(|col| ((row * self.cols + col) * LANES) as u32));
        }
    }

    /// Values of the patch.
    pub fn len(&self) -> usize {
        self.rows * self.cols * LANES
    }

    /// Zeros for what is outside the plane; the same for all channels.
    pub fn clear_border(&self, patch: &mut [f32]) {
        let [rows, cols] = self.inside.clone();
        let width = self.cols * LANES;
        for (row, values) in patch[..self.len()].chunks_exact_mut(width.max(1)).enumerate() {
            if rows.contains(&row) {
                values[..cols.start * LANES].fill(0.0);
                values[cols.end * LANES..].fill(0.0);
            } else {
                values.fill(0.0);
            }
        }
    }

    /// Turns `channels` (at most sixteen) planes at `src`, `plane` values apart, into the patch; lanes past the
    /// channels are zero.
    ///
    /// # Safety
    /// The planes must be readable and have the described size; the patch must be writable for [`Patch::len`].
    #[inline(always)]
    pub unsafe fn load<S: Simd>(
        &self,
        s: S,
        src: *const f32,
        plane: usize,
        channels: usize,
        patch: *mut f32,
    ) {
        for run in &self.runs {
            for i in (0..run.len).step_by(S::LANES) {
                let cols = S::LANES.min(run.len - i);
                for lane in (0..LANES).step_by(S::LANES) {
                    let rows = channels.saturating_sub(lane).min(S::LANES);
                    // The same pixels of the next channels, which come next: every plane is another page, where
                    // the processor's own prefetching starts anew.
                    for row in lane..lane + S::LANES {
                        s.prefetch(src.wrapping_add((LANES + row) * plane + run.start + i));
                    }
                    // SAFETY: pixels of the runs lie in the plane, their places in the patch; rows past the
                    // channels are not read.
                    unsafe {
                        let src = src.wrapping_add(lane * plane + run.start + i);
                        let block = Block { src, stride: plane, rows, cols };
                        s.columns_to_vectors(block, patch.add(lane), self.places.as_ptr().add(run.table + i));
                    }
                }
            }
        }
    }

    /// Turns the patch back into planes.
    ///
    /// # Safety
    /// As [`Patch::load`], with reading and writing exchanged.
    #[inline(always)]
    pub unsafe fn save<S: Simd>(
        &self,
        s: S,
        patch: *const f32,
        dst: *mut f32,
        plane: usize,
        channels: usize,
    ) {
        for run in &self.runs {
            for i in (0..run.len).step_by(S::LANES) {
                let cols = S::LANES.min(run.len - i);
                for lane in (0..channels).step_by(S::LANES) {
                    let rows = (channels - lane).min(S::LANES);
                    for row in lane..lane + rows {
                        s.prefetch_write(dst.wrapping_add(row * plane + run.start + i + AHEAD));
                    }
                    // SAFETY: as in `load`.
                    unsafe {
                        let dst = dst.add(lane * plane + run.start + i);
                        let block = BlockMut { dst, stride: plane, rows, cols };
                        s.vectors_to_columns(patch.add(lane), self.places.as_ptr().add(run.table + i), block);
                    }
                }
            }
        }
    }
}
