//! An RGB picture to draw on; what lies outside is left out.

use crate::codec::ColorMode;
use crate::geometry::Size;
use crate::image::Image8;

/// A rectangle of whole pixels, the far edges not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub x1: i64,
    pub y1: i64,
    pub x2: i64,
    pub y2: i64,
}

impl Area {
    pub fn width(self) -> i64 {
        self.x2 - self.x1
    }

    pub fn height(self) -> i64 {
        self.y2 - self.y1
    }

    /// Pixels that two areas share.
    pub fn shared(self, other: Self) -> i64 {
        let width = self.x2.min(other.x2) - self.x1.max(other.x1);
        let height = self.y2.min(other.y2) - self.y1.max(other.y1);
        width.max(0) * height.max(0)
    }

    pub fn is_inside(self, other: Self) -> bool {
        self.x1 >= other.x1 && self.y1 >= other.y1 && self.x2 <= other.x2 && self.y2 <= other.y2
    }

    /// The part inside another area; empty or inverted where there is none.
    pub fn clipped(self, other: Self) -> Self {
        Self {
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
            x2: self.x2.min(other.x2),
            y2: self.y2.min(other.y2),
        }
    }

    /// Larger by `by` pixels on each side, or smaller.
    pub fn grown(self, by: i64) -> Self {
        Self { x1: self.x1 - by, y1: self.y1 - by, x2: self.x2 + by, y2: self.y2 + by }
    }
}

pub(super) struct Canvas {
    size: Size,
    data: Vec<u8>,
}

impl Canvas {
    /// A copy of the picture, in RGB.
    pub fn of(image: &Image8) -> Self {
        let rgb = image.to_mode(ColorMode::Rgb);
        Self { size: rgb.size, data: rgb.data }
    }

    pub fn into_image(self) -> Image8 {
        Image8 { size: self.size, channels: 3, data: self.data }
    }

    pub fn area(&self) -> Area {
        Area { x1: 0, y1: 0, x2: self.size.width.into(), y2: self.size.height.into() }
    }

    /// Fills an area.
    pub fn fill(&mut self, area: Area, color: [u8; 3]) {
        let Area { x1, y1, x2, y2 } = area.clipped(self.area());
        if x1 >= x2 {
            return;
        }
        for y in y1..y2 {
            let row = y as usize * self.size.width as usize;
            let Some(row) = self.data.get_mut((row + x1 as usize) * 3..(row + x2 as usize) * 3) else {
                return;
            };
            for pixel in row.chunks_exact_mut(3) {
                pixel.copy_from_slice(&color);
            }
        }
    }

    /// Lays a colour over one pixel, 0..=1 opaque.
    pub fn blend(&mut self, [x, y]: [i64; 2], color: [u8; 3], opacity: f32) {
        let Area { x2, y2, .. } = self.area();
        if !(0..x2).contains(&x) || !(0..y2).contains(&y) {
            return;
        }
        let at = (y as usize * self.size.width as usize + x as usize) * 3;
        for (sample, color) in self.data.iter_mut().skip(at).take(3).zip(color) {
            let mixed = f32::from(*sample) * (1.0 - opacity) + f32::from(color) * opacity;
            *sample = mixed.round() as u8;
        }
    }
}
