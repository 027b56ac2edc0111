//! A picture for a detector that takes any size: as torchvision's `GeneralizedRCNNTransform`.

use opticus_pixels::geometry::{Placement, Size};
use opticus_pixels::preprocess::{ChannelOrder, Planes, Preprocessing};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a picture is scaled and normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// Pixels of the shorter side; fewer where the longer one would pass its bound.
    pub shorter: u32,
    /// Bound of the longer side.
    pub longer: u32,
    /// Both sides are filled up with zeros to a multiple of this.
    pub multiple: u32,
    /// One size for all pictures instead, whatever their aspect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Size>,
    /// Subtracted from each channel of a picture in 0 to 1.
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub std: [f32; 3],
    /// The order of the channels that the network wants; mean and deviation are in it.
    #[serde(default = "rgb")]
    pub channels: ChannelOrder,
}

fn rgb() -> ChannelOrder {
    ChannelOrder::Rgb
}

impl Default for Transform {
    /// torchvision's, with ImageNet's statistics.
    fn default() -> Self {
        Self {
            shorter: 800,
            longer: 1333,
            multiple: 32,
            fixed: None,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            channels: ChannelOrder::Rgb,
        }
    }
}

impl Transform {
    /// Checks every value, which may come from a hostile file.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(what));
        if !(16..=8192).contains(&self.shorter) || !(self.shorter..=8192).contains(&self.longer) {
            return refuse(format!(
                "input sides of {} and at most {} pixels; give 16 to 8192, the longer not below the shorter",
                self.shorter, self.longer
            ));
        }
        if let Some(Size { width, height }) = self.fixed
            && !((16..=8192).contains(&width) && (16..=8192).contains(&height))
        {
            return refuse(format!("an input of {width}x{height}; give 16 to 8192 pixels a side"));
        }
        if !(1..=256).contains(&self.multiple) {
            return refuse(format!("input.multiple is {}; give 1 to 256", self.multiple));
        }
        if self.channels == ChannelOrder::Grey {
            return refuse("a detector takes colour pictures; channels are rgb or bgr".into());
        }
        let numbers = self.mean.iter().chain(&self.std).all(|v| v.is_finite());
        if !numbers || self.std.iter().any(|v| *v <= 0.0) {
            return refuse("mean and std must be numbers, std above 0".into());
        }
        Ok(())
    }

    /// Colours as a classifier gets them, at the usual size.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a classifier of grey pictures.
    pub fn like(classifier: &Preprocessing) -> Result<Self> {
        let scale = classifier.scale * 255.0;
        let (&[a, b, c], &[d, e, f]) = (&classifier.mean[..], &classifier.std[..]) else {
            return Err(Error::ModelFile(
                "the classifier takes grey pictures; a detector needs one of colour pictures".into(),
            ));
        };
        Ok(Self {
            mean: [a, b, c].map(|mean| mean / scale),
            std: [d, e, f].map(|std| std / scale),
            channels: classifier.channels,
            ..Self::default()
        })
    }

    /// Where a picture of this size lies in the frame that the network gets.
    pub fn place(&self, picture: Size) -> Placement {
        if let Some(frame) = self.fixed {
            return Placement { picture, scaled: frame, frame, x: 0, y: 0 };
        }
        let [short, long] =
            [picture.width.min(picture.height), picture.width.max(picture.height)].map(f64::from);
        let scale = (f64::from(self.shorter) / short).min(f64::from(self.longer) / long);
        let side = |side: u32| ((f64::from(side) * scale).floor() as u32).max(1);
        let scaled = Size::new(side(picture.width), side(picture.height));
        let fill = |side: u32| side.div_ceil(self.multiple.max(1)) * self.multiple.max(1);
        let frame = Size::new(fill(scaled.width), fill(scaled.height));
        Placement { picture, scaled, frame, x: 0, y: 0 }
    }

    /// [`Self::apply`] for a picture that may be anything.
    ///
    /// # Errors
    /// [`Error::Input`] for a picture that is not of three planes, or empty.
    pub fn checked(&self, picture: &Planes) -> Result<(Planes, Placement)> {
        let Size { width, height } = picture.size;
        if picture.channels != 3 || width == 0 || height == 0 {
            return Err(Error::Input(format!(
                "a picture of {} planes at {width}x{height}; the detector takes three planes",
                picture.channels
            )));
        }
        Ok(self.apply(picture))
    }

    /// A picture of red, green and blue planes in 0 to 1, as the network gets it: normalised, scaled between the centres of pixels
    /// (PyTorch's bilinear interpolation, without smoothing), at the top left of its frame.
    pub fn apply(&self, picture: &Planes) -> (Planes, Placement) {
        let placement = self.place(picture.size);
        let Placement { scaled, frame, .. } = placement;
        let [width, height] = [picture.size.width as usize, picture.size.height as usize];
        let [across, down] = [frame.width as usize, frame.height as usize];
        let cols = between(picture.size.width, scaled.width);
        let rows = between(picture.size.height, scaled.height);
        let mut data = vec![0.0f32; picture.channels * across * down];
        data.par_chunks_exact_mut(across * down).enumerate().for_each(|(channel, out)| {
            let from =
                if self.channels == ChannelOrder::Bgr { picture.channels - 1 - channel } else { channel };
            let plane = &picture.data[from * width * height..][..width * height];
            let (mean, std) = (self.mean[channel.min(2)], self.std[channel.min(2)]);
            let value = |at: usize| (plane[at] - mean) / std;
            for (out, (top, bottom, lower)) in out.chunks_exact_mut(across).zip(&rows) {
                for (out, (left, right, later)) in out.iter_mut().zip(&cols) {
                    let row =
                        |y: usize| value(y * width + left) * (1.0 - later) + value(y * width + right) * later;
                    *out = row(*top) * (1.0 - lower) + row(*bottom) * lower;
                }
            }
        });
        (Planes { channels: picture.channels, size: frame, data }, placement)
    }
}

/// For each of `to` places the two of `from` that it lies between, and the share of the second.
fn between(from: u32, to: u32) -> Vec<(usize, usize, f32)> {
    let scale = from as f32 / to as f32;
    let last = from as usize - 1;
    (0..to)
        .map(|i| {
            let at = ((i as f32 + 0.5) * scale - 0.5).max(0.0);
            let low = (at as usize).min(last);
            (low, (low + 1).min(last), at - low as f32)
        })
        .collect()
}
