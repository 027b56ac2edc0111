//! The one-dimensional transforms of Winograd's minimal filtering (Lavin and Gray 2015, "Fast Algorithms for
//! Convolutional Neural Networks", section 4), as Toom-Cook interpolation at the six points
//! 0, ±1/√2, ±√2 and infinity.
//!
//! Their squares are 1/2 and 2 and their product is one: the magnitudes in the transforms stay balanced, and the
//! rounding error is half of that of the usual points 0, ±1, ±2. With six points, four outputs of a filter of three
//! taps cost six products instead of twelve (36 instead of 144 in two dimensions); and so do three outputs of a
//! filter of four taps, which is the gradient of the weights.
//!
//! `y = Aᵀ ((G g) ⊙ (Bᵀ d))`, with `f = (1, -3/2, -3/2, 6, 6, 1)` the products of differences of the points:
//!
//! - row `i` of `Bᵀ` has the coefficients of `Π_{j≠i} (x - p_j)`;
//! - row `i` of `G` is `(1, p_i, p_i², …) / f_i`, the last one picks the last tap;
//! - column `i` of `Aᵀ` is `(1, p_i, p_i², …)`, the last one feeds the last output.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::simd::Simd;

/// Points of interpolation: products for one output tile along one axis.
pub(crate) const POINTS: usize = 6;
/// Outputs of one tile along one axis.
pub(crate) const TILE: usize = 4;
/// Taps of the filter along one axis.
pub(crate) const TAPS: usize = 3;
/// Products of a two-dimensional tile.
pub(crate) const PRODUCTS: usize = POINTS * POINTS;

/// `Bᵀ d`: six values of the input.
#[inline(always)]
pub(crate) fn input<S: Simd>(s: S, d: [S::V; POINTS]) -> [S::V; POINTS] {
    let minus = |x: f32| s.splat(-x);
    // Even and odd parts of the rows of ±1/√2 and ±√2.
    let even_a = s.fma(d[2], minus(2.0), d[4]);
    let odd_a = s.fma(d[1], minus(2.0), d[3]);
    let even_b = s.fma(d[2], minus(0.5), d[4]);
    let odd_b = s.fma(d[1], minus(0.5), d[3]);
    [
        s.fma(d[2], minus(2.5), s.add(d[0], d[4])),
        s.fma(odd_a, s.splat(FRAC_1_SQRT_2), even_a),
        s.fma(odd_a, minus(FRAC_1_SQRT_2), even_a),
        s.fma(odd_b, s.splat(SQRT_2), even_b),
        s.fma(odd_b, minus(SQRT_2), even_b),
        s.fma(d[3], minus(2.5), s.add(d[1], d[5])),
    ]
}

/// `Aᵀ m`: four outputs.
#[inline(always)]
pub(crate) fn output<S: Simd>(s: S, m: [S::V; POINTS]) -> [S::V; TILE] {
    let (sum_a, difference_a) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (sum_b, difference_b) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    // Powers of 1/√2 and √2.
    let (a, b) = (s.splat(FRAC_1_SQRT_2), s.splat(SQRT_2));
    let (a3, b3) = (s.splat(0.5 * FRAC_1_SQRT_2), s.splat(2.0 * SQRT_2));
    [
        s.add(m[0], s.add(sum_a, sum_b)),
        s.fma(difference_a, a, s.mul(difference_b, b)),
        s.fma(sum_a, s.splat(0.5), s.add(sum_b, sum_b)),
        s.fma(difference_a, a3, s.fma(difference_b, b3, m[5])),
    ]
}

/// `G g`: three taps of the filter.
#[inline(always)]
pub(super) fn filter<S: Simd>(s: S, g: [S::V; TAPS]) -> [S::V; POINTS] {
    let (f_a, f_b) = (-2.0 / 3.0, 1.0 / 6.0);
    let even_a = s.mul(s.fma(g[2], s.splat(0.5), g[0]), s.splat(f_a));
    let even_b = s.mul(s.fma(g[2], s.splat(2.0), g[0]), s.splat(f_b));
    let (odd_a, odd_b) = (f_a * FRAC_1_SQRT_2, f_b * SQRT_2);
    [
        g[0],
        s.fma(g[1], s.splat(odd_a), even_a),
        s.fma(g[1], s.splat(-odd_a), even_a),
        s.fma(g[1], s.splat(odd_b), even_b),
        s.fma(g[1], s.splat(-odd_b), even_b),
        g[2],
    ]
}

/// [`filter`] in double precision.
pub(crate) fn filter_exact(g: [f64; TAPS]) -> [f64; POINTS] {
    let (f_a, f_b) = (-2.0 / 3.0, 1.0 / 6.0);
    let (a, b) = (std::f64::consts::FRAC_1_SQRT_2, std::f64::consts::SQRT_2);
    let at = |p: f64, f: f64| (g[0] + p * (g[1] + p * g[2])) * f;
    [g[0], at(a, f_a), at(-a, f_a), at(b, f_b), at(-b, f_b), g[2]]
}

/// `f ⊙ (G g)` for a filter of four taps, which is a tile of the output gradient. Its division by `f` is left to
/// [`gradient`], which runs once and not for every tile.
#[inline(always)]
pub(super) fn output_gradient<S: Simd>(s: S, g: [S::V; TILE]) -> [S::V; POINTS] {
    let even_a = s.fma(g[2], s.splat(0.5), g[0]);
    let odd_a = s.fma(g[3], s.splat(0.5), g[1]);
    let even_b = s.fma(g[2], s.splat(2.0), g[0]);
    let odd_b = s.fma(g[3], s.splat(2.0), g[1]);
    [
        g[0],
        s.fma(odd_a, s.splat(FRAC_1_SQRT_2), even_a),
        s.fma(odd_a, s.splat(-FRAC_1_SQRT_2), even_a),
        s.fma(odd_b, s.splat(SQRT_2), even_b),
        s.fma(odd_b, s.splat(-SQRT_2), even_b),
        g[3],
    ]
}

/// `Aᵀ (m / f)` for three outputs, which are taps of the weight gradient.
#[inline(always)]
pub(super) fn gradient<S: Simd>(s: S, m: [S::V; POINTS]) -> [S::V; TAPS] {
    let (f_a, f_b) = (-2.0 / 3.0, 1.0 / 6.0);
    let (sum_a, difference_a) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (sum_b, difference_b) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [
        s.fma(sum_a, s.splat(f_a), s.fma(sum_b, s.splat(f_b), m[0])),
        s.fma(difference_a, s.splat(f_a * FRAC_1_SQRT_2), s.mul(difference_b, s.splat(f_b * SQRT_2))),
        s.fma(sum_a, s.splat(f_a * 0.5), s.fma(sum_b, s.splat(f_b * 2.0), m[5])),
    ]
}
