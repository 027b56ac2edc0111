//! `opticus fuse inpaint`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use opticus_pixels::inpaint::{Exemplar, Method, Options, inpaint};
use opticus_pixels::preprocess::Planes;

use super::super::Global;
use super::result::{OutArgs, Work};
use super::stack::{read, read_mask};
use crate::error::{Error, Result};
use crate::files::name_of;

/// Options of `fuse inpaint`.
#[derive(Args, Debug)]
pub struct InpaintArgs {
    /// The damaged picture.
    #[arg(value_name = "PICTURE")]
    pub picture: PathBuf,
    /// What is not black is restored.
    #[arg(value_name = "MASK")]
    pub mask: PathBuf,
    #[command(flatten)]
    pub out: OutArgs,
    /// How.
    #[arg(long, value_name = "HOW", default_value = "predictive")]
    pub method: How,
    /// Neighbourhood of the march in pixels.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub radius: u32,
    /// Side of a patch in pixels, an odd number, for exemplar.
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub patch: usize,
    /// Another seed gives another completion by patches.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// How lost pixels are filled.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum How {
    /// Predicted from neighbours with weights learnt around: the best for scratches, dates, text.
    Predictive,
    /// From the rim inwards (Telea 2004): the fastest.
    March,
    /// The surface of least slope.
    Harmonic,
    /// The surface of least bending.
    Biharmonic,
    /// Patches from elsewhere in the picture: for objects and texture.
    Exemplar,
}

/// Runs `fuse inpaint`.
pub fn run(args: &InpaintArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    let photo = read(&args.picture)?;
    let mask = read_mask(&args.mask)?;
    mask.check(photo.size(), "the picture").map_err(super::blend_error)?;
    let method = match args.method {
        How::Predictive => Method::Predictive,
        How::March => Method::FastMarching { radius: args.radius },
        How::Harmonic => Method::Harmonic,
        How::Biharmonic => Method::Biharmonic,
        How::Exemplar => {
            Method::Exemplar(Exemplar { patch: args.patch, seed: args.seed, ..Exemplar::default() })
        }
    };
    let restored = inpaint(&photo.colour, &mask.inside(), &Options { method })
        .map_err(|e| Error::Input(format!("{}: {e}", args.picture.display())))?;
    let inputs = vec![(name_of(&args.picture), photo.to_image8())];
    let maps = vec![(name_of(&args.mask), Planes { channels: 1, size: mask.size, data: mask.data })];
    let photo = photo.with_colour(restored);
    Work { title: "Restoration", inputs, sources: Vec::new(), maps, photo }.finish(&args.out, global)
}
