//! Pascal VOC: one XML file a picture, lists of pictures in `ImageSets/Main`.
//!
//! Pixels are counted from 1 and the box's last pixel is inside it, so that `xmin` 1, `xmax` 10 is ten pixels wide:
//! in continuous edges 0 to 10. A box whose `xmin` equals its `xmax` would be one pixel wide by the letter; tools
//! write it for a click without a drag, and it counts as having no width.

mod layout;
mod write;
mod xml;

pub(super) use layout::{open, recognise};
pub use write::write;
pub use xml::{VocFile, VocObject, parse};
