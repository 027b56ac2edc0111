//! `opticus fuse focus`.

use std::path::PathBuf;

use clap::Args;
use opticus_pixels::Image8;
use opticus_pixels::blend::{Focus, FocusStack};
use opticus_pixels::codec::encode_png;

use super::super::Global;
use super::blend_error;
use super::result::{OutArgs, Work};
use super::stack::{self, StackArgs};
use crate::error::{Error, Result};
use crate::files::{self, name_of};

/// Options of `fuse focus`.
#[derive(Args, Debug)]
pub struct FocusArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    #[command(flatten)]
    pub out: OutArgs,
    /// Levels of the pyramid.
    #[arg(long, value_name = "N")]
    pub levels: Option<usize>,
    /// How much more local energy a picture needs to take a place from one before, as a factor.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub margin: f32,
    /// Also write which picture is sharpest where, as PNG: the first black, the last white.
    #[arg(long, value_name = "FILE")]
    pub depth_map: Option<PathBuf>,
}

/// Runs `fuse focus`.
pub fn run(args: &FocusArgs, global: &Global) -> Result<()> {
    args.out.format()?;
    let files = args.stack.files(2)?;
    let reference_number = args.stack.reference_of(files.len());
    let reference = stack::read(&files[reference_number])?;
    let size = reference.size();
    let options = Focus { levels: args.levels, margin: args.margin };
    let mut focus = FocusStack::new(size, 3, &options).map_err(blend_error)?;
    let reference = reference.into_rgb();
    let (mut inputs, mut sources, mut depth) = (Vec::new(), Vec::new(), reference.depth);
    // One at a time: memory does not grow with their number, but for the small pictures of the page.
    for (number, file) in files.iter().enumerate() {
        let mut photo = match number == reference_number {
            true => reference.clone(),
            false => args.stack.fitted(file, stack::read(file)?, size)?.into_rgb(),
        };
        depth = depth.max(photo.depth);
        if let Some(model) = args.stack.align.filter(|_| number != reference_number) {
            photo = stack::aligned(&reference, &photo, model, file)?;
        }
        focus.push(&photo.colour).map_err(blend_error)?;
        if args.out.report.is_some() || sources.len() < MOST_SOURCES {
            let image = photo.to_image8();
            if sources.len() < MOST_SOURCES {
                sources.push(image.clone());
            }
            inputs.push((name_of(file), image));
        }
    }
    let stacked = focus.finish().map_err(blend_error)?;
    let last = (files.len() - 1).max(1) as f32;
    let map: Vec<f32> = stacked.sharpest.iter().map(|n| *n as f32 / last).collect();
    if let Some(path) = &args.depth_map {
        let data = map.iter().map(|v| (v * 255.0).round() as u8).collect();
        let bytes = encode_png(&Image8 { size, channels: 1, data })
            .map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        files::write_atomically(path, |out| out.write_all(&bytes))?;
    }
    let mut photo = reference.with_colour(stacked.picture);
    photo.alpha = None;
    photo.depth = depth;
    let maps = vec![(
        "Sharpest: first black, last white".to_owned(),
        opticus_pixels::preprocess::Planes { channels: 1, size, data: map },
    )];
    Work { title: "Focus stack", inputs, sources, maps, photo }.finish(&args.out, global)
}

/// Pictures that the result is scored against, the first ones of a long stack.
const MOST_SOURCES: usize = 16;
