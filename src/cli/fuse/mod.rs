//! `opticus fuse`: several pictures into one better picture.

mod alpha;
mod clone;
mod collage;
mod exposure;
mod features;
mod focus;
mod inpaint;
mod multiband;
mod panorama;
mod result;
mod score;
mod stack;
mod train;
mod transform;

use clap::Subcommand;

use super::Global;
use crate::error::{Error, Result};

pub use panorama::Stitched;
pub use result::{Figures, Fused};
pub use train::FuserTrained;

/// How to make one picture of several.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Weighted sum, mean, median, greatest or least value, principal component, mean without outliers.
    Alpha(alpha::AlphaArgs),
    /// Along masks, or a seam that is found: wide transitions for coarse structure, narrow ones for fine.
    Multiband(multiband::MultibandArgs),
    /// A bracketed sequence into one picture in which everything is well exposed.
    Exposure(exposure::ExposureArgs),
    /// Pictures focused at different depths into one that is sharp everywhere.
    Focus(focus::FocusArgs),
    /// A cut-out into a scene, without a visible seam; also the colour or the light of a region changed.
    Clone(clone::CloneArgs),
    /// Pictures of a turning camera joined into one wide one.
    Panorama(panorama::PanoramaArgs),
    /// Scratches, dates and objects under a mask replaced by what the rest of the picture suggests.
    Inpaint(inpaint::InpaintArgs),
    /// Many pictures on one sheet: rows, a grid, a mosaic that shows another picture, a puzzle.
    Collage(collage::CollageArgs),
    /// Pictures that show different things of one scene, such as infrared and visible: their strongest details.
    Transform(transform::TransformArgs),
    /// The strongest details by features that a network learnt from photos.
    Features(features::FeaturesArgs),
    /// Train a network for `features` on any photos.
    Train(Box<train::TrainArgs>),
    /// Measure a fused picture, against its sources or a reference.
    Score(score::ScoreArgs),
}

/// Runs one verb.
pub fn run(verb: Verb, global: &Global) -> Result<()> {
    match verb {
        Verb::Alpha(args) => alpha::run(&args, global),
        Verb::Multiband(args) => multiband::run(&args, global),
        Verb::Exposure(args) => exposure::run(&args, global),
        Verb::Focus(args) => focus::run(&args, global),
        Verb::Clone(args) => clone::run(&args, global),
        Verb::Panorama(args) => panorama::run(&args, global),
        Verb::Inpaint(args) => inpaint::run(&args, global),
        Verb::Collage(args) => collage::run(&args, global),
        Verb::Transform(args) => transform::run(&args, global),
        Verb::Features(args) => features::run(&args, global),
        Verb::Train(args) => train::run(&args, global),
        Verb::Score(args) => score::run(&args, global),
    }
}

/// By who can mend it.
fn blend_error(error: opticus_pixels::blend::BlendError) -> Error {
    use opticus_pixels::blend::BlendError;
    match error {
        BlendError::Option(_) => Error::Config(error.to_string()),
        _ => Error::Input(error.to_string()),
    }
}
