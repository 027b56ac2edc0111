//! How good fused pictures are, measured as `fuse score` measures them, on pairs that are made of photos.

use opticus_pixels::Image8;
use opticus_pixels::photo::Photo;
use opticus_pixels::quality;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::net::Rule;
use super::predict::Fuser;
use crate::error::{Error, Result};

/// Means over pairs of pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct FuseScores {
    /// Pairs measured.
    pub pairs: usize,
    /// MEF-SSIM against both pictures (Ma, Zeng and Wang, 2015), 0 to 1.
    pub mef_ssim: f64,
    /// How much of the pictures' edges is there (Xydeas and Petrović, 2000), 0 to 1.
    pub qabf: f64,
}

/// Measures a fuser on pairs of one size each.
///
/// # Errors
/// As [`Fuser::fuse`]; [`Error::Input`] for pictures that cannot be measured.
pub fn measure(fuser: &Fuser, pairs: &[[Image8; 2]], rule: Rule) -> Result<FuseScores> {
    let fused: Vec<Image8> = pairs.iter().map(|pair| fuse(fuser, pair, rule)).collect::<Result<_>>()?;
    let all: Vec<(f64, f64)> = pairs
        .par_iter()
        .zip(&fused)
        .map(|(pair, fused)| {
            let scores = quality::score(fused, pair, None).map_err(|e| Error::Input(e.to_string()))?;
            Ok((scores.mef_ssim.unwrap_or(f64::NAN), scores.qabf.unwrap_or(f64::NAN)))
        })
        .collect::<Result<_>>()?;
    let count = all.len().max(1) as f64;
    Ok(FuseScores {
        pairs: all.len(),
        mef_ssim: all.iter().map(|s| s.0).sum::<f64>() / count,
        qabf: all.iter().map(|s| s.1).sum::<f64>() / count,
    })
}

/// A pair of 8-bit pictures fused to one.
///
/// # Errors
/// As [`Fuser::fuse`].
pub fn fuse(fuser: &Fuser, pair: &[Image8; 2], rule: Rule) -> Result<Image8> {
    let photos = pair.each_ref().map(Photo::from_image8);
    let colour = fuser.fuse(&[&photos[0].colour, &photos[1].colour], rule)?;
    Ok(photos[0].with_colour(colour).to_image8())
}
