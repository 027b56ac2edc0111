//! `opticus fuse alpha`.

use clap::{Args, ValueEnum};
use opticus_pixels::Depth;
use opticus_pixels::blend::{Reduction, alpha8, reduce, weighted};
use opticus_pixels::photo::{Photo, to_display, to_light};
use opticus_pixels::preprocess::Planes;

use super::super::Global;
use super::blend_error;
use super::result::{OutArgs, Work};
use super::stack::{Stack, StackArgs, read_mask};
use crate::error::{Error, Result};
use crate::files::name_of;

/// Options of `fuse alpha`.
#[derive(Args, Debug)]
pub struct AlphaArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    #[command(flatten)]
    pub out: OutArgs,
    /// Of two pictures the first one's part: w·A + (1−w)·B.
    #[arg(long, value_name = "W", allow_negative_numbers = true, conflicts_with_all = ["weights", "mask", "by"])]
    pub weight: Option<f64>,
    /// A weight for each picture; brought to the sum 1.
    #[arg(long, value_name = "W,…", value_delimiter = ',', allow_negative_numbers = true, conflicts_with_all = ["mask", "by"])]
    pub weights: Vec<f64>,
    /// Mask of the first of two pictures: white shows the first, black the second, grey both.
    #[arg(long, value_name = "FILE", conflicts_with = "by")]
    pub mask: Option<std::path::PathBuf>,
    /// One value of all at every pixel.
    #[arg(long, value_name = "HOW")]
    pub by: Option<By>,
    /// Standard deviations from the mean beyond which a value is left out, with --by clipped-mean.
    #[arg(long, value_name = "X", default_value_t = 2.5)]
    pub sigma: f64,
    /// Add light instead of display values, as a camera would; --weight and --mask of the formula act on display values
    /// by default.
    #[arg(long)]
    pub linear: bool,
    /// Cut to the level below instead of rounding to the nearest, as NumPy's astype(uint8).
    #[arg(long, requires = "weight")]
    pub truncate: bool,
}

/// How one value is made of many.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum By {
    /// The mean.
    Mean,
    /// The middle one: what passes through the scene goes.
    Median,
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// Weights by principal components.
    Pca,
    /// The mean without outliers: the noise of a burst.
    ClippedMean,
}

/// Runs `fuse alpha`.
pub fn run(args: &AlphaArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    let mut stack = args.stack.read(2)?;
    let inputs: Vec<_> =
        stack.files.iter().zip(&stack.photos).map(|(f, p)| (name_of(f), p.to_image8())).collect();
    if args.linear {
        stack.photos.iter_mut().for_each(|p| to_light(&mut p.colour.data));
    }
    let mut photo = blended(args, &stack)?;
    if args.linear {
        to_display(&mut photo.colour.data);
    }
    let sources = inputs.iter().map(|(_, image)| image.clone()).collect();
    Work { title: "Alpha", inputs, sources, maps: Vec::new(), photo }.finish(&args.out, global)
}

fn blended(args: &AlphaArgs, stack: &Stack) -> Result<Photo> {
    let colours = stack.colours();
    let count = colours.len();
    let two = |what: &str| match count {
        2 => Ok(()),
        _ => Err(Error::Config(format!(
            "{what} is for two pictures, {count} are given; use --weights or --by"
        ))),
    };
    if let Some(by) = args.by {
        let how = match by {
            By::Mean => Reduction::Mean,
            By::Median => Reduction::Median,
            By::Max => Reduction::Max,
            By::Min => Reduction::Min,
            By::Pca => Reduction::Pca,
            By::ClippedMean => Reduction::SigmaClipped(args.sigma),
        };
        return Ok(stack.result(reduce(&colours, how).map_err(blend_error)?));
    }
    if let Some(path) = &args.mask {
        two("--mask")?;
        let mask = read_mask(path)?;
        mask.check(colours[0].size, "the pictures").map_err(blend_error)?;
        let data = colours[0].data.iter().zip(&colours[1].data).enumerate();
        let share = |i: usize| mask.data[i % mask.data.len()];
        let data = data.map(|(i, (a, b))| share(i) * a + (1.0 - share(i)) * b).collect();
        return Ok(stack.result(Planes { data, ..colours[0].clone() }));
    }
    if !args.weights.is_empty() {
        let sum: f64 = args.weights.iter().sum();
        if args.weights.len() != count || !sum.is_finite() || sum.abs() < 1e-9 {
            return Err(Error::Config(format!(
                "--weights: {} for {count} pictures with the sum {sum}; give one for each, of a sum other than 0",
                args.weights.len()
            )));
        }
        let weights: Vec<f64> = args.weights.iter().map(|w| w / sum).collect();
        return Ok(stack.result(weighted(&colours, &weights).map_err(blend_error)?));
    }
    if args.weight.is_some() {
        two("--weight")?;
    }
    let Some(weight) = args.weight.or((count == 2).then_some(0.5)) else {
        return Ok(stack.result(reduce(&colours, Reduction::Mean).map_err(blend_error)?));
    };
    let [a, b] = [&stack.photos[0], &stack.photos[1]];
    if a.depth == Depth::Eight && a.alpha.is_none() && b.alpha.is_none() && !args.linear {
        // Exact to the bit.
        let image = alpha8(&a.to_image8(), &b.to_image8(), weight, args.truncate).map_err(blend_error)?;
        return Ok(Photo { profile: a.profile.clone(), ..Photo::from_image8(&image) });
    }
    Ok(stack.result(weighted(&colours, &[weight, 1.0 - weight]).map_err(blend_error)?))
}
