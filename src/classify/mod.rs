//! Pictures to labels.
//!
//! [`Classifier`] is the noun: `Classifier::load(path, &device)?.classify(&image)?`.

pub mod config;
pub mod dataset;
pub mod explain;
pub mod import;
pub mod learner;
pub mod loss;
pub mod metrics;
pub mod net;
pub mod predict;
pub mod report;
pub mod training;

pub use predict::{Classifier, Prediction};

/// The job's name in a model file's card.
pub const JOB: &str = "classify";
