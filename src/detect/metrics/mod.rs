//! How good detections are: COCO's twelve figures and VOC's average precision, as the reference tools give them.
//!
//! [`coco()`] is COCOeval of pycocotools 2.0 for boxes, [`voc()`] is the VOC development kit's evaluation with the
//! 11-point area of 2007 or the whole area under the curve since 2010. Both are pure functions of numbers: pictures
//! and classes are indices. Classes and pictures are judged in parallel and brought together in order, so that the
//! figures do not depend on the number of threads.

mod coco;
mod curve;
pub mod errors;
mod gather;
mod scores;
mod voc;

#[cfg(test)]
mod definition;
#[cfg(test)]
mod tests;

pub use coco::{AREAS, CocoOptions, CocoSummary, coco};
pub use curve::{Curve, Threshold};
pub use scores::{ClassScores, DetectScores, Style};
pub use voc::{Area, Corners, VocOptions, VocSummary, voc};

/// An object that is in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// Which picture; pictures in the order of their numbers decide between equal scores.
    pub image: u32,
    /// Which class.
    pub class: u32,
    /// Left, top, width and height in pixels, continuous.
    pub bbox: [f64; 4],
    /// The object's own area in square pixels, which chooses its range of sizes: its mask's where there is one.
    pub area: f64,
    /// A region of many objects: detections in it are neither right nor wrong.
    pub crowd: bool,
    /// VOC's mark: may be missed, and finding it is neither right nor wrong. COCO knows no such mark.
    pub difficult: bool,
    /// pycocotools takes an annotation with the number 0 for "no match": a detection matched with it counts as
    /// wrong. Its figures do so, and so must ours; number annotations from 1.
    pub number_zero: bool,
}

/// An object that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// In which picture.
    pub image: u32,
    /// Of which class.
    pub class: u32,
    /// Left, top, width and height in pixels, continuous.
    pub bbox: [f64; 4],
    /// How sure the detector is: any number that is not NaN.
    pub score: f64,
}
