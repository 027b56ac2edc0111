//! What detectors are trained by.

pub mod regions;
