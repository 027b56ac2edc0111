//! Pictures to labels.
