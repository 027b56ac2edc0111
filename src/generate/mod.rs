//! Words and numbers into new pictures: generative adversarial networks.
//!
//! [`Generator`] is the noun: `Generator::load(path, &device)?.sample(&requests)?`.

pub mod augment;
pub mod cells;
pub mod condition;
pub mod config;
pub mod dataset;
pub mod evaluation;
pub mod evidence;
pub mod extractor;
pub mod interpolate;
pub mod learner;
pub mod loss;
pub mod matching;
pub mod metrics;
pub mod net;
pub mod predict;
pub mod prepare;
pub mod project;
pub mod recipe;
pub mod report;
pub mod seeds;
pub mod sheet;
pub mod text;
pub mod training;
pub mod watch;

pub use condition::{Condition, Wish};
pub use predict::{Generator, Request};
pub use recipe::{Ask, Recipe};
pub use seeds::Seeds;

/// The job's name in a model file's card.
pub const JOB: &str = "generate";
