//! What fills a form: two colours and a pattern between them.

use std::f32::consts::TAU;

use rand::RngExt;

use super::color::{Lch, Rgb, blend};
use super::form::{Vec2, dot, length, turn};
use crate::data::sampler::DataRng;

/// Two colours and how they share the surface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub(super) colors: [Rgb; 2],
    pub(super) pattern: Pattern,
}

/// A share of the second colour for every point, 0..=1.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pattern {
    Plain,
    Linear { direction: Vec2 },
    Radial { middle: Vec2 },
    Stripes { wave: Vec2 },
    Waves { wave: Vec2 },
    Dots { per_unit: f32, radius: f32 },
    Checks { per_unit: f32 },
    Clouds { per_unit: f32, seed: u32 },
    Marble { wave: Vec2, seed: u32 },
}

impl Pattern {
    /// A pattern for a thing of half-size 1.
    pub(super) fn draw(rng: &mut DataRng) -> Self {
        let angle: f32 = rng.random_range(0.0..TAU);
        let direction = [angle.cos(), angle.sin()];
        let wave = |frequency: f32| [direction[0] * frequency, direction[1] * frequency];
        match rng.random_range(0..10u32) {
            0 | 1 => Self::Plain,
            2 => Self::Linear { direction },
            3 => Self::Radial { middle: [rng.random_range(-0.4..0.4), rng.random_range(-0.5..0.1)] },
            4 => Self::Stripes { wave: wave(rng.random_range(1.4..2.8)) },
            5 => Self::Waves { wave: wave(rng.random_range(1.2..2.2)) },
            6 => Self::Dots { per_unit: rng.random_range(1.8..2.8), radius: rng.random_range(0.24..0.34) },
            7 => Self::Checks { per_unit: rng.random_range(1.6..2.6) },
            8 => Self::Clouds { per_unit: rng.random_range(1.5..4.0), seed: rng.random() },
            _ => Self::Marble { wave: wave(rng.random_range(0.8..1.6)), seed: rng.random() },
        }
    }

    /// A quiet pattern for a background of half-size 1.
    pub(super) fn draw_ground(rng: &mut DataRng) -> Self {
        let angle: f32 = rng.random_range(0.0..TAU);
        let direction = [angle.cos(), angle.sin()];
        let wave = |frequency: f32| [direction[0] * frequency, direction[1] * frequency];
        match rng.random_range(0..8u32) {
            0 | 1 => Self::Linear { direction },
            2 => Self::Radial { middle: [rng.random_range(-0.7..0.7), rng.random_range(-0.7..0.7)] },
            3 => Self::Stripes { wave: wave(rng.random_range(1.5..5.0)) },
            4 => Self::Dots { per_unit: rng.random_range(3.0..5.5), radius: rng.random_range(0.15..0.3) },
            5 => Self::Checks { per_unit: rng.random_range(1.5..4.0) },
            6 => Self::Clouds { per_unit: rng.random_range(1.0..3.5), seed: rng.random() },
            _ => Self::Marble { wave: wave(rng.random_range(0.6..1.5)), seed: rng.random() },
        }
    }

    /// The share at `p`, with edges softened over `soft` units (about one pixel).
    fn share(&self, p: Vec2, soft: f32) -> f32 {
        // A step whose edge is `edge` units away.
        let step = |edge: f32| (0.5 + edge / soft).clamp(0.0, 1.0);
        // Distance from the nearest edge of a square wave of period 1, positive in its first half.
        let square = |t: f32| {
            let t = t - t.floor();
            if t < 0.5 { 0.25 - (t - 0.25).abs() } else { (t - 0.75).abs() - 0.25 }
        };
        match *self {
            Self::Plain => 0.0,
            Self::Linear { direction } => (0.5 + 0.5 * dot(p, direction)).clamp(0.0, 1.0),
            Self::Radial { middle } => (length([p[0] - middle[0], p[1] - middle[1]]) / 1.3).clamp(0.0, 1.0),
            Self::Stripes { wave } => step(square(dot(p, wave)) / length(wave)),
            Self::Waves { wave } => {
                let across = turn(wave, (1.0, 0.0));
                step(square(dot(p, wave) + 0.16 * (TAU * 0.8 * dot(p, across)).sin()) / length(wave))
            }
            Self::Dots { per_unit, radius } => {
                // Rows shifted by half a step, as on a bandanna.
                let y = p[1] * per_unit / 0.866;
                let row = y.floor();
                let x = p[0] * per_unit + 0.5 * (row as i32).rem_euclid(2) as f32;
                let off = [x - x.floor() - 0.5, (y - row - 0.5) * 0.866];
                step((radius - length(off)) / per_unit)
            }
            Self::Checks { per_unit } => {
                let (x, y) = (square(p[0] * per_unit / 2.0), square(p[1] * per_unit / 2.0));
                let edge = x.abs().min(y.abs()) * 2.0 / per_unit;
                step(if (x > 0.0) == (y > 0.0) { edge } else { -edge })
            }
            Self::Clouds { per_unit, seed } => {
                let t = fractal_noise([p[0] * per_unit, p[1] * per_unit], seed);
                (0.5 + 1.6 * (t - 0.5)).clamp(0.0, 1.0)
            }
            Self::Marble { wave, seed } => {
                let bend = fractal_noise([p[0] * 1.8, p[1] * 1.8], seed);
                0.5 + 0.5 * (TAU * (dot(p, wave) + 1.4 * bend)).sin()
            }
        }
    }
}

impl Paint {
    pub(super) fn new(colors: [Lch; 2], pattern: Pattern) -> Self {
        Self { colors: colors.map(Lch::rgb), pattern }
    }

    /// The colour at `p`; `pixel` is one pixel's extent in the same units.
    pub(super) fn at(&self, p: Vec2, pixel: f32) -> Rgb {
        blend(self.colors[0], self.colors[1], self.pattern.share(p, pixel))
    }
}

/// Four octaves of value noise, 0..=1.
pub(super) fn fractal_noise(p: Vec2, seed: u32) -> f32 {
    let (mut sum, mut weight, mut p) = (0.0, 0.5, p);
    for octave in 0..4 {
        sum += weight * value_noise(p, seed.wrapping_add(octave));
        weight *= 0.5;
        // Turned a little, so that the lattices do not line up.
        p = turn([p[0] * 2.03, p[1] * 2.03], (0.6, 0.8));
    }
    sum / 0.9375
}

fn value_noise(p: Vec2, seed: u32) -> f32 {
    let (fx, fy) = (p[0].floor(), p[1].floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (smooth(p[0] - fx), smooth(p[1] - fy));
    let (x, y) = (fx as i32, fy as i32);
    let at = |dx: i32, dy: i32| lattice(x.wrapping_add(dx), y.wrapping_add(dy), seed);
    let top = at(0, 0) + (at(1, 0) - at(0, 0)) * tx;
    let bottom = at(0, 1) + (at(1, 1) - at(0, 1)) * tx;
    top + (bottom - top) * ty
}

/// A random number for a point of the lattice, 0..1.
fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    let mut h = seed ^ (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    ((h ^ (h >> 15)) >> 8) as f32 / (1u32 << 24) as f32
}
