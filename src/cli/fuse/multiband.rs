//! `opticus fuse multiband`.

use std::path::PathBuf;

use clap::Args;
use opticus_pixels::blend::{Mask, multiband, seam};

use super::super::Global;
use super::blend_error;
use super::result::{OutArgs, Work};
use super::stack::{StackArgs, read_mask};
use crate::error::{Error, Result};
use crate::files::name_of;

/// Options of `fuse multiband`.
#[derive(Args, Debug)]
pub struct MultibandArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    #[command(flatten)]
    pub out: OutArgs,
    /// Masks: one for two pictures (white shows the first), or one for each picture. Without, two pictures meet along the
    /// seam where they differ least.
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    pub mask: Vec<PathBuf>,
    /// Levels of the pyramid: the more, the wider the transition of coarse structure.
    #[arg(long, value_name = "N")]
    pub levels: Option<usize>,
}

/// Runs `fuse multiband`.
pub fn run(args: &MultibandArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    let stack = args.stack.read(2)?;
    let colours = stack.colours();
    let opposite = |mask: &Mask| Mask { size: mask.size, data: mask.data.iter().map(|v| 1.0 - v).collect() };
    let masks: Vec<Mask> = match (&args.mask[..], colours.len()) {
        ([], 2) => {
            let valid: Vec<Option<Vec<bool>>> = stack
                .photos
                .iter()
                .map(|p| p.alpha.as_ref().map(|alpha| alpha.iter().map(|a| *a > 0.0).collect()))
                .collect();
            let sides = match &valid[..] {
                [Some(a), Some(b)] => Some([&a[..], &b[..]]),
                _ => None,
            };
            let mask = seam(colours[0], colours[1], sides).map_err(blend_error)?;
            let other = match sides {
                // Where neither is, nothing is meant.
                Some([_, b]) => Mask {
                    size: mask.size,
                    data: mask.data.iter().zip(b).map(|(v, b)| if *b { 1.0 - v } else { 0.0 }).collect(),
                },
                None => opposite(&mask),
            };
            vec![mask, other]
        }
        ([one], 2) => {
            let mask = read_mask(one)?;
            mask.check(colours[0].size, "the pictures").map_err(blend_error)?;
            let other = opposite(&mask);
            vec![mask, other]
        }
        (masks, count) if masks.len() == count => {
            masks.iter().map(|m| read_mask(m)).collect::<Result<_>>()?
        }
        (masks, count) => {
            return Err(Error::Config(format!(
                "{} masks for {count} pictures; give one for each, or one or none for two",
                masks.len()
            )));
        }
    };
    let colour = multiband(&colours, &masks, args.levels).map_err(blend_error)?;
    let photo = stack.result(colour);
    let inputs: Vec<_> =
        stack.files.iter().zip(&stack.photos).map(|(f, p)| (name_of(f), p.to_image8())).collect();
    let plane =
        |mask: Mask| opticus_pixels::preprocess::Planes { channels: 1, size: mask.size, data: mask.data };
    let maps = stack.files.iter().map(|f| name_of(f)).zip(masks.into_iter().map(plane)).collect();
    let sources = inputs.iter().map(|(_, image)| image.clone()).collect();
    Work { title: "Multi-band blending", inputs, sources, maps, photo }.finish(&args.out, global)
}
