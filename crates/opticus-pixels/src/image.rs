//! The 8-bit picture that the jobs work on.

use crate::geometry::Size;

/// An 8-bit sRGB or grey picture, rows top to bottom, channels interleaved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image8 {
    /// Extent in pixels; never zero in either direction.
    pub size: Size,
    /// 1 (grey), 3 (RGB) or 4 (RGBA, straight alpha).
    pub channels: usize,
    /// `height * width * channels` samples, 0..=255.
    pub data: Vec<u8>,
}
