//! Pictures to boxes: the job of finding every object and scoring what was found.
//!
//! [`Detector`] is the noun: `Detector::load(path, &device)?.detect(&image)?`.

pub mod anchors;
pub mod coder;
pub mod config;
pub mod dataset;
pub mod import;
pub mod learner;
pub mod loss;
pub mod matcher;
pub mod metrics;
pub mod net;
pub mod one_stage;
pub mod output;
pub mod predict;
pub mod proposal_file;
pub mod proposals;
pub mod recall;
pub mod regions;
pub mod report;
pub mod score;
pub mod suppression;
pub mod tile;
pub mod training;
pub mod transform;
pub mod two_stage;

pub use predict::Detector;

/// The job's name in a model file's card.
pub const JOB: &str = "detect";
