//! The register tile of inference: some neighbouring pixels by two vectors of output channels, summed over all taps
//! and input channels.
//!
//! Input pixels are spread over a vector one value at a time; weights are read once a tile and come in the order in
//! which they are used. The order of the sum is the same for every pixel, whatever the tile: so a result does not
//! depend on how the work is cut.

use crate::Activation;
use crate::activation::apply_all;
use crate::simd::Simd;

/// Input values that lie side by side: some channels of one tap, or a whole row of taps of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    /// From the tile's first pixel.
    pub offset: usize,
    pub len: usize,
}

/// A sum over segments, for some pixels at a constant distance.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub input: *const f32,
    /// Distance between the pixels of the input.
    pub apart: usize,
    pub pixels: usize,
    pub segments: &'a [Segment],
    /// `[segments' values][vectors * LANES]`.
    pub weights: *const f32,
    /// One or two.
    pub vectors: usize,
    pub out: Place<*mut f32>,
    /// One value a channel, or null.
    pub bias: *const f32,
    /// Added before the activation; or null.
    pub residual: Place<*const f32>,
    pub activation: Activation,
}

/// Where the vectors of a tile are.
#[derive(Clone, Copy)]
pub(crate) struct Place<P> {
    pub first: P,
    /// Distance between two pixels.
    pub pixel: usize,
    /// Distance between the two vectors of a pixel.
    pub vector: usize,
}

impl Place<*const f32> {
    pub const NONE: Place<*const f32> = Place { first: std::ptr::null(), pixel: 0, vector: 0 };
}

/// Pixels of a tile whose distance is not known when compiling: as many addresses as there are registers.
const LOOSE: usize = 8;

/// Computes `tile` in parts of nearly equal height. Kernels call it as [`Simd::sum`].
///
/// # Safety
/// All ranges that `tile` describes must be valid.
#[inline(always)]
pub(crate) unsafe fn sum<S: Simd>(s: S, tile: &Tile) {
    let most = if matches!(tile.apart, 16 | 32) { S::MAX_ROWS } else { S::MAX_ROWS.min(LOOSE) };
    let parts = tile.pixels.div_ceil(most);
    let mut first = 0;
    for part in 0..parts {
        let pixels = tile.pixels / parts + usize::from(part < tile.pixels % parts);
        let part = Tile {
            input: tile.input.wrapping_add(first * tile.apart),
            pixels,
            out: Place { first: tile.out.first.wrapping_add(first * tile.out.pixel), ..tile.out },
            residual: Place {
                first: tile.residual.first.wrapping_add(first * tile.residual.pixel),
                ..tile.residual
            },
            ..*tile
        };
        // SAFETY: some of the pixels that the caller promises.
        unsafe {
            match (tile.apart, tile.vectors) {
                (16, 2) => by_pixels::<S, 16, 2>(s, &part),
                (32, 2) => by_pixels::<S, 32, 2>(s, &part),
                (_, 2) => by_pixels::<S, 0, 2>(s, &part),
                (16, _) => by_pixels::<S, 16, 1>(s, &part),
                (32, _) => by_pixels::<S, 32, 1>(s, &part),
                _ => by_pixels::<S, 0, 1>(s, &part),
            }
        }
        first += pixels;
    }
}

/// # Safety
/// As [`sum`], with at most `MAX_ROWS` pixels, `APART` values apart if that is not zero.
#[inline(always)]
unsafe fn by_pixels<S: Simd, const APART: usize, const VECS: usize>(s: S, part: &Tile) {
    let most = if APART == 0 { LOOSE } else { S::MAX_ROWS };
    macro_rules! tiles {
        ($($pixels:literal)*) => {
            match part.pixels {
                $(
                    // SAFETY: forwarded.
                    $pixels if $pixels <= most && $pixels <= S::MAX_ROWS => unsafe {
                        tile::<S, APART, $pixels, VECS>(s, part)
                    },
                )*
                _ => unreachable!("a register tile has at most MAX_ROWS pixels"),
            }
        };
    }
    tiles!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// # Safety
/// As [`sum`], with exactly `PIXELS` pixels and `VECS` vectors.
#[inline(always)]
unsafe fn tile<S: Simd, const APART: usize, const PIXELS: usize, const VECS: usize>(s: S, tile: &Tile) {
    let apart = if APART == 0 { tile.apart } else { APART };
    let mut weights = tile.weights;
    let mut acc = [[s.zero(); VECS]; PIXELS];
    // SAFETY: pixels, vectors and segments stay inside what the caller promises.
    unsafe {
        for r in 0..PIXELS {
            for v in 0..VECS {
                s.prefetch_write(tile.out.first.wrapping_add(r * tile.out.pixel + v * tile.out.vector));
            }
        }
        if !tile.bias.is_null() {
            for v in 0..VECS {
                let bias = s.load(tile.bias.add(v * S::LANES));
                for sums in acc.iter_mut() {
                    sums[v] = bias;
                }
            }
        }
        for segment in tile.segments {
            let mut input = tile.input.add(segment.offset);
            for _ in 0..segment.len {
                let mut right = [s.zero(); VECS];
                for (v, value) in right.iter_mut().enumerate() {
                    *value = s.load(weights.add(v * S::LANES));
                }
                for (r, sums) in acc.iter_mut().enumerate() {
                    let left = s.splat(*input.add(r * apart));
                    for (sum, value) in sums.iter_mut().zip(right) {
                        *sum = s.fma(left, value, *sum);
                    }
                }
                input = input.add(1);
                weights = weights.add(VECS * S::LANES);
            }
        }
        if !tile.residual.first.is_null() {
            for (r, sums) in acc.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    let at = tile.residual.first.add(r * tile.residual.pixel + v * tile.residual.vector);
                    *sum = s.add(*sum, s.load(at));
                }
            }
        }
        apply_all(s, tile.activation, &mut acc);
        for (r, sums) in acc.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                s.store(tile.out.first.add(r * tile.out.pixel + v * tile.out.vector), *sum);
            }
        }
    }
}
