//! Changes of colour, and RandAugment's table.

use opticus_pixels::{Image8, Size, adjust};
use rand::RngExt;

use super::config::{ColorJitter, RandAugment};
use super::regions::{about_zero, uniform};
use super::warp::{AffineMap, warp};
use crate::data::sampler::{DataRng, shuffle};

impl ColorJitter {
    /// torchvision's `ColorJitter`: the four factors are drawn, and the changes made in random order.
    pub fn apply(&self, mut picture: Image8, rng: &mut DataRng) -> Image8 {
        let mut order = [0, 1, 2, 3];
        shuffle(&mut order, rng);
        let mut factor = |x: f64| uniform([(1.0 - x).max(0.0), 1.0 + x], rng);
        let (brightness, contrast, saturation) =
            (factor(self.brightness), factor(self.contrast), factor(self.saturation));
        let hue = about_zero(self.hue, rng);
        for change in order {
            picture = match change {
                0 if self.brightness > 0.0 => adjust::brightness(&picture, brightness as f32),
                1 if self.contrast > 0.0 => adjust::contrast(&picture, contrast as f32),
                2 if self.saturation > 0.0 => adjust::saturation(&picture, saturation as f32),
                3 if self.hue > 0.0 => adjust::hue(&picture, hue as f32),
                _ => picture,
            };
        }
        picture
    }
}

/// RandAugment's operations, in the order of torchvision's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

const OPERATIONS: [Operation; 14] = [
    Operation::Identity,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
    Operation::Rotate,
    Operation::Brightness,
    Operation::Color,
    Operation::Contrast,
    Operation::Sharpness,
    Operation::Posterize,
    Operation::Solarize,
    Operation::AutoContrast,
    Operation::Equalize,
];

/// torchvision's number of strengths, of which the last is 30.
const STEPS: f64 = 30.0;

impl Operation {
    /// The operation's strength at `m`, and whether it is turned around half of the time.
    fn magnitude(self, m: u32, size: Size) -> (f64, bool) {
        let of = |greatest: f64| greatest * f64::from(m) / STEPS;
        match self {
            Self::Identity | Self::AutoContrast | Self::Equalize => (0.0, false),
            Self::ShearX | Self::ShearY => (of(0.3), true),
            Self::TranslateX => (of(150.0 / 331.0 * f64::from(size.width)), true),
            Self::TranslateY => (of(150.0 / 331.0 * f64::from(size.height)), true),
            Self::Rotate => (of(30.0), true),
            Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => (of(0.9), true),
            Self::Posterize => (8.0 - (f64::from(m) / (STEPS / 4.0)).round_ties_even(), false),
            Self::Solarize => (255.0 - of(255.0), false),
        }
    }

    /// Applies the operation. Maps are bilinear about the picture's middle, with black beyond the edges; a shear
    /// is about the top left corner's row or column, as in torchvision's RandAugment.
    fn apply(self, picture: &Image8, magnitude: f64) -> Image8 {
        let map = |map: [f64; 6]| warp(picture, AffineMap(map), None, Some(0));
        // Pixel (0, 0) relative to the middle.
        let left = -f64::from(picture.size.width) / 2.0;
        let top = -f64::from(picture.size.height) / 2.0;
        match self {
            Self::Identity => picture.clone(),
            Self::ShearX => map([1.0, magnitude, -magnitude * top, 0.0, 1.0, 0.0]),
            Self::ShearY => map([1.0, 0.0, 0.0, magnitude, 1.0, -magnitude * left]),
            Self::TranslateX => map([1.0, 0.0, -magnitude.trunc(), 0.0, 1.0, 0.0]),
            Self::TranslateY => map([1.0, 0.0, 0.0, 0.0, 1.0, -magnitude.trunc()]),
            Self::Rotate => {
                // torchvision turns counter-clockwise, on a picture whose rows go down.
                let (sin, cos) = (-magnitude).to_radians().sin_cos();
                map([cos, sin, 0.0, -sin, cos, 0.0])
            }
            Self::Brightness => adjust::brightness(picture, (1.0 + magnitude) as f32),
            Self::Color => adjust::saturation(picture, (1.0 + magnitude) as f32),
            Self::Contrast => adjust::contrast(picture, (1.0 + magnitude) as f32),
            Self::Sharpness => adjust::sharpness(picture, (1.0 + magnitude) as f32),
            Self::Posterize => adjust::posterize(picture, magnitude as u8),
            Self::Solarize => adjust::solarize(picture, magnitude.ceil() as u8),
            Self::AutoContrast => adjust::autocontrast(picture),
            Self::Equalize => adjust::equalize(picture),
        }
    }
}

