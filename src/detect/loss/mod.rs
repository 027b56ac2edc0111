//! What detectors are trained by.

pub mod multibox;
pub mod regions;
