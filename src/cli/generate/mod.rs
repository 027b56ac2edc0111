//! `opticus generate`: words and numbers into new pictures.

mod asked;
mod counter;
mod eval;
mod interpolate;
mod judge;
mod project;
mod sample;
mod train;

use clap::Subcommand;

use super::Global;
use crate::error::Result;

pub use interpolate::Interpolated;
pub use project::Projected;
pub use sample::Sampled;
pub use train::GeneratorTrained;

/// What to do with a generator.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train a generator and its discriminator on pictures.
    Train(Box<train::TrainArgs>),
    /// Draw pictures, each a function of its seed and of what is asked for.
    Sample(Box<sample::SampleArgs>),
    /// From one picture to the next, as an animation.
    Interpolate(Box<interpolate::InterpolateArgs>),
    /// Find the picture that a model draws most like a given one.
    Project(Box<project::ProjectArgs>),
    /// Measure a generator against real pictures.
    Eval(eval::EvalArgs),
}

/// Runs one verb.
pub fn run(verb: Verb, global: &Global) -> Result<()> {
    match verb {
        Verb::Train(args) => train::run(&args, global),
        Verb::Sample(args) => sample::run(&args, global),
        Verb::Interpolate(args) => interpolate::run(&args, global),
        Verb::Project(args) => project::run(&args, global),
        Verb::Eval(args) => eval::run(&args, global),
    }
}
