//! Random rectangles, drawn exactly as torchvision draws them.

use opticus_pixels::Size;
use rand::RngExt;

use super::config::{RandomErasing, RandomResizedCrop};
use crate::data::sampler::DataRng;

/// A part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Its extent; never zero.
    pub size: Size,
}

/// How often a rectangle that does not fit is drawn again.
const TRIES: usize = 10;

impl RandomResizedCrop {
    /// The part to cut out of a picture of `size`: ten tries at a share of the area and a ratio uniform in its
    /// logarithm; then the largest middle part whose ratio is within range.
    pub fn part(&self, size: Size, rng: &mut DataRng) -> Part {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        for _ in 0..TRIES {
            let area = width * height * uniform(self.scale, rng);
            let ratio = uniform(self.ratio.map(f64::ln), rng).exp();
            let w = (area * ratio).sqrt().round_ties_even() as u32;
            let h = (area / ratio).sqrt().round_ties_even() as u32;
            if (1..=size.width).contains(&w) && (1..=size.height).contains(&h) {
                let y = rng.random_range(0..=size.height - h);
                let x = rng.random_range(0..=size.width - w);
                return Part { x, y, size: Size::new(w, h) };
            }
        }
        let ratio = width / height;
        let [least, most] = self.ratio;
        let (w, h) = if ratio < least {
            (width, (width / least).round_ties_even())
        } else if ratio > most {
            ((height * most).round_ties_even(), height)
        } else {
            (width, height)
        };
        let part = Size::new((w as u32).clamp(1, size.width), (h as u32).clamp(1, size.height));
        Part { x: (size.width - part.width) / 2, y: (size.height - part.height) / 2, size: part }
    }
}

impl RandomErasing {
    /// The part to erase of a picture of `size`, if any.
    pub fn part(&self, size: Size, rng: &mut DataRng) -> Option<Part> {
        if !rng.random_bool(self.probability) {
            return None;
        }
        for _ in 0..TRIES {
            let area = size.area() as f64 * uniform(self.scale, rng);
            let ratio = uniform(self.ratio.map(f64::ln), rng).exp();
            let h = (area * ratio).sqrt().round_ties_even() as u32;
            let w = (area / ratio).sqrt().round_ties_even() as u32;
            if (1..size.height).contains(&h) && (1..size.width).contains(&w) {
                let y = rng.random_range(0..=size.height - h);
                let x = rng.random_range(0..=size.width - w);
                return Some(Part { x, y, size: Size::new(w, h) });
            }
        }
        None
    }
}

/// Uniform between two numbers, which may be equal.
pub(in crate::data) fn uniform([low, high]: [f64; 2], rng: &mut DataRng) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// Uniform within `x` of 0.
pub(super) fn about_zero(x: f64, rng: &mut DataRng) -> f64 {
    uniform([-x, x], rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sampler::{Purpose, rng_for};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_lie_within_the_picture(w in 1u32..300, h in 1u32..300, seed: u64) {
            let size = Size::new(w, h);
            let mut rng = rng_for(seed, Purpose::Augment, 0, 0);
            let part = RandomResizedCrop::default().part(size, &mut rng);
            prop_assert!(part.x + part.size.width <= w && part.y + part.size.height <= h && part.size.area() > 0);
            if let Some(part) = (RandomErasing { probability: 1.0, ..Default::default() }).part(size, &mut rng) {
                prop_assert!(part.x + part.size.width <= w && part.y + part.size.height <= h);
            }
        }
    }

    #[test]
    fn areas_and_ratios_are_within_range_and_spread() {
        let crop = RandomResizedCrop { scale: [0.2, 0.6], ratio: [0.5, 2.0] };
        let size = Size::new(400, 400);
        let mut rng = rng_for(0, Purpose::Augment, 0, 0);
        let parts: Vec<Part> = (0..4000).map(|_| crop.part(size, &mut rng)).collect();
        let area = |p: &Part| p.size.area() as f64 / 160_000.0;
        let ratio = |p: &Part| f64::from(p.size.width) / f64::from(p.size.height);
        assert!(parts.iter().all(|p| (0.19..0.61).contains(&area(p)) && (0.49..2.03).contains(&ratio(p))));
        let mean = |f: &dyn Fn(&Part) -> f64| parts.iter().map(f).sum::<f64>() / 4000.0;
        // Uniform area; a ratio and its inverse are equally likely.
        assert!((mean(&area) - 0.4).abs() < 0.01, "{}", mean(&area));
        assert!(mean(&|p| ratio(p).ln()).abs() < 0.02);
    }

    #[test]
    fn a_picture_that_no_part_fits_gives_its_middle() {
        let crop = RandomResizedCrop { scale: [1.0, 1.0], ratio: [0.75, 4.0 / 3.0] };
        let mut rng = rng_for(0, Purpose::Augment, 0, 0);
        assert_eq!(crop.part(Size::new(300, 60), &mut rng), Part { x: 110, y: 0, size: Size::new(80, 60) });
        assert_eq!(crop.part(Size::new(60, 300), &mut rng), Part { x: 0, y: 110, size: Size::new(60, 80) });
    }

    #[test]
    fn erasing_happens_as_often_as_asked() {
        let erasing = RandomErasing { probability: 0.3, ..Default::default() };
        let mut rng = rng_for(0, Purpose::Augment, 0, 0);
        let erased = (0..4000).filter(|_| erasing.part(Size::new(64, 64), &mut rng).is_some()).count();
        assert!((1110..1290).contains(&erased), "{erased}");
    }
}
