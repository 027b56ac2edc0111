//! The job: making pictures. So far, how good made pictures are.

pub mod metrics;
