//! `opticus classify`: pictures to labels.

use std::path::PathBuf;

use clap::Subcommand;

use super::Global;
use crate::error::Result;

/// What to do with a model file.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show the card of a model file.
    Info {
        /// Model file.
        #[arg(value_name = "FILE")]
        model: PathBuf,
    },
}

/// Runs one verb.
pub fn run(_verb: Verb, _global: &Global) -> Result<()> {
    Ok(())
}
