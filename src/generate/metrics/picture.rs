//! From pictures to what the Inception network reads, as clean-fid does it (Parmar et al. 2022, "On Aliased Resizing
//! and Surprising Subtleties in GAN Evaluation").

use opticus_pixels::geometry::Size;
use opticus_pixels::image::Image8;
use opticus_pixels::preprocess::Planes;
use opticus_pixels::resize::{Filter, resize_float};

/// Pixels of a side that the Inception network reads.
pub const INCEPTION_SIDE: u32 = 299;

/// How levels from 0 to 255 become numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// `(x − 128) / 128`: the TensorFlow network, as clean-fid and the StyleGAN authors run it.
    TensorFlow,
    /// `2 x / 255 − 1`: pytorch-fid's and torchvision's.
    PyTorch,
}

/// The picture at 299×299 in three channels, for the Inception network: stretched by Pillow's bicubic filter without
/// rounding, cut to 0 to 255 as clean-fid does, and scaled. Grey is repeated in all three channels; alpha is left
/// out.
pub fn inception_planes(image: &Image8, levels: Levels) -> Planes {
    let size = Size::new(INCEPTION_SIDE, INCEPTION_SIDE);
    let area = size.area() as usize;
    let mut data = resize_float(image, size, Filter::Bicubic);
    data.truncate(3 * area);
    for value in &mut data {
        let level = value.clamp(0.0, 255.0);
        *value = match levels {
            Levels::TensorFlow => (level - 128.0) / 128.0,
            Levels::PyTorch => level / 127.5 - 1.0,
        };
    }
    if image.channels == 1 {
        data = data.repeat(3);
    }
    Planes { channels: 3, size, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_picture_gives_three_channels_in_range() {
        for channels in [1, 3, 4] {
            let size = Size::new(5, 4);
            // One edge in each channel, at which the filter overshoots.
            let data = (0..20 * channels).map(|i| if i / channels % 5 < 2 { 0 } else { 255 }).collect();
            let image = Image8 { size, channels, data };
            for (levels, greatest) in [(Levels::TensorFlow, 127.0 / 128.0), (Levels::PyTorch, 1.0)] {
                let planes = inception_planes(&image, levels);
                assert_eq!((planes.channels, planes.data.len()), (3, 3 * 299 * 299));
                let (low, high) =
                    planes.data.iter().fold((0.0f32, 0.0f32), |(low, high), v| (low.min(*v), high.max(*v)));
                assert_eq!((low, high), (-1.0, greatest));
                assert_eq!(planes.data[..299 * 299], planes.data[2 * 299 * 299..]);
            }
        }
    }
}
