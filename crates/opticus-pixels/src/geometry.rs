//! Sizes and boxes, defined once.

mod box2d;

pub use box2d::Box2d;
use serde::{Deserialize, Serialize};

/// Extent of a picture in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// A size from width and height.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Number of pixels.
    pub const fn area(self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

/// How a picture lies in a frame of another size: scaled first, then moved. Says where a point of one is in the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The picture as it is.
    pub picture: Size,
    /// The picture when scaled; far sides stop at `u32::MAX`.
    pub scaled: Size,
    /// The frame, usually a network's input.
    pub frame: Size,
    /// Column of the frame at which the scaled picture begins; negative where it is cropped.
    pub x: i64,
    /// Row of the frame at which the scaled picture begins; negative where it is cropped.
    pub y: i64,
}

impl Placement {
    /// Where a point of the frame lies in the picture. Points are continuous: (0, 0) is the top left corner of the
    /// top left pixel.
    pub fn to_picture(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [sx, sy] = self.scale();
        [(x - self.x as f64) / sx, (y - self.y as f64) / sy]
    }

    /// Where a point of the picture lies in the frame.
    pub fn to_frame(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [sx, sy] = self.scale();
        [x * sx + self.x as f64, y * sy + self.y as f64]
    }

    /// Pixels of the frame to one of the picture, along x and y.
    pub fn scale(&self) -> [f64; 2] {
        let ratio = |scaled: u32, have: u32| f64::from(scaled) / f64::from(have.max(1));
        [ratio(self.scaled.width, self.picture.width), ratio(self.scaled.height, self.picture.height)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_go_to_the_frame_and_back() {
        let placement = Placement {
            picture: Size::new(40, 20),
            scaled: Size::new(20, 10),
            frame: Size::new(20, 20),
            x: 0,
            y: 5,
        };
        assert_eq!(placement.to_frame([40.0, 20.0]), [20.0, 15.0]);
        assert_eq!(placement.to_picture([20.0, 15.0]), [40.0, 20.0]);
        assert_eq!(placement.to_picture([0.0, 0.0]), [0.0, -10.0]);
    }
}
