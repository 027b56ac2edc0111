//! What is done to training pictures, and within which ranges.

use serde::{Deserialize, Serialize};

use super::mix::MixConfig;
use crate::error::{Error, Result};

/// What is done to each training picture. By default nothing; every section is off until it is written.
///
/// The order is torchvision's: cut out a part and resize it (or else resize as for evaluation), shift, warp,
/// flip, change colours, RandAugment, normalise, erase; mixup and cutmix on whole batches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Cut out a random part and resize it to the network's input; without it, pictures are resized as for
    /// evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// Put a border about the picture and cut out a part of its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_crop: Option<PadCrop>,
    /// Turn, shift, scale and shear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<Affine>,
    /// Bend as if drawn on rubber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic: Option<Elastic>,
    /// Probability of mirroring left and right.
    pub flip: f64,
    /// Probability of mirroring top and bottom.
    pub vertical_flip: f64,
    /// Change brightness, contrast, saturation and hue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Apply operations drawn from a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// Blank a random rectangle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<RandomErasing>,
    /// Mix pictures of a batch.
    #[serde(skip_serializing_if = "MixConfig::is_off")]
    pub mix: MixConfig,
}

/// torchvision's `RandomResizedCrop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Least and greatest share of the picture's area.
    pub scale: [f64; 2],
    /// Least and greatest width over height.
    pub ratio: [f64; 2],
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        Self { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }
}

/// torchvision's `RandomCrop(size, padding)`, usual for CIFAR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PadCrop {
    /// Pixels added on each side.
    pub padding: u32,
    /// Value of the border, 0..=255.
    pub fill: u8,
}

impl Default for PadCrop {
    fn default() -> Self {
        Self { padding: 4, fill: 0 }
    }
}

/// A random affine map about the picture's middle, bilinear. As torchvision's `RandomAffine`, but shifts are not
/// rounded to whole pixels, and the map is made in one resampling together with [`Elastic`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Affine {
    /// Turn by up to so many degrees either way.
    pub degrees: f64,
    /// Shift by up to this share of the width either way.
    pub translate_x: f64,
    /// Shift by up to this share of the height either way.
    pub translate_y: f64,
    /// Least and greatest magnification.
    pub scale: [f64; 2],
    /// Shear along x by up to so many degrees either way.
    pub shear: f64,
    /// Value outside the picture, 0..=255; without it, the picture's edge goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<u8>,
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            degrees: 10.0,
            translate_x: 0.1,
            translate_y: 0.1,
            scale: [0.9, 1.1],
            shear: 0.0,
            fill: Some(0),
        }
    }
}

/// Elastic distortion (Simard, Steinkraus and Platt 2003): every pixel is moved by a random field, uniform in
/// -1..1, smoothed by a Gaussian of `sigma` and multiplied by `alpha`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Elastic {
    /// Strength in pixels; the paper has 34 for digits of 29 pixels.
    pub alpha: f64,
    /// Smoothness in pixels; the paper has 4.
    pub sigma: f64,
    /// Probability of distorting a picture.
    pub probability: f64,
}

impl Default for Elastic {
    fn default() -> Self {
        Self { alpha: 34.0, sigma: 4.0, probability: 1.0 }
    }
}

/// torchvision's `ColorJitter`: factors are drawn from `1 - x ..= 1 + x`, and the four changes are made in
/// random order. On grey pictures, saturation and hue do nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    /// Brightness, 0 and up.
    pub brightness: f64,
    /// Contrast, 0 and up.
    pub contrast: f64,
    /// Saturation, 0 and up.
    pub saturation: f64,
    /// Hue, as a share of the colour circle either way: 0..=0.5.
    pub hue: f64,
}

/// torchvision's `RandAugment` (Cubuk et al. 2020) with bilinear resampling, as in its reference recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandAugment {
    /// Operations applied to each picture.
    pub n: u32,
    /// Strength, 0..=30.
    pub m: u32,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self { n: 2, m: 9 }
    }
}

/// torchvision's `RandomErasing` (Zhong et al. 2020), on the normalised picture with value 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomErasing {
    /// Probability of erasing.
    pub probability: f64,
    /// Least and greatest share of the picture's area.
    pub scale: [f64; 2],
    /// Least and greatest height over width.
    pub ratio: [f64; 2],
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self { probability: 0.1, scale: [0.02, 0.33], ratio: [0.3, 3.3] }
    }
}

impl AugmentConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, its value and what it may be.
    pub fn validate(&self) -> Result<()> {
        within("flip", self.flip, 0.0, 1.0)?;
        within("vertical_flip", self.vertical_flip, 0.0, 1.0)?;
        if let Some(crop) = &self.random_resized_crop {
            range("random_resized_crop.scale", crop.scale, 0.0, 1.0)?;
            range("random_resized_crop.ratio", crop.ratio, 0.01, 100.0)?;
        }
        if let Some(crop) = &self.pad_crop {
            within("pad_crop.padding", f64::from(crop.padding), 0.0, 1024.0)?;
        }
        if let Some(affine) = &self.affine {
            within("affine.degrees", affine.degrees, 0.0, 180.0)?;
            within("affine.translate_x", affine.translate_x, 0.0, 1.0)?;
            within("affine.translate_y", affine.translate_y, 0.0, 1.0)?;
            within("affine.shear", affine.shear, 0.0, 80.0)?;
            range("affine.scale", affine.scale, 0.01, 100.0)?;
        }
        if let Some(elastic) = &self.elastic {
            within("elastic.alpha", elastic.alpha, 0.0, 10_000.0)?;
            within("elastic.sigma", elastic.sigma, 0.1, 100.0)?;
            within("elastic.probability", elastic.probability, 0.0, 1.0)?;
        }
        if let Some(jitter) = &self.color_jitter {
            within("color_jitter.brightness", jitter.brightness, 0.0, 10.0)?;
            within("color_jitter.contrast", jitter.contrast, 0.0, 10.0)?;
            within("color_jitter.saturation", jitter.saturation, 0.0, 10.0)?;
            within("color_jitter.hue", jitter.hue, 0.0, 0.5)?;
        }
        if let Some(augment) = &self.rand_augment {
            within("rand_augment.n", f64::from(augment.n), 0.0, 20.0)?;
            within("rand_augment.m", f64::from(augment.m), 0.0, 30.0)?;
        }
        if let Some(erasing) = &self.random_erasing {
            within("random_erasing.probability", erasing.probability, 0.0, 1.0)?;
            range("random_erasing.scale", erasing.scale, 0.0, 1.0)?;
            range("random_erasing.ratio", erasing.ratio, 0.01, 100.0)?;
        }
        self.mix.validate()
    }
}

fn within(key: &str, value: f64, least: f64, most: f64) -> Result<()> {
    // A value that is not a number is in no range.
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::Config(format!("augment.{key} = {value}: it is between {least} and {most}")))
}

fn range(key: &str, [low, high]: [f64; 2], least: f64, most: f64) -> Result<()> {
    within(key, low, least, most)?;
    within(key, high, least, most)?;
    if low > high || high == 0.0 {
        return Err(Error::Config(format!(
            "augment.{key} = [{low}, {high}]: the first is the least, the second the greatest and above 0"
        )));
    }
    Ok(())
}
