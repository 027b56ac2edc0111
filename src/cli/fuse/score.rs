//! `opticus fuse score`.

use std::path::PathBuf;

use clap::Args;
use opticus_pixels::Image8;
use opticus_pixels::quality;

use super::super::{Global, output};
use super::result::Figures;
use super::stack::read;
use crate::error::{Error, Result};

/// Options of `fuse score`.
#[derive(Args, Debug)]
pub struct ScoreArgs {
    /// The fused or restored picture.
    #[arg(value_name = "PICTURE")]
    pub picture: PathBuf,
    /// What it was made of; several with commas.
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    pub sources: Vec<PathBuf>,
    /// What it should be.
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
}

/// Runs `fuse score`.
pub fn run(args: &ScoreArgs, global: &Global) -> Result<()> {
    let image = |path: &PathBuf| read(path).map(|photo| photo.to_image8());
    let fused = image(&args.picture)?;
    let sources: Vec<Image8> = args.sources.iter().map(image).collect::<Result<_>>()?;
    let reference = args.reference.as_ref().map(image).transpose()?;
    let scores = quality::score(&fused, &sources, reference.as_ref())
        .map_err(|e| Error::Input(format!("{}: {e}", args.picture.display())))?;
    let figures = Figures::from(scores);
    if global.json {
        return output::json(&figures);
    }
    figures
        .rows()
        .into_iter()
        .try_for_each(|(name, value, digits)| output::line(&format!("{name:<20} {value:.digits$}")))
}
