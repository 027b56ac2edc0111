//! YOLO: one text file a picture, `class x y width height` with the centre, as fractions of the picture's size; and
//! `data.yaml`, which names the classes and the folders of the parts.
//!
//! The labels of `…/images/…/a.jpg` lie in `…/labels/…/a.txt`, as Ultralytics has it; without a folder `images`,
//! beside the picture. A picture without a text file has no objects. Outlines (`class x y x y x y …`) are read as the
//! boxes around them, and a sixth number (a score) is passed over.

mod layout;
mod line;
mod write;
mod yaml;

pub(super) use layout::{open, recognise};
pub use line::{Line, parse_line};
pub use write::{write, write_yaml};
pub use yaml::{Yaml, parse as parse_yaml};
