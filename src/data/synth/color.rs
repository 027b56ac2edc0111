//! Colours chosen where they look evenly spaced: OKLCH (Ottosson 2020), mixed in linear light.

use rand::RngExt;

use crate::data::sampler::DataRng;

/// Linear-light RGB, 0..=1.
pub(super) type Rgb = [f32; 3];

/// A colour by lightness (0..=1), chroma (0..=0.3 or so) and hue (radians).
#[derive(Clone, Copy, Debug)]
pub(super) struct Lch {
    pub(super) lightness: f32,
    pub(super) chroma: f32,
    pub(super) hue: f32,
}

impl Lch {
    /// The colour in linear RGB, its chroma reduced as far as the gamut asks.
    pub(super) fn rgb(self) -> Rgb {
        let inside = |rgb: &Rgb| rgb.iter().all(|c| (-1e-4..=1.0001).contains(c));
        let mut chroma = self.chroma;
        for _ in 0..24 {
            let rgb = Self { chroma, ..self }.unclipped();
            if inside(&rgb) {
                return rgb.map(|c| c.clamp(0.0, 1.0));
            }
            chroma *= 0.9;
        }
        Self { chroma: 0.0, ..self }.unclipped().map(|c| c.clamp(0.0, 1.0))
    }

    fn unclipped(self) -> Rgb {
        let (sin, cos) = self.hue.sin_cos();
        let (a, b, l) = (self.chroma * cos, self.chroma * sin, self.lightness);
        let cube = |v: f32| v * v * v;
        let (l, m, s) = (
            cube(l + 0.396_337_78 * a + 0.215_803_76 * b),
            cube(l - 0.105_561_346 * a - 0.063_854_17 * b),
            cube(l - 0.089_484_18 * a - 1.291_485_5 * b),
        );
        [
            4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
            -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
            -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
        ]
    }

    /// Difference as the eye has it: Euclidean in OKLab. 0.02 is just seen, 1 is black against white.
    pub(super) fn difference(self, other: Self) -> f32 {
        let ab = |c: Self| [c.chroma * c.hue.cos(), c.chroma * c.hue.sin()];
        let ([a, b], [c, d]) = (ab(self), ab(other));
        ((self.lightness - other.lightness).powi(2) + (a - c).powi(2) + (b - d).powi(2)).sqrt()
    }
}

/// The colours of one scene, chosen together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    /// Hue that the background keeps to.
    hue: f32,
    /// The background's two colours, close to one another.
    pub(super) ground: [Lch; 2],
}

impl Palette {
    pub(super) fn draw(rng: &mut DataRng) -> Self {
        let hue = rng.random_range(0.0..std::f32::consts::TAU);
        let lightness =
            if rng.random_bool(0.45) { rng.random_range(0.22..0.45) } else { rng.random_range(0.68..0.93) };
        let chroma = rng.random_range(0.015..0.11);
        let first = Lch { lightness, chroma, hue };
        let away = rng.random_range(0.06..0.16) * if lightness > 0.5 { -1.0 } else { 1.0 };
        let second = Lch {
            lightness: lightness + away,
            chroma: chroma * rng.random_range(0.7..1.4),
            hue: hue + rng.random_range(-0.7..0.7),
        };
        Self { hue, ground: [first, second] }
    }

    /// A pair of colours of the background's own family, for things that are not to draw the eye.
    pub(super) fn quiet(&self, rng: &mut DataRng) -> [Lch; 2] {
        let ground = self.ground[0];
        let away = rng.random_range(0.14..0.3) * if ground.lightness > 0.55 { -1.0 } else { 1.0 };
        let first = Lch {
            lightness: (ground.lightness + away).clamp(0.15, 0.95),
            chroma: ground.chroma * rng.random_range(0.6..1.3),
            hue: ground.hue + rng.random_range(-0.8..0.8),
        };
        [first, Lch { lightness: first.lightness - away * 0.4, ..first }]
    }

    /// A pair of colours for a thing that must be told from the background by at least `contrast`.
    pub(super) fn pair(&self, contrast: f32, rng: &mut DataRng) -> [Lch; 2] {
        let mut best: Option<(f32, [Lch; 2])> = None;
        for _ in 0..12 {
            let first = Lch {
                lightness: rng.random_range(0.3..0.9),
                chroma: rng.random_range(0.06..0.24),
                hue: self.hue + rng.random_range(0.6..5.7),
            };
            let second = Lch {
                lightness: (first.lightness + rng.random_range(-0.2..0.2)).clamp(0.25, 0.95),
                chroma: first.chroma * rng.random_range(0.6..1.2),
                hue: first.hue + rng.random_range(-0.9..0.9),
            };
            let from = |c: Lch| self.ground.iter().map(|g| c.difference(*g)).fold(f32::INFINITY, f32::min);
            let apart = from(first).min(from(second));
            if apart >= contrast {
                return [first, second];
            }
            if best.is_none_or(|(b, _)| apart > b) {
                best = Some((apart, [first, second]));
            }
        }
        best.map_or(self.ground, |(_, pair)| pair)
    }
}

/// Between two colours.
pub(super) fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

/// Linear light to the sRGB curve, 0..=1.
pub(super) fn encode(linear: f32) -> f32 {
    if linear <= 0.003_130_8 { 12.92 * linear.max(0.0) } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}
