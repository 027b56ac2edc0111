//! What is done to training scenes, and within which ranges.

use opticus_pixels::geometry::{Placement, Size};
use opticus_pixels::{Image8, adjust};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Scene, chance};
use crate::data::augment::uniform;
use crate::data::sampler::DataRng;
use crate::error::{Error, Result};

/// What is done to each training scene. A section that is left out is off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneAugment {
    /// Probability of mirroring left and right.
    pub flip: f64,
    /// Probability of mirroring top and bottom.
    pub vertical_flip: f64,
    /// Probability of four scenes in one (Bochkovskiy et al. 2020, "YOLOv4", section 3.3).
    pub mosaic: f64,
    /// Level around a picture, in all channels.
    pub fill: u8,
    /// Which boxes are kept.
    pub keep: Keep,
    /// Change colours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photometric: Option<Photometric>,
    /// Lay the picture into a larger frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expand: Option<Expand>,
    /// Cut out a part that overlaps the objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<IouCrop>,
    /// Scale the picture in its frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_jitter: Option<ScaleJitter>,
}

/// Which boxes are kept after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// Least width and height, in pixels.
    pub side: f64,
    /// Least visible part of a box's area before the change.
    pub visible: f64,
}

/// SSD's distortion of colours (Liu et al. 2016, section 2.2; Howard 2013), as torchvision's
/// `RandomPhotometricDistort`: each change by itself happens or not; contrast before the others or after them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Photometric {
    /// Probability of each change.
    pub probability: f64,
    /// Least and greatest factor.
    pub brightness: [f64; 2],
    /// Least and greatest factor.
    pub contrast: [f64; 2],
    /// Least and greatest factor.
    pub saturation: [f64; 2],
    /// Greatest turn of the colour circle either way, 0 to 0.5.
    pub hue: f64,
    /// Probability of exchanging the channels.
    pub channels: f64,
}

/// SSD's expansion (Liu et al. 2016, section 3.6), as torchvision's `RandomZoomOut`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expand {
    /// How often.
    pub probability: f64,
    /// Greatest side of the frame, in sides of the picture.
    pub most: f64,
}

/// SSD's random part (Liu et al. 2016, section 2.2), as torchvision's `RandomIoUCrop`: of one of the overlaps with an
/// object at least; objects whose centre is outside go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IouCrop {
    /// How often a part is tried.
    pub probability: f64,
    /// Overlaps (IoU) to choose from.
    pub overlaps: Vec<f64>,
    /// Least and greatest side of the part, in sides of the picture.
    pub scale: [f64; 2],
    /// Least and greatest width over height.
    pub aspect: [f64; 2],
    /// How often a part that does not fit is drawn again.
    pub trials: usize,
}

/// Ghiasi et al. 2021, "Simple Copy-Paste", section 3: the picture is made larger or smaller; its frame stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScaleJitter {
    /// How often.
    pub probability: f64,
    /// Least and greatest factor.
    pub scale: [f64; 2],
}

/// What suits a few hundred photos: mirror images, colours, frames and parts.
impl Default for SceneAugment {
    fn default() -> Self {
        Self {
            flip: 0.5,
            vertical_flip: 0.0,
            mosaic: 0.0,
            fill: 114,
            keep: Keep::default(),
            photometric: Some(Photometric::default()),
            expand: Some(Expand::default()),
            crop: Some(IouCrop::default()),
            scale_jitter: None,
        }
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self { side: 2.0, visible: 0.25 }
    }
}

impl Default for Photometric {
    fn default() -> Self {
        Self {
            probability: 0.5,
            brightness: [0.875, 1.125],
            contrast: [0.5, 1.5],
            saturation: [0.5, 1.5],
            hue: 0.05,
            channels: 0.0,
        }
    }
}

impl Default for Expand {
    fn default() -> Self {
        Self { probability: 0.3, most: 2.0 }
    }
}

impl Default for IouCrop {
    fn default() -> Self {
        Self {
            probability: 0.5,
            overlaps: vec![0.0, 0.1, 0.3, 0.5, 0.7, 0.9],
            scale: [0.3, 1.0],
            aspect: [0.5, 2.0],
            trials: 40,
        }
    }
}

impl Default for ScaleJitter {
    fn default() -> Self {
        Self { probability: 1.0, scale: [0.5, 2.0] }
    }
}

