//! A picture for a detector that takes any size: as torchvision's `GeneralizedRCNNTransform`.

use opticus_pixels::geometry::{Placement, Size};
use opticus_pixels::preprocess::Planes;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

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
    /// Subtracted from each channel of a picture in 0 to 1.
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub std: [f32; 3],
}

impl Default for Transform {
    /// torchvision's, with ImageNet's statistics.
    fn default() -> Self {
        Self {
            shorter: 800,
            longer: 1333,
            multiple: 32,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}

impl Transform {
    /// Where a picture of this size lies in the frame that the network gets.
    pub fn place(&self, picture: Size) -> Placement {
        let [short, long] =
            [picture.width.min(picture.height), picture.width.max(picture.height)].map(f64::from);
        let scale = (f64::from(self.shorter) / short).min(f64::from(self.longer) / long);
        let side = |side: u32| ((f64::from(side) * scale).floor() as u32).max(1);
        let scaled = Size::new(side(picture.width), side(picture.height));
        let fill = |side: u32| side.div_ceil(self.multiple.max(1)) * self.multiple.max(1);
        let frame = Size::new(fill(scaled.width), fill(scaled.height));
        Placement { picture, scaled, frame, x: 0, y: 0 }
    }

    /// A picture of three planes in 0 to 1, as the network gets it: normalised, scaled between the centres of pixels
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
            let plane = &picture.data[channel * width * height..][..width * height];
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
