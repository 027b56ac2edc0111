//! `opticus fuse exposure`.

use clap::Args;
use opticus_pixels::blend::{Deghost, Exposure, Extended, Weights, fuse_exposures, stretch};

use super::super::Global;
use super::blend_error;
use super::result::{OutArgs, Work};
use super::stack::StackArgs;
use crate::error::{Error, Result};
use crate::files::name_of;

/// Options of `fuse exposure`.
#[derive(Args, Debug)]
pub struct ExposureArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    #[command(flatten)]
    pub out: OutArgs,
    /// Power of the measure of contrast.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub contrast: f64,
    /// Power of the measure of saturation.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub saturation: f64,
    /// Power of the measure of well-exposedness.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub exposedness: f64,
    /// Levels of the pyramid; by default down to a pixel or two.
    #[arg(long, value_name = "N")]
    pub levels: Option<usize>,
    /// Levels and borders as OpenCV's MergeMertens has them, instead of Mertens' own.
    #[arg(long, conflicts_with = "levels")]
    pub opencv: bool,
    /// The extended variant (Hessel and Morel 2020), against halos and washed-out ranges.
    #[arg(long)]
    pub extended: bool,
    /// Leave out of each picture what moved since the reference.
    #[arg(long)]
    pub deghost: bool,
    /// Stretch the result so that this many per cent of the pixels become white, and as many black; 0 keeps the range.
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub stretch: Option<f64>,
}

/// Runs `fuse exposure`.
pub fn run(args: &ExposureArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    if args.stretch.is_some_and(|p| !(0.0..=50.0).contains(&p)) {
        return Err(Error::Config("--stretch: give 0 to 50 per cent".to_owned()));
    }
    let stack = args.stack.read(2)?;
    let reference = args.stack.reference_of(stack.photos.len());
    let usual = match args.opencv {
        true => Exposure::like_opencv(stack.photos[0].size()),
        false => Exposure { levels: args.levels, ..Exposure::default() },
    };
    let options = Exposure {
        weights: Weights {
            contrast: args.contrast,
            saturation: args.saturation,
            exposedness: args.exposedness,
            ..Weights::default()
        },
        levels: usual.levels,
        border: usual.border,
        extended: args.extended.then(Extended::default),
        deghost: args.deghost.then(|| Deghost { reference: Some(reference), ..Deghost::default() }),
    };
    let (mut colour, shares) = fuse_exposures(&stack.colours(), &options).map_err(blend_error)?;
    if let Some(percent) = args.stretch {
        stretch(&mut colour, percent, percent);
    }
    let photo = stack.result(colour);
    let inputs: Vec<_> =
        stack.files.iter().zip(&stack.photos).map(|(f, p)| (name_of(f), p.to_image8())).collect();
    let maps = stack.files.iter().map(|f| name_of(f)).zip(shares).collect();
    let sources = inputs.iter().map(|(_, image)| image.clone()).collect();
    Work { title: "Exposure fusion", inputs, sources, maps, photo }.finish(&args.out, global)
}
