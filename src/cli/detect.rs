//! `opticus detect`: pictures to boxes.

mod eval;
mod predict;
mod propose;
mod score;
mod train;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::Global;
use crate::detect::Detector;
use crate::detect::proposal_file::Proposals;
use crate::error::Result;

pub use eval::{EvalArgs, Evaluated};
pub use predict::PredictArgs;
pub use propose::{ProposeArgs, ProposedRegions};
pub use score::ScoreArgs;
pub use train::{TrainArgs, TrainResult};

/// What to do with detections.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train a detector on pictures with boxes.
    Train(Box<TrainArgs>),
    /// Measure a detector on pictures with boxes.
    Eval(EvalArgs),
    /// Find objects in pictures: boxes as text, as data, drawn.
    Predict(PredictArgs),
    /// Find regions that may hold objects, and measure how many objects they cover.
    Propose(ProposeArgs),
    /// Score detections against what is there, as COCO or Pascal VOC does.
    Score(ScoreArgs),
}

/// A data set with boxes.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Data set with boxes: COCO instances (.json, or a folder with annotations/), Pascal VOC, YOLO.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Kind of data set; recognised when left out.
    #[arg(long, value_name = "KIND")]
    pub format: Option<crate::data::Format>,
    /// Part of the training pictures set aside to choose the best model, 0 to 1; by default 0.2 where the data set has
    /// no validation part of its own.
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub val_split: Option<f64>,
    /// Seed of everything random: split, initial weights, order, augmentation, choice of regions.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// Runs one verb.
pub fn run(verb: Verb, global: &Global) -> Result<()> {
    match verb {
        Verb::Train(args) => train::run(*args, global),
        Verb::Eval(args) => eval::run(&args, global),
        Verb::Predict(args) => predict::run(&args, global),
        Verb::Propose(args) => propose::run(&args, global),
        Verb::Score(args) => score::run(&args, global),
    }
}

/// The regions of a file, for a detector that takes them.
fn proposals_for(detector: &Detector, file: Option<&Path>) -> Result<Option<Proposals>> {
    let Some(file) = file else { return Ok(None) };
    detector.config().check_takes_proposals()?;
    Proposals::read(file).map(Some)
}
