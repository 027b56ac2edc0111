//! `opticus generate`: words and numbers into new pictures.

mod train;

use clap::Subcommand;

use super::Global;
use crate::error::Result;

pub use train::GeneratorTrained;

/// What to do with a generator.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train a generator and its discriminator on pictures.
    Train(Box<train::TrainArgs>),
}

/// Runs one verb.
pub fn run(verb: Verb, global: &Global) -> Result<()> {
    match verb {
        Verb::Train(args) => train::run(&args, global),
    }
}
