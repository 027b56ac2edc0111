//! Pictures with boxes: COCO's JSON, Pascal VOC's XML, YOLO's text; read, checked, written, converted.
//!
//! All become [`Annotated`]: boxes in continuous pixels of the upright picture, classes as indices from 0. What a
//! format adds of its own (masks, pose, truncation) is carried along as text and written again where the target has
//! a place for it. What is wrong with an annotation is a [`Fault`] that names its place; by
//! [`OpenOptions::on_bad_boxes`] it is left out and counted, or refused.

mod annotated;
pub mod augment;
pub mod coco;
mod convert;
mod fault;
mod gather;
pub mod labelmap;
mod open;
pub mod text;
pub mod voc;
pub mod yolo;

pub use annotated::{Annotated, Annotation, Picture};
pub use convert::convert;
pub use fault::{Fault, FaultKind, Faults};
pub use open::{Listing, OpenOptions, Splits, open, read, recognise};

#[cfg(test)]
mod tests;
