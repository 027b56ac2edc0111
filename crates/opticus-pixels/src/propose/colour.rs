//! Colour spaces, each blind to something else (table 1 of the selective search paper).

use serde::{Deserialize, Serialize};

use crate::image::Image8;
use crate::segment::Planes;

/// Colours in which regions are compared. All channels are scaled to about 0..=255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorSpace {
    /// Hue, saturation, value.
    Hsv,
    /// CIE L*a*b* (D65).
    Lab,
    /// Red and green as parts of the sum, and intensity.
    Rgi,
    /// Hue of HSV alone: sees no shadow and no highlight.
    Hue,
    /// The mean of red, green and blue.
    Intensity,
}

impl ColorSpace {
    /// An RGB picture in these colours.
    pub(super) fn planes(self, rgb: &Image8) -> Planes {
        let mut channels = vec![Vec::with_capacity(rgb.data.len() / 3); self.channels()];
        let light: [f32; 256] = std::array::from_fn(|v| linear(v as f32 / 255.0));
        for pixel in rgb.data.chunks_exact(3) {
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]];
            let color = match self {
                Self::Hsv | Self::Hue => hsv([r, g, b]),
                Self::Lab => lab([r, g, b].map(|v| light[usize::from(v)])),
                Self::Rgi => rgi([r, g, b]),
                Self::Intensity => [rgi([r, g, b])[2]; 3],
            };
            for (channel, value) in channels.iter_mut().zip(color) {
                channel.push(value);
            }
        }
        Planes { size: rgb.size, channels }
    }

    const fn channels(self) -> usize {
        match self {
            Self::Hsv | Self::Lab | Self::Rgi => 3,
            Self::Hue | Self::Intensity => 1,
        }
    }
}

fn hsv(rgb: [u8; 3]) -> [f32; 3] {
    let [r, g, b] = rgb.map(f32::from);
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = most - least;
    if chroma == 0.0 {
        return [0.0, 0.0, most];
    }
    let sixths = if most == r {
        ((g - b) / chroma).rem_euclid(6.0)
    } else if most == g {
        (b - r) / chroma + 2.0
    } else {
        (r - g) / chroma + 4.0
    };
    [sixths * (255.0 / 6.0), 255.0 * chroma / most, most]
}

fn rgi(rgb: [u8; 3]) -> [f32; 3] {
    let [r, g, b] = rgb.map(f32::from);
    let sum = r + g + b;
    if sum == 0.0 {
        return [85.0, 85.0, 0.0];
    }
    [255.0 * r / sum, 255.0 * g / sum, sum / 3.0]
}

/// Of linear light.
fn lab([r, g, b]: [f32; 3]) -> [f32; 3] {
    // The matrix of sRGB (IEC 61966-2-1), its rows divided by the white point.
    let x = (0.412_456 * r + 0.357_576 * g + 0.180_437 * b) / 0.950_47;
    let y = 0.212_673 * r + 0.715_152 * g + 0.072_175 * b;
    let z = (0.019_334 * r + 0.119_192 * g + 0.950_304 * b) / 1.088_83;
    let f = |v: f32| if v > 216.0 / 24_389.0 { v.cbrt() } else { (24_389.0 / 27.0 * v + 16.0) / 116.0 };
    let (x, y, z) = (f(x), f(y), f(z));
    [2.55 * (116.0 * y - 16.0), 500.0 * (x - y) + 128.0, 200.0 * (y - z) + 128.0]
}

fn linear(v: f32) -> f32 {
    if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    fn of(space: ColorSpace, rgb: [u8; 3]) -> Vec<f32> {
        let image = Image8 { size: Size::new(1, 1), channels: 3, data: rgb.to_vec() };
        space.planes(&image).channels.iter().map(|plane| plane[0]).collect()
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.05)
    }

    /// L*a*b* by CIE's definition, as colour calculators give it.
    #[test]
    fn known_colours() {
        assert!(close(&of(ColorSpace::Lab, [255, 0, 0]), &[2.55 * 53.24, 128.0 + 80.09, 128.0 + 67.20]));
        assert!(close(&of(ColorSpace::Lab, [0, 0, 255]), &[2.55 * 32.30, 128.0 + 79.19, 128.0 - 107.86]));
        assert!(close(&of(ColorSpace::Lab, [255, 255, 255]), &[255.0, 128.0, 128.0]));
        assert!(close(&of(ColorSpace::Hsv, [0, 128, 0]), &[85.0, 255.0, 128.0]));
        assert!(close(&of(ColorSpace::Hsv, [255, 0, 255]), &[212.5, 255.0, 255.0]));
        assert!(close(&of(ColorSpace::Hue, [200, 100, 100]), &[0.0]));
        assert!(close(&of(ColorSpace::Rgi, [100, 50, 50]), &[127.5, 63.75, 66.67]));
        assert!(close(&of(ColorSpace::Intensity, [10, 20, 60]), &[30.0]));
        for space in [ColorSpace::Hsv, ColorSpace::Lab, ColorSpace::Rgi] {
            assert!(of(space, [0, 0, 0]).iter().all(|v| v.is_finite()));
        }
    }
}
