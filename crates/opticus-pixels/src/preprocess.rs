//! The one path from a picture to a network's input.

use serde::{Deserialize, Serialize};

use crate::geometry::Size;
use crate::image::Image8;
use crate::resize::{Filter, crop, resize};

/// How a picture of any shape is brought to the network's size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Shorter side to this many pixels, then the centre.
    CenterCrop {
        /// Pixels of the shorter side before cropping.
        resize_shorter: u32,
    },
    /// Both sides, whatever the aspect.
    Stretch,
}

/// The network's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red (Caffe, OpenCV).
    Bgr,
    /// One channel.
    Grey,
}

impl ChannelOrder {
    /// Number of channels.
    pub const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb | Self::Bgr => 3,
        }
    }
}

/// How a picture becomes numbers: stored in the model file, used by training, evaluation and prediction alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// The network's input size.
    pub size: Size,
    /// How the picture is brought to it.
    pub fit: Fit,
    /// How it is resampled.
    pub filter: Filter,
    /// Subtracted from each channel after scaling.
    pub mean: Vec<f32>,
    /// Divides each channel.
    pub std: Vec<f32>,
    /// The channels.
    pub channels: ChannelOrder,
    /// Multiplies the 8-bit sample; usually 1/255.
    pub scale: f32,
}

/// A picture as numbers, channel by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    /// Number of channels.
    pub channels: usize,
    /// Extent.
    pub size: Size,
    /// `channels * height * width` values.
    pub data: Vec<f32>,
}

impl Preprocessing {
    /// Checks every value, which may come from a hostile file.
    pub fn validate(&self) -> Result<(), String> {
        let Size { width, height } = self.size;
        if !(1..=8192).contains(&width) || !(1..=8192).contains(&height) {
            return Err(format!("preprocessing.size is {width}x{height}; each side must be 1 to 8192"));
        }
        if let Fit::CenterCrop { resize_shorter } = self.fit
            && !(1..=8192).contains(&resize_shorter)
        {
            return Err(format!(
                "preprocessing.fit.resize_shorter is {resize_shorter}; it must be 1 to 8192"
            ));
        }
        let n = self.channels.count();
        if self.mean.len() != n || self.std.len() != n {
            return Err(format!(
                "preprocessing has {} means and {} deviations for {n} channels",
                self.mean.len(),
                self.std.len()
            ));
        }
        if !self.mean.iter().all(|m| m.is_finite())
            || !self.std.iter().all(|s| s.is_finite() && *s > 0.0)
            || !self.scale.is_finite()
        {
            return Err("preprocessing.mean, std and scale must be numbers, std above 0".into());
        }
        Ok(())
    }

    /// Size and numbers: geometry, then normalisation.
    pub fn apply(&self, image: &Image8) -> Planes {
        self.normalize(&self.geometry(image))
    }

    /// The picture at the network's size.
    pub fn geometry(&self, image: &Image8) -> Image8 {
        match self.fit {
            Fit::Stretch => resize(image, self.size, self.filter),
            Fit::CenterCrop { resize_shorter } => {
                let Size { width, height } = image.size;
                let long = |l: u32, s: u32| {
                    (u64::from(resize_shorter) * u64::from(l) / u64::from(s)).clamp(1, 1 << 20) as u32
                };
                let size = match width <= height {
                    true => Size::new(resize_shorter, long(height, width)),
                    false => Size::new(long(width, height), resize_shorter),
                };
                let scaled = resize(image, size, self.filter);
                let offset = |have: u32, want: u32| {
                    ((f64::from(have) - f64::from(want)) / 2.0).round_ties_even() as i64
                };
                crop(
                    &scaled,
                    offset(size.width, self.size.width),
                    offset(size.height, self.size.height),
                    self.size,
                )
            }
        }
    }

    /// Samples to numbers: `(sample * scale - mean) / std`, channel by channel.
    pub fn normalize(&self, image: &Image8) -> Planes {
        let n = self.channels.count();
        let area = image.size.area() as usize;
        let mut data = vec![0f32; n * area];
        for (channel, plane) in data.chunks_exact_mut(area).enumerate() {
            let (mean, inverse) = (self.mean[channel], 1.0 / self.std[channel]);
            let from = match self.channels {
                ChannelOrder::Bgr => 2 - channel,
                _ => channel,
            };
            for (out, pixel) in plane.iter_mut().zip(image.data.chunks_exact(image.channels)) {
                *out = (f32::from(pixel[from.min(image.channels - 1)]) * self.scale - mean) * inverse;
            }
        }
        Planes { channels: n, size: image.size, data }
    }
}