impl SceneAugment {
    /// Nothing but what the rule of boxes asks for.
    pub fn none() -> Self {
        Self { flip: 0.0, photometric: None, expand: None, crop: None, ..Self::default() }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    pub fn validate(&self) -> Result<()> {
        let mut parts = vec![
            ("flip", self.flip),
            ("vertical_flip", self.vertical_flip),
            ("mosaic", self.mosaic),
            ("keep.visible", self.keep.visible),
        ];
        let mut ranges = Vec::new();
        if let Some(p) = &self.photometric {
            parts.extend([("photometric.probability", p.probability), ("photometric.channels", p.channels)]);
            parts.push(("photometric.hue", 2.0 * p.hue));
            ranges.push(("photometric.brightness", p.brightness, [0.0, 10.0]));
            ranges.push(("photometric.contrast", p.contrast, [0.0, 10.0]));
            ranges.push(("photometric.saturation", p.saturation, [0.0, 10.0]));
        }
        if let Some(e) = &self.expand {
            parts.push(("expand.probability", e.probability));
            ranges.push(("expand.most", [1.0, e.most], [1.0, 8.0]));
        }
        if let Some(c) = &self.crop {
            parts.push(("crop.probability", c.probability));
            parts.extend(c.overlaps.iter().map(|overlap| ("crop.overlaps", *overlap)));
            ranges.push(("crop.scale", c.scale, [0.01, 1.0]));
            ranges.push(("crop.aspect", c.aspect, [0.01, 100.0]));
            if c.overlaps.is_empty() || !(1..=10_000).contains(&c.trials) {
                return refuse("crop", "overlaps must not be empty, and trials are 1 to 10000");
            }
        }
        if let Some(j) = &self.scale_jitter {
            parts.push(("scale_jitter.probability", j.probability));
            ranges.push(("scale_jitter.scale", j.scale, [0.05, 8.0]));
        }
        if !(self.keep.side.is_finite() && self.keep.side >= 0.0) {
            return refuse("keep.side", &format!("it is {}; give 0 or more pixels", self.keep.side));
        }
        if let Some((name, value)) = parts.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return refuse(name, &format!("it is {value}, out of range"));
        }
        let bad = |range: &[f64; 2], within: &[f64; 2]| {
            !(range[0] <= range[1] && range[0] >= within[0] && range[1] <= within[1])
        };
        match ranges.into_iter().find(|(_, range, within)| bad(range, within)) {
            Some((name, range, [least, most])) => {
                refuse(name, &format!("it is {range:?}; give a range within {least} to {most}"))
            }
            None => Ok(()),
        }
    }
}

fn refuse(name: &str, what: &str) -> Result<()> {
    Err(Error::Config(format!("augment.{name}: {what}")))
}

impl Photometric {
    /// The picture in other colours.
    pub fn apply(&self, mut image: Image8, rng: &mut DataRng) -> Image8 {
        let brightness = (chance(self.probability, rng), uniform(self.brightness, rng) as f32);
        let contrast = (chance(self.probability, rng), uniform(self.contrast, rng) as f32);
        let contrast_first = chance(0.5, rng);
        let saturation = (chance(self.probability, rng), uniform(self.saturation, rng) as f32);
        let hue = (chance(self.probability, rng), uniform([-self.hue, self.hue], rng) as f32);
        let exchange = (chance(self.channels, rng), rng.random_range(1..6usize));
        if brightness.0 {
            image = adjust::brightness(&image, brightness.1);
        }
        if contrast.0 && contrast_first {
            image = adjust::contrast(&image, contrast.1);
        }
        if saturation.0 {
            image = adjust::saturation(&image, saturation.1);
        }
        if hue.0 {
            image = adjust::hue(&image, hue.1);
        }
        if contrast.0 && !contrast_first {
            image = adjust::contrast(&image, contrast.1);
        }
        if exchange.0 {
            exchange_channels(&mut image, exchange.1);
        }
        image
    }
}

/// The orders of three channels but the usual one.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

fn exchange_channels(image: &mut Image8, order: usize) {
    if image.channels >= 3 {
        for pixel in image.data.chunks_exact_mut(image.channels) {
            let old = [pixel[0], pixel[1], pixel[2]];
            ORDERS[order].iter().enumerate().for_each(|(to, from)| pixel[to] = old[*from]);
        }
    }
}

impl Expand {
    /// The scene somewhere in a frame of up to `most` times its sides.
    pub fn apply(&self, scene: Scene, all: &SceneAugment, rng: &mut DataRng) -> Scene {
        let (happens, ratio) = (chance(self.probability, rng), uniform([1.0, self.most], rng));
        let [right, down] = [rng.random::<f64>(), rng.random::<f64>()];
        if !happens {
            return scene;
        }
        let size = scene.image.size;
        let side = |side: u32| (f64::from(side) * ratio) as u32;
        let frame = Size::new(side(size.width).max(size.width), side(size.height).max(size.height));
        let at = |share: f64, room: u32| (share * f64::from(room + 1)) as i64;
        let (x, y) = (at(right, frame.width - size.width), at(down, frame.height - size.height));
        scene.placed(&Placement { picture: size, scaled: size, frame, x, y }, all.fill, &all.keep)
    }
}

impl ScaleJitter {
    /// The scene larger or smaller in a frame of its size: a part of it, or with a border.
    pub fn apply(&self, scene: Scene, all: &SceneAugment, rng: &mut DataRng) -> Scene {
        let (happens, factor) = (chance(self.probability, rng), uniform(self.scale, rng));
        let [right, down] = [rng.random::<f64>(), rng.random::<f64>()];
        if !happens {
            return scene;
        }
        let size = scene.image.size;
        let side = |side: u32| ((f64::from(side) * factor).round() as u32).max(1);
        let scaled = Size::new(side(size.width), side(size.height));
        let at = |share: f64, frame: u32, scaled: u32| {
            (share * (f64::from(frame) - f64::from(scaled))).round() as i64
        };
        let (x, y) = (at(right, size.width, scaled.width), at(down, size.height, scaled.height));
        scene.placed(&Placement { picture: size, scaled, frame: size, x, y }, all.fill, &all.keep)
    }
}
