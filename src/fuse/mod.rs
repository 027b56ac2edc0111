//! Several pictures into one better picture by learnt features: infrared with visible, different exposures, different
//! focus, different scanners. What needs no learning is in [`opticus_pixels::blend`].
//!
//! [`Fuser`] is the noun: `Fuser::builtin(&device)?.fuse(&pictures, Rule::Max)?`.

pub mod config;
pub mod dataset;
pub mod learner;
pub mod loss;
pub mod metrics;
pub mod net;
pub mod predict;
pub mod report;
pub mod training;

pub use net::Rule;
pub use predict::Fuser;

/// The job's name in a model file's card.
pub const JOB: &str = "fuse";
