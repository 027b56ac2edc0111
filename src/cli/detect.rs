//! `opticus detect`: pictures to boxes.

mod score;

use clap::Subcommand;

use super::Global;
use crate::error::Result;

pub use score::ScoreArgs;

/// What to do with detections.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Score detections against what is there, as COCO or Pascal VOC does.
    Score(ScoreArgs),
}

/// Runs one verb.
pub fn run(verb: Verb, global: &Global) -> Result<()> {
    match verb {
        Verb::Score(args) => score::run(&args, global),
    }
}
