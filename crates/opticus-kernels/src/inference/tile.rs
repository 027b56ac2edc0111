//! The register tile of inference: some neighbouring pixels by two vectors of output channels, summed over all taps
//! and input channels.
//!
//! Input pixels are spread over a vector one value at a time; weights are read once a tile and come in the order in
//! which they are used. The order of the sum is the same for every pixel, whatever the tile: so a result does not
//! depend on how the work is cut.

// Rows and columns of register tiles are clearer by number.
#![allow(clippy::needless_range_loop)]

use super::map::BLOCK;
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
    /// Pixels of a line.
    pub pixels: usize,
    /// One line, or two with so many values between their first pixels in the input.
    pub second: Option<usize>,
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
    /// Weights that will be read next, as many as this tile's; asked for on the way. Need not be valid.
    pub next: *const f32,
}

/// Where the vectors of a tile are.
#[derive(Clone, Copy)]
pub(crate) struct Place<P> {
    pub first: P,
    /// Distance between two pixels.
    pub pixel: usize,
    /// Distance between the two vectors of a pixel.
    pub vector: usize,
    /// Distance between the two lines, if there are two.
    pub line: usize,
}

impl Place<*const f32> {
    pub const NONE: Place<*const f32> = Place { first: std::ptr::null(), pixel: 0, vector: 0, line: 0 };
}

/// Pixels of a tile whose distance is not known when compiling: as many addresses as there are registers.
const LOOSE: usize = 8;

/// Whether two lines of so many pixels, `apart` values apart, fit in one register tile.
pub(crate) fn pairs<S: Simd>(pixels: usize, apart: usize) -> bool {
    matches!(apart, 16 | 32) && S::LANES == BLOCK && pixels <= PAIRED
}

/// Pixels of each line of a pair: half of a register tile.
const PAIRED: usize = 7;

/// Computes `tile` in parts of nearly equal height. Kernels call it as [`Simd::sum`].
///
/// # Safety
/// All ranges that `tile` describes must be valid. There are two lines only where [`pairs`] says so.
#[inline(always)]
pub(crate) unsafe fn sum<S: Simd>(s: S, tile: &Tile) {
    if tile.second.is_some() {
        // SAFETY: forwarded.
        unsafe {
            match (tile.apart, tile.vectors) {
                (16, 2) => pair::<S, 16, 2>(s, tile),
                (16, _) => pair::<S, 16, 1>(s, tile),
                (_, 2) => pair::<S, 32, 2>(s, tile),
                _ => pair::<S, 32, 1>(s, tile),
            }
        }
        return;
    }
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
            next: if first == 0 { tile.next } else { std::ptr::null() },
            ..*tile
        };
        // SAFETY: some of the pixels that the caller promises.
        unsafe {
            match (tile.apart, tile.vectors) {
                (16, 2) => by_pixels::<S, 16, 2>(s, &part),
                (32, 2) => by_pixels::<S, 32, 2>(s, &part),
                (_, 2) => by_pixels::<S, 0, 2>(s, &part),
                (16, _) => one_vector::<S, 16>(s, &part),
                (32, _) => one_vector::<S, 32>(s, &part),
                _ => one_vector::<S, 0>(s, &part),
            }
        }
        first += pixels;
    }
}

/// # Safety
/// As [`by_pixels`]. Only where a block is a vector can there be one of them.
#[inline(always)]
unsafe fn one_vector<S: Simd, const APART: usize>(s: S, part: &Tile) {
    if const { S::LANES == BLOCK } {
        // SAFETY: forwarded.
        unsafe { by_pixels::<S, APART, 1>(s, part) }
    }
}

