//! From any depth and colour type to 8 bits, as Pillow converts.

use ::image::DynamicImage;

use crate::geometry::Size;
use crate::image::Image8;

/// What a job wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorMode {
    /// One channel.
    Grey,
    /// Three channels.
    Rgb,
    /// Three channels and alpha, which is not multiplied in; 255 where a picture has none.
    Rgba,
}

impl ColorMode {
    /// Number of channels.
    pub const fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

pub(super) fn into_image8(picture: DynamicImage, mode: ColorMode) -> Image8 {
    let size = Size::new(picture.width(), picture.height());
    let image = |channels, data| Image8 { size, channels, data };
    if mode == ColorMode::Rgba {
        return image(4, picture.into_rgba8().into_raw());
    }
    let native = match picture {
        DynamicImage::ImageLuma8(p) => image(1, p.into_raw()),
        DynamicImage::ImageRgb8(p) => image(3, p.into_raw()),
        DynamicImage::ImageRgba8(p) => image(4, p.into_raw()),
        DynamicImage::ImageLumaA8(p) => image(1, p.as_raw().iter().copied().step_by(2).collect()),
        DynamicImage::ImageLuma16(p) => image(1, p.as_raw().iter().map(|v| eight(*v)).collect()),
        DynamicImage::ImageLumaA16(p) => image(1, p.as_raw().iter().step_by(2).map(|v| eight(*v)).collect()),
        DynamicImage::ImageRgb16(p) => image(3, p.as_raw().iter().map(|v| eight(*v)).collect()),
        DynamicImage::ImageRgba16(p) => image(4, p.as_raw().iter().map(|v| eight(*v)).collect()),
        other => image(3, other.to_rgb8().into_raw()),
    };
    native.into_mode(mode)
}

/// 16 bits to 8 by the nearest level: 65535 → 255, and 257·v → v exactly.
fn eight(value: u16) -> u8 {
    ((u32::from(value) * 255 + 32_767) / 65_535) as u8
}

impl Image8 {
    /// The picture in a colour mode: alpha dropped or opaque, grey repeated, colour to ITU-R 601 luma as Pillow rounds it
    /// (`(19595 r + 38470 g + 7471 b + 0x8000) >> 16`).
    pub fn to_mode(&self, mode: ColorMode) -> Self {
        if self.channels == mode.channels() {
            return self.clone();
        }
        let data = match (mode, self.channels) {
            (ColorMode::Rgb, 1) => self.data.iter().flat_map(|v| [*v; 3]).collect(),
            (ColorMode::Rgb, n) => {
                self.data.chunks_exact(n).flat_map(|p| p.iter().take(3).copied()).collect()
            }
            (ColorMode::Grey, n) => self.data.chunks_exact(n).map(luma).collect(),
            (ColorMode::Rgba, 3) => self.data.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect(),
            (ColorMode::Rgba, _) => self.data.iter().flat_map(|v| [*v, *v, *v, 255]).collect(),
        };
        Self { size: self.size, channels: mode.channels(), data }
    }

    /// As [`Image8::to_mode`], without a copy where the picture already is in that mode.
    pub fn into_mode(self, mode: ColorMode) -> Self {
        if self.channels == mode.channels() { self } else { self.to_mode(mode) }
    }
}

/// ITU-R BT.601 luma of a pixel's first three samples, in Pillow's fixed point.
pub(crate) fn luma(pixel: &[u8]) -> u8 {
    match pixel {
        [r, g, b, ..] => {
            ((u32::from(*r) * 19_595 + u32::from(*g) * 38_470 + u32::from(*b) * 7_471 + 0x8000) >> 16) as u8
        }
        [v, ..] => *v,
        [] => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_round_to_the_nearest_level() {
        for v in 0..=255u16 {
            assert_eq!(u16::from(eight(v * 257)), v);
        }
        for v in 0..=65_535u16 {
            assert_eq!(f64::from(eight(v)), (f64::from(v) / 257.0).round());
        }
    }

    /// Values printed by Pillow 11: `Image.new("RGB", (1, 1), c).convert("L").getpixel((0, 0))`.
    #[test]
    fn luma_is_pillows() {
        for (c, l) in
            [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([12, 200, 77], 130), ([255; 3], 255)]
        {
            assert_eq!(luma(&c), l);
        }
    }
}
