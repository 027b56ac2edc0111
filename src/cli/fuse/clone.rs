//! `opticus fuse clone`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use opticus_pixels::blend::{Gradients, change_colour, change_illumination, clone_into};
use opticus_pixels::preprocess::Planes;

use super::super::Global;
use super::blend_error;
use super::result::{OutArgs, Work};
use super::stack::{alike, read, read_mask};
use crate::error::{Error, Result};
use crate::files::name_of;

/// Options of `fuse clone`.
#[derive(Args, Debug)]
pub struct CloneArgs {
    /// SOURCE MASK TARGET; or PICTURE MASK with --colour or --illumination. The mask has the source's size; what is not
    /// black in it is cloned.
    #[arg(required = true, num_args = 2..=3, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where in the target the source's top left pixel comes to lie: columns to the right, rows down. May be negative.
    #[arg(long, value_name = "X,Y", default_value = "0,0", allow_hyphen_values = true)]
    pub at: Place,
    /// Which gradients the cloned region gets.
    #[arg(long, value_name = "WHICH", default_value = "import")]
    pub gradients: Which,
    /// Change the masked region's colour instead: factors of red, green and blue.
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', conflicts_with = "illumination")]
    pub colour: Vec<f32>,
    /// Even out the masked region's light instead; 0.2,0.2 are the paper's alpha and beta.
    #[arg(long, value_name = "ALPHA,BETA", value_delimiter = ',')]
    pub illumination: Vec<f32>,
    #[command(flatten)]
    pub out: OutArgs,
}

/// Columns and rows.
#[derive(Clone, Copy, Debug)]
pub struct Place([i64; 2]);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = || {
            let (x, y) = text.split_once(',')?;
            let number = |t: &str| t.trim().parse::<i32>().ok().map(i64::from);
            Some(Self([number(x)?, number(y)?]))
        };
        place().ok_or_else(|| "give two whole numbers, such as -30,40".to_owned())
    }
}

/// Which gradients are taken along.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Which {
    /// The source's.
    Import,
    /// The stronger of source and target: for what has holes or is transparent.
    Mixed,
    /// The source's luma: texture without colour.
    Monochrome,
}

/// Runs `fuse clone`.
pub fn run(args: &CloneArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    let counts = [("--colour", args.colour.len(), 3), ("--illumination", args.illumination.len(), 2)];
    if let Some((name, given, wanted)) =
        counts.into_iter().find(|(_, given, wanted)| *given != 0 && given != wanted)
    {
        return Err(Error::Config(format!("{name}: {given} values; give {wanted} with commas")));
    }
    let mask = read_mask(&args.files[1])?;
    let shown_mask = Planes { channels: 1, size: mask.size, data: mask.data.clone() };
    let maps = vec![(name_of(&args.files[1]), shown_mask)];
    let changes = !args.colour.is_empty() || !args.illumination.is_empty();
    let [first, rest @ ..] = &args.files[..] else {
        return Err(Error::Config("give SOURCE MASK TARGET".to_owned()));
    };
    match (rest.get(1), changes) {
        (Some(_), true) => {
            return Err(Error::Config(
                "--colour and --illumination take PICTURE MASK, and no target".to_owned(),
            ));
        }
        (None, false) => {
            return Err(Error::Config("give SOURCE MASK TARGET: into what is the source cloned?".to_owned()));
        }
        _ => {}
    }
    let mut photos = vec![read(first)?];
    if let Some(target) = rest.get(1) {
        photos.push(read(target)?);
    }
    alike(&mut photos);
    let last = photos.len() - 1;
    let colour = match (&args.colour[..], &args.illumination[..], &photos[..]) {
        (&[r, g, b], _, [picture, ..]) => change_colour(&picture.colour, &mask, [r, g, b]),
        (_, &[alpha, beta], [picture, ..]) => change_illumination(&picture.colour, &mask, alpha, beta),
        (_, _, [source, target, ..]) => {
            let gradients = match args.gradients {
                Which::Import => Gradients::Import,
                Which::Mixed => Gradients::Mixed,
                Which::Monochrome => Gradients::Monochrome,
            };
            clone_into(&source.colour, &mask, &target.colour, args.at.0, gradients)
        }
        _ => return Err(Error::Config("give SOURCE MASK TARGET, or PICTURE MASK".to_owned())),
    };
    let photo = photos[last].with_colour(colour.map_err(blend_error)?);
    let names = [Some(first), rest.get(1)].into_iter().flatten().map(|f| name_of(f));
    let inputs: Vec<_> = names.zip(&photos).map(|(name, p)| (name, p.to_image8())).collect();
    let sources = vec![photos[last].to_image8()];
    Work { title: "Seamless cloning", inputs, sources, maps, photo }.finish(&args.out, global)
}
