//! COCO's JSON: instances (pictures, categories, boxes) and results (detections with scores).
//!
//! `bbox` is `[x, y, width, height]` in continuous pixels. Read as a stream: what is kept of an annotation is about
//! a hundred bytes, unless its further members (masks, attributes) are asked for. Polygons and run lengths are
//! passed over or carried along as they are written.

mod layout;
mod read;
mod results;
mod write;

pub(super) use layout::{open, recognise};
pub use read::{Category, Entry, Instances, Keep, PictureEntry, parse_instances, read_instances};
pub use results::{Detection, parse_results, read_results};
pub use write::{picture_numbers, write_instances, write_results};
