//! Images without tensors: planes, safe decoding, geometry, resizing, drawing.

pub mod geometry;
pub mod image;

pub use geometry::Size;
pub use image::Image8;
