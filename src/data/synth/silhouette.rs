//! Plain shapes on plain paper: what a small generator can learn to draw in a minute.

use opticus_pixels::{Image8, Size};
use rand::RngExt;

use super::color::{Lch, blend, encode};
use super::form::{Form, sub, turn};
use crate::data::sampler::DataRng;

/// A form of the class `label` in one colour, nearly upright and in the middle, on white paper.
pub(super) fn render(label: usize, side: u32, rng: &mut DataRng) -> Image8 {
    let form = Form::of_class(label, rng);
    let size = side as f32;
    let radius = size * rng.random_range(0.34..0.42f32);
    let center: [f32; 2] = std::array::from_fn(|_| size * (0.5 + rng.random_range(-0.05..0.05f32)));
    let angle = rng.random_range(-0.25..0.25f32).sin_cos();
    let ink = Lch {
        lightness: rng.random_range(0.45..0.7),
        chroma: rng.random_range(0.14..0.22),
        hue: rng.random_range(0.0..std::f32::consts::TAU),
    };
    let (ink, paper) = (ink.rgb(), [0.96; 3]);
    let data = (0..side * side).flat_map(|i| {
        let p = [i % side, i / side].map(|v| v as f32 + 0.5);
        let local = turn(sub(p, center), (-angle.0, angle.1)).map(|v| v / radius);
        let coverage = (0.5 - form.distance(local) * radius).clamp(0.0, 1.0);
        blend(paper, ink, coverage).map(|c| (encode(c) * 255.0 + 0.5) as u8)
    });
    Image8 { size: Size::new(side, side), channels: 3, data: data.collect() }
}
