//! Pictures to labels.
pub mod metrics;
