//! `opticus classify`: pictures to labels.

mod eval;
mod explain;
mod predict;
mod train;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Global;
use crate::error::Result;

pub use eval::EvalArgs;
pub use explain::{ExplainArgs, Explanations};
pub use predict::{PredictArgs, Predictions};
pub use train::{TrainArgs, TrainResult};

/// What to do with a classifier.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train a classifier on labelled pictures.
    Train(Box<TrainArgs>),
    /// Measure a classifier on labelled pictures.
    Eval(EvalArgs),
    /// Say what is in pictures.
    Predict(PredictArgs),
    /// Show where the network looked, and how far that explains its answer.
    Explain(ExplainArgs),
}

/// A labelled data set.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Data set: folder of class folders, MNIST/Fashion IDX folder, CIFAR binary folder, or CSV of path,label.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Kind of data set; recognised when left out.
    #[arg(long, value_name = "KIND")]
    pub format: Option<crate::data::Format>,
    /// Part of the training pictures set aside to choose the best model, 0 to 1; by default 0.1 where the data
    /// set has no validation part of its own.
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub val_split: Option<f64>,
    /// Seed of everything random: split, initial weights, order, augmentation, dropout.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What to do with a picture that cannot be read.
    #[arg(long, value_name = "WHAT")]
    pub on_bad: Option<crate::data::OnBad>,
}

/// Runs one verb.
pub fn run(verb: Verb, global: &Global) -> Result<()> {
    match verb {
        Verb::Train(args) => train::run(*args, global),
        Verb::Eval(args) => eval::run(&args, global),
        Verb::Predict(args) => predict::run(&args, global),
        Verb::Explain(args) => explain::run(&args, global),
    }
}
