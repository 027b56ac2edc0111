//! How good a fused or restored picture is: measures without a reference, against the sources, and against a reference.
//!
//! | measure | better | source |
//! |---|---|---|
//! | entropy, bits | more | Shannon 1948, of 256 levels |
//! | standard deviation, levels | more | of luma |
//! | spatial frequency, levels | more | Eskicioglu and Fisher 1995, "Image Quality Measures and Their Performance" |
//! | average gradient, levels | more | mean of √((Δx² + Δy²) / 2) |
//! | mutual information, bits | more | Qu, Zhang and Yan 2002, the sum over the sources |
//! | Q^AB/F, 0 to 1 | more | Xydeas and Petrović 2000, "Objective Image Fusion Performance Measure" |
//! | MEF-SSIM, to 1 | more | Ma, Zeng and Wang 2015, "Perceptual Quality Assessment for Multi-Exposure Image Fusion" |
//! | PSNR, dB | more | of 8-bit levels |
//! | SSIM, to 1 | more | Wang, Bovik, Sheikh and Simoncelli 2004 |
//! | MS-SSIM, to 1 | more | Wang, Simoncelli and Bovik 2003 |
//! | VIF | more | Sheikh and Bovik 2006, in the pixel domain |
//!
//! All are of 8-bit levels of luma, but PSNR and SSIM, which are of all channels where both pictures have the same.

mod edges;
mod levels;
mod mef;
mod similarity;
mod vif;
mod window;

use edges::qabf;
use levels::{average_gradient, spatial_frequency};
pub use levels::{entropy, mutual_information, psnr, standard_deviation};
use mef::mef_ssim;
pub use similarity::{ms_ssim, ssim};
pub use vif::vif;

use rayon::prelude::*;
use serde::Serialize;

use crate::codec::ColorMode;
use crate::geometry::Size;
use crate::image::Image8;

/// Measures of one picture; those that do not apply are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Bits a pixel.
    pub entropy: f64,
    /// With the sources, in bits, summed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutual_information: Option<f64>,
    /// How much of the sources' edges is there, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qabf: Option<f64>,
    /// Against the reference; without one, the mean over the sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssim: Option<f64>,
    /// As `ssim`, at five scales; for pictures of at least 176 pixels a side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms_ssim: Option<f64>,
    /// Against the sources together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mef_ssim: Option<f64>,
    /// In dB, against the reference; without one, the mean over the sources. Missing for equal pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr: Option<f64>,
    /// In levels.
    pub spatial_frequency: f64,
    /// In levels.
    pub average_gradient: f64,
    /// In levels.
    pub standard_deviation: f64,
    /// Against the reference; without one, the mean over the sources. For pictures of at least 41 pixels a side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vif: Option<f64>,
}

/// Why pictures cannot be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QualityError {
    /// Another size.
    #[error("{what} is {}x{}, the picture to be scored {}x{}; they must be of one size", size.width, size.height, own.width, own.height)]
    Size {
        /// Which picture.
        what: String,
        /// Its size.
        size: Size,
        /// The fused picture's.
        own: Size,
    },
}

/// Luma of a picture in levels, 0 to 255.
#[derive(Clone, Debug)]
pub(crate) struct Luma {
    pub size: Size,
    pub data: Vec<u8>,
}

impl Luma {
    fn of(image: &Image8) -> Self {
        let grey = image.to_mode(ColorMode::Grey);
        Self { size: grey.size, data: grey.data }
    }

    fn values(&self) -> Vec<f64> {
        self.data.iter().map(|v| f64::from(*v)).collect()
    }
}

/// The measures that take no time: of the picture itself, and Q^AB/F and mutual information with its sources.
///
/// # Errors
/// [`QualityError`] for pictures of different sizes.
pub fn brief(fused: &Image8, sources: &[Image8]) -> Result<Scores, QualityError> {
    check(fused, sources, None)?;
    let own = Luma::of(fused);
    let lumas: Vec<Luma> = sources.par_iter().map(Luma::of).collect();
    let several = !lumas.is_empty();
    Ok(Scores {
        entropy: entropy(&own.data),
        mutual_information: several.then(|| information(&lumas, &own)),
        qabf: several.then(|| qabf(&lumas, &own)),
        spatial_frequency: spatial_frequency(&own),
        average_gradient: average_gradient(&own),
        standard_deviation: standard_deviation(&own.data),
        ..Scores::default()
    })
}

fn information(sources: &[Luma], own: &Luma) -> f64 {
    sources.par_iter().map(|s| mutual_information(&s.data, &own.data)).collect::<Vec<f64>>().iter().sum()
}

fn check(fused: &Image8, sources: &[Image8], reference: Option<&Image8>) -> Result<(), QualityError> {
    let named = sources.iter().enumerate().map(|(i, s)| (format!("source {}", i + 1), s));
    for (what, other) in named.chain(reference.map(|r| ("the reference".to_owned(), r))) {
        if other.size != fused.size {
            return Err(QualityError::Size { what, size: other.size, own: fused.size });
        }
    }
    Ok(())
}

/// All measures that apply.
///
/// # Errors
/// [`QualityError`] for pictures of different sizes.
pub fn score(fused: &Image8, sources: &[Image8], reference: Option<&Image8>) -> Result<Scores, QualityError> {
    check(fused, sources, reference)?;
    let own = Luma::of(fused);
    let lumas: Vec<Luma> = sources.par_iter().map(Luma::of).collect();
    let against: Vec<&Image8> = reference.map_or_else(|| sources.iter().collect(), |r| vec![r]);
    let mean = |measure: &(dyn Fn(&Image8) -> Option<f64> + Sync)| {
        let values: Option<Vec<f64>> = against.iter().map(|other| measure(other)).collect();
        values.filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
    };
    let several = !lumas.is_empty();
    let ((similar, (scales, seen)), edges_and_exposures) = rayon::join(
        || {
            let similar = mean(&|other| by_channel(fused, other, ssim));
            let scales = mean(&|other| ms_ssim(&Luma::of(other).values(), &own.values(), own.size));
            (similar, (scales, mean(&|other| vif(&Luma::of(other).values(), &own.values(), own.size))))
        },
        || (brief(fused, sources), several.then(|| mef_ssim(&lumas, &own)).flatten()),
    );
    let (brief, mef_ssim) = edges_and_exposures;
    Ok(Scores {
        ssim: similar,
        ms_ssim: scales,
        mef_ssim,
        psnr: mean(&|other| {
            let (a, b) = comparable(fused, other);
            psnr(&a.data, &b.data)
        }),
        vif: seen,
        ..brief?
    })
}

/// Both as they are if they have the same colour channels, else their lumas. Alpha does not count.
fn comparable(a: &Image8, b: &Image8) -> (Image8, Image8) {
    let mode = if a.channels >= 3 && b.channels >= 3 { ColorMode::Rgb } else { ColorMode::Grey };
    (a.to_mode(mode), b.to_mode(mode))
}

/// The mean of a measure over pairs of channels.
fn by_channel(a: &Image8, b: &Image8, measure: impl Fn(&[f64], &[f64], Size) -> Option<f64>) -> Option<f64> {
    let (a, b) = comparable(a, b);
    let plane = |image: &Image8, c: usize| -> Vec<f64> {
        image.data.iter().skip(c).step_by(image.channels).map(|v| f64::from(*v)).collect()
    };
    let values: Option<Vec<f64>> =
        (0..a.channels).map(|c| measure(&plane(&a, c), &plane(&b, c), a.size)).collect();
    values.map(|v| v.iter().sum::<f64>() / v.len().max(1) as f64)
}