impl RandAugment {
    /// Applies `n` operations drawn from the table.
    pub fn apply(&self, mut picture: Image8, rng: &mut DataRng) -> Image8 {
        for _ in 0..self.n {
            let operation = OPERATIONS[rng.random_range(0..OPERATIONS.len() as u64) as usize];
            let (mut magnitude, signed) = operation.magnitude(self.m, picture.size);
            if signed && rng.random_bool(0.5) {
                magnitude = -magnitude;
            }
            picture = operation.apply(&picture, magnitude);
        }
        picture
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::augment::Affine;
    use crate::data::sampler::{Purpose, rng_for};

    const GOLDEN: &str = include_str!("../../../tests/golden/augment.json");
    const SIZE: Size = Size::new(17, 13);

    /// The picture of `tools/reference/augment.py`.
    fn picture() -> Image8 {
        let at = |x: u32, y: u32, c: u32| ((37 * x + 59 * y + 83 * c + x * y) % 256) as u8;
        let data = (0..SIZE.height)
            .flat_map(|y| (0..SIZE.width).flat_map(move |x| (0..3).map(move |c| at(x, y, c))))
            .collect();
        Image8 { size: SIZE, channels: 3, data }
    }

    fn bytes(hex: &serde_json::Value) -> Vec<u8> {
        let hex = hex.as_str().unwrap();
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    /// Samples that differ by more than `tolerance`.
    fn far(a: &[u8], b: &[u8], tolerance: u8) -> usize {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).filter(|(a, b)| a.abs_diff(**b) > tolerance).count()
    }

    #[test]
    fn operations_are_torchvisions() {
        let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        let cases = golden["operations"].as_array().unwrap();
        assert!(OPERATIONS.iter().all(|o| cases.iter().any(|c| c["operation"] == format!("{o:?}"))));
        for case in cases {
            let name = case["operation"].as_str().unwrap();
            let operation = *OPERATIONS.iter().find(|o| format!("{o:?}") == name).unwrap();
            let (magnitude, signed) = operation.magnitude(case["m"].as_u64().unwrap() as u32, SIZE);
            let sign = case["sign"].as_f64().unwrap();
            let expected = case["magnitude"].as_f64().unwrap();
            assert!((magnitude * sign - expected).abs() < 1e-4, "{name}: {magnitude} {expected}");
            assert!(signed || sign > 0.0, "{name}");
            let result = operation.apply(&picture(), magnitude * sign);
            let wrong = far(&result.data, &bytes(&case["result"]), 1);
            assert_eq!(wrong, 0, "{name} at {expected}: {wrong} of {} samples", result.data.len());
        }
    }

    #[test]
    fn hue_is_torchvisions() {
        let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        for case in golden["hue"].as_array().unwrap() {
            let result = adjust::hue(&picture(), case["turns"].as_f64().unwrap() as f32);
            assert_eq!(far(&result.data, &bytes(&case["result"]), 1), 0, "{}", case["turns"]);
        }
    }

    #[test]
    fn affine_maps_are_torchvisions() {
        let golden: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        for case in golden["affine"].as_array().unwrap() {
            let number = |v: &serde_json::Value| v.as_f64().unwrap();
            let map = Affine::map(
                number(&case["angle"]),
                [number(&case["translate"][0]), number(&case["translate"][1])],
                number(&case["scale"]),
                number(&case["shear"]),
            );
            let result = warp(&picture(), map, None, Some(0));
            assert_eq!(far(&result.data, &bytes(&case["result"]), 1), 0, "{case}");
        }
    }

    #[test]
    fn colours_change_within_range_and_in_any_order() {
        let jitter = ColorJitter { brightness: 0.5, contrast: 0.0, saturation: 0.0, hue: 0.0 };
        let grey = Image8 { size: Size::new(2, 1), channels: 3, data: vec![100; 6] };
        let mut seen: Vec<u8> = Vec::new();
        for i in 0..300 {
            let changed = jitter.apply(grey.clone(), &mut rng_for(0, Purpose::Augment, 0, i));
            assert!(changed.data.iter().all(|v| *v == changed.data[0]));
            seen.push(changed.data[0]);
        }
        assert!(seen.iter().all(|v| (50..=150).contains(v)));
        assert!(seen.iter().min() < Some(&60) && seen.iter().max() > Some(&140));
        let nothing = ColorJitter::default().apply(picture(), &mut rng_for(0, Purpose::Augment, 0, 0));
        assert_eq!(nothing, picture());
    }

    #[test]
    fn the_table_is_drawn_from_evenly() {
        // With one operation at strength 0, all but a few leave the picture as it is.
        let augment = RandAugment { n: 1, m: 0 };
        let changed = (0..700)
            .filter(|i| augment.apply(picture(), &mut rng_for(0, Purpose::Augment, 0, *i)) != picture())
            .count();
        // AutoContrast and Equalize: two of fourteen, 100 of 700, standard deviation 9.3.
        assert!((60..=140).contains(&changed), "{changed}");
    }
}
