//! Pictures to boxes: the job of finding every object and scoring what was found.

pub mod metrics;
pub mod score;
