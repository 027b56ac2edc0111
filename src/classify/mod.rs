//! Pictures to labels.

pub mod explain;
pub mod metrics;
pub mod report;
