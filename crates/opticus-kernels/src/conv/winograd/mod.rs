//! Convolution of three by three taps with a quarter of the multiplications.
//!
//! The plane is cut into tiles of four by four outputs. A tile of input (six by six), the filters, and the products
//! are transformed; the 36 values of a tile are then summed over the channels, one matrix product for each. A block
//! of tiles goes through all stages while it stays in the second cache, so that the 2.25 times larger transformed
//! tensors never reach memory.

// Rows and columns of register tiles are clearer by number.
#![allow(clippy::needless_range_loop)]

mod filter;
mod forward;
mod gradient;
mod panels;
mod patch;
pub(crate) mod transform;

pub(crate) use filter::Filter;
pub(crate) use forward::Winograd;
pub(crate) use gradient::WinogradGradient;

use patch::{LANES, Patch, Segment};
use transform::{POINTS, TILE};

use crate::simd::Simd;

/// Where a transformed tile goes: product `p` of tile `t` to `p * product + t * tile`.
#[derive(Clone, Copy)]
struct Strides {
    product: usize,
    tile: usize,
}

/// Transforms the tiles of a patch of input by `Bᵀ d B`.
///
/// # Safety
/// The patch must hold `4 n + 2` rows and columns for the `n` tiles of the segment, from `patch` on with the lanes
/// of one vector; `rows` must hold six vectors a column; `dst` all tiles.
#[inline(always)]
unsafe fn transform_input<S: Simd>(
    s: S,
    segment: &Segment,
    patch: *const f32,
    rows: *mut f32,
    dst: *mut f32,
    strides: Strides,
) {
    let cols = segment.size[1] * TILE + POINTS - TILE;
    for tile_row in 0..segment.size[0] {
        // SAFETY: inside the ranges that the caller promises.
        unsafe {
            for col in 0..cols {
                let at = patch.add((tile_row * TILE * cols + col) * LANES);
                let mut d = [s.zero(); POINTS];
                for (i, d) in d.iter_mut().enumerate() {
                    *d = s.load(at.add(i * cols * LANES));
                }
                for (i, v) in transform::input(s, d).into_iter().enumerate() {
                    s.store(rows.add((i * cols + col) * S::LANES), v);
                }
            }
            for tile_col in 0..segment.size[1] {
                let tile = segment.tile + tile_row * segment.size[1] + tile_col;
                let dst = dst.add(tile * strides.tile);
                for i in 0..POINTS {
                    let row = rows.add((i * cols + tile_col * TILE) * S::LANES);
                    let mut d = [s.zero(); POINTS];
                    for (j, d) in d.iter_mut().enumerate() {
                        *d = s.load(row.add(j * S::LANES));
                    }
                    for (j, v) in transform::input(s, d).into_iter().enumerate() {
                        s.store(dst.add((i * POINTS + j) * strides.product), v);
                    }
                }
            }
        }
    }
}

/// Describes the patch of input under a segment of output tiles.
fn input_patch(patch: &mut Patch, segment: &Segment, plane: [usize; 2], padding: [usize; 2]) {
    let origin = [0, 1].map(|i| (segment.first[i] * TILE) as isize - padding[i] as isize);
    patch.describe(plane, origin, segment.size.map(|n| n * TILE + POINTS - TILE));
}

/// Describes the patch of output that a segment of tiles covers.
fn output_patch(patch: &mut Patch, segment: &Segment, plane: [usize; 2]) {
    let origin = segment.first.map(|n| (n * TILE) as isize);
    patch.describe(plane, origin, segment.size.map(|n| n * TILE));
}
