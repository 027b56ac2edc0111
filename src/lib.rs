//! Opticus: recognise and create images.
//!
//! The public surface is small: one noun per job ([`classify::Classifier`] for now). See `ARCHITECTURE.md`
//! for the rooms and which may import which.

pub mod bundle;
pub mod classify;
pub mod cli;
pub mod data;
pub mod detect;
pub mod error;
pub mod files;
pub mod fuse;
pub mod generate;
pub mod nets;
pub mod report;
pub mod settings;
pub mod tensors;
pub mod train;

pub use error::{Error, Result};
