//! Images without tensors: planes, safe decoding, geometry, resizing, drawing.

pub mod adjust;
pub mod align;
pub mod blend;
pub mod codec;
pub mod collage;
pub mod draw;
pub mod features;
pub mod geometry;
pub mod image;
pub mod inpaint;
pub mod panorama;
pub mod photo;
pub mod preprocess;
pub mod propose;
pub mod pyramid;
pub mod quality;
pub mod resize;
pub mod segment;
pub mod suppress;

pub use geometry::{Box2d, Size};
pub use image::Image8;
pub use photo::{Depth, Photo};