/// # Safety
/// As [`sum`], with two lines, `APART` values apart.
#[inline(always)]
unsafe fn pair<S: Simd, const APART: usize, const VECS: usize>(s: S, tile: &Tile) {
    macro_rules! pairs {
        ($($pixels:literal $both:literal),*) => {
            match tile.pixels {
                $(
                    // A condition of constants keeps what cannot be from being compiled at all.
                    $pixels => if const { S::LANES == BLOCK } {
                        // SAFETY: forwarded.
                        unsafe { self::tile::<S, APART, $both, 2, VECS>(s, tile) }
                    },
                )*
                _ => unreachable!("a pair of lines has at most MAX_ROWS pixels"),
            }
        };
    }
    pairs!(1 2, 2 4, 3 6, 4 8, 5 10, 6 12, 7 14)
}

/// # Safety
/// As [`sum`], with one line of at most `MAX_ROWS` pixels, `APART` values apart if that is not zero.
#[inline(always)]
unsafe fn by_pixels<S: Simd, const APART: usize, const VECS: usize>(s: S, part: &Tile) {
    macro_rules! tiles {
        ($($pixels:literal)*) => {
            match part.pixels {
                $(
                    // As above.
                    $pixels => if const { $pixels <= S::MAX_ROWS && (APART > 0 || $pixels <= LOOSE) } {
                        // SAFETY: forwarded.
                        unsafe { tile::<S, APART, $pixels, 1, VECS>(s, part) }
                    },
                )*
                _ => unreachable!("a register tile has at most MAX_ROWS pixels"),
            }
        };
    }
    tiles!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// # Safety
/// As [`sum`], with exactly `PIXELS` pixels on `LINES` lines and `VECS` vectors.
#[inline(always)]
unsafe fn tile<S: Simd, const APART: usize, const PIXELS: usize, const LINES: usize, const VECS: usize>(
    s: S,
    tile: &Tile,
) {
    let apart = if APART == 0 { tile.apart } else { APART };
    let second = tile.second.unwrap_or(0);
    // Line and number in it of a pixel.
    let split = |r: usize| (r / (PIXELS / LINES), r % (PIXELS / LINES));
    let from = |place: &Place<*const f32>, r: usize, v: usize| {
        let (line, pixel) = split(r);
        place.first.wrapping_add(line * place.line + pixel * place.pixel + v * place.vector)
    };
    let to = |r: usize, v: usize| {
        let (line, pixel) = split(r);
        tile.out.first.wrapping_add(line * tile.out.line + pixel * tile.out.pixel + v * tile.out.vector)
    };
    let mut weights = tile.weights;
    // Without a next tile the same lines are asked for again, which costs less than a branch.
    let mut next = if tile.next.is_null() { tile.weights } else { tile.next };
    let mut acc = [[s.zero(); VECS]; PIXELS];
    // SAFETY: pixels, vectors and segments stay inside what the caller promises.
    unsafe {
        for r in 0..PIXELS {
            for v in 0..VECS {
                s.prefetch_write(to(r, v));
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
            let mut lines = [tile.input.add(segment.offset); LINES];
            if LINES == 2 {
                lines[LINES - 1] = lines[0].add(second);
            }
            for _ in 0..segment.len {
                let mut right = [s.zero(); VECS];
                for (v, value) in right.iter_mut().enumerate() {
                    *value = s.load(weights.add(v * S::LANES));
                    s.prefetch(next.wrapping_add(v * S::LANES));
                }
                for r in 0..PIXELS {
                    let (line, pixel) = split(r);
                    let left = s.splat(*lines[line].add(pixel * apart));
                    for v in 0..VECS {
                        acc[r][v] = s.fma(left, right[v], acc[r][v]);
                    }
                }
                for line in &mut lines {
                    *line = line.add(1);
                }
                weights = weights.add(VECS * S::LANES);
                next = next.wrapping_add(VECS * S::LANES);
            }
        }
        if !tile.residual.first.is_null() {
            for r in 0..PIXELS {
                for v in 0..VECS {
                    acc[r][v] = s.add(acc[r][v], s.load(from(&tile.residual, r, v)));
                }
            }
        }
        apply_all(s, tile.activation, &mut acc);
        for r in 0..PIXELS {
            for v in 0..VECS {
                s.store(to(r, v), acc[r][v]);
            }
        }
    }
}
