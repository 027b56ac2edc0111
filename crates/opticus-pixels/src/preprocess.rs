//! The one path from a picture to a network's input.

use serde::{Deserialize, Serialize};

use crate::codec::ColorMode;
use crate::geometry::{Placement, Size};
use crate::image::Image8;
use crate::resize::{Filter, place};

/// How a picture of any shape is brought to the network's size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Shorter side to this many pixels, then the centre, as torchvision's presets: the longer side is cut to whole
    /// pixels, an odd difference is halved to the even offset, and black is laid around what is smaller than the crop.
    CenterCrop {
        /// Pixels of the shorter side before cropping.
        resize_shorter: u32,
    },
    /// Both sides, whatever the aspect.
    Stretch,
    /// The whole picture at its aspect, as large as fits, in the middle, with one level around it. As Ultralytics'
    /// `LetterBox`: sides are rounded to the nearest pixel (half to even, at least 1), and the odd pixel of padding
    /// goes to the right and to the bottom.
    Letterbox {
        /// Level of the padding, in every channel; usually 114.
        fill: u8,
    },
}

impl Fit {
    /// Where a picture comes to lie in the frame.
    pub fn placement(self, picture: Size, frame: Size) -> Placement {
        let Size { width, height } = picture;
        let (scaled, x, y) = match self {
            Self::Stretch => (frame, 0, 0),
            Self::CenterCrop { resize_shorter } => {
                let long = |long: u32, short: u32| {
                    let side = u64::from(resize_shorter) * u64::from(long) / u64::from(short.max(1));
                    u32::try_from(side).unwrap_or(u32::MAX)
                };
                let scaled = match width <= height {
                    true => Size::new(resize_shorter, long(height, width)),
                    false => Size::new(long(width, height), resize_shorter),
                };
                // A crop begins at half of the difference, rounded half to even; padding is halved downwards.
                let offset = |have: u32, want: u32| match have > want {
                    true => -((f64::from(have - want) / 2.0).round_ties_even() as i64),
                    false => i64::from((want - have) / 2),
                };
                (scaled, offset(scaled.width, frame.width), offset(scaled.height, frame.height))
            }
            Self::Letterbox { .. } => {
                let ratio = |have: u32, want: u32| f64::from(want) / f64::from(have.max(1));
                let ratio = ratio(width, frame.width).min(ratio(height, frame.height));
                let side = |have: u32, most: u32| {
                    ((f64::from(have) * ratio).round_ties_even() as u32).clamp(1, most.max(1))
                };
                let scaled = Size::new(side(width, frame.width), side(height, frame.height));
                let offset = |have: u32, want: u32| i64::from(want.saturating_sub(have) / 2);
                (scaled, offset(scaled.width, frame.width), offset(scaled.height, frame.height))
            }
        };
        Placement { picture, scaled, frame, x, y }
    }
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
    /// The pictures that the network wants to see.
    pub const fn mode(self) -> ColorMode {
        match self {
            Self::Grey => ColorMode::Grey,
            Self::Rgb | Self::Bgr => ColorMode::Rgb,
        }
    }

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
        let fill = match self.fit {
            Fit::Letterbox { fill } => fill,
            Fit::CenterCrop { .. } | Fit::Stretch => 0,
        };
        place(image, &self.fit.placement(image.size, self.size), self.filter, fill)
    }

    /// Samples to numbers: `(sample * scale - mean) / std`, channel by channel. A picture in another mode than the
    /// network's is converted first.
    pub fn normalize(&self, image: &Image8) -> Planes {
        let converted;
        let image = if image.channels == self.channels.mode().channels() {
            image
        } else {
            converted = image.to_mode(self.channels.mode());
            &converted
        };
        let area = image.size.area() as usize;
        let mut data = vec![0f32; self.channels.count() * area];
        let lines: Vec<Line> =
            self.mean.iter().zip(&self.std).map(|(mean, std)| Line::new(self.scale, *mean, *std)).collect();
        match (self.channels, &*lines) {
            (ChannelOrder::Grey, [line]) => {
                data.iter_mut().zip(&image.data).for_each(|(out, sample)| *out = line.at(*sample));
            }
            (order @ (ChannelOrder::Rgb | ChannelOrder::Bgr), [a, b, c]) => {
                let swapped = order == ChannelOrder::Bgr;
                let (first, rest) = data.split_at_mut(area);
                let (second, third) = rest.split_at_mut(area);
                let planes = first.iter_mut().zip(second).zip(third);
                let pixels = image.data.as_chunks::<3>().0;
                for (((first, second), third), pixel) in planes.zip(pixels) {
                    let [x, y, z] = if swapped { [pixel[2], pixel[1], pixel[0]] } else { *pixel };
                    (*first, *second, *third) = (a.at(x), b.at(y), c.at(z));
                }
            }
            // `validate` refuses other numbers of means and deviations.
            _ => {}
        }
        Planes { channels: self.channels.count(), size: image.size, data }
    }
}

/// The line `sample * scale - mean`, times `1 / std`.
struct Line {
    scale: f32,
    mean: f32,
    inverse: f32,
}

impl Line {
    fn new(scale: f32, mean: f32, std: f32) -> Self {
        Self { scale, mean, inverse: 1.0 / std }
    }

    fn at(&self, sample: u8) -> f32 {
        (f32::from(sample) * self.scale - self.mean) * self.inverse
    }
}
