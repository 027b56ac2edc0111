//! Pictures to boxes: the job of finding every object and scoring what was found.

pub mod anchors;
pub mod coder;
pub mod matcher;
pub mod metrics;
pub mod score;
pub mod transform;
pub mod two_stage;
