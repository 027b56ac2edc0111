//! `opticus data`: look at, convert and synthesise data sets.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::output;
use crate::data::convert::{self, Target};
use crate::data::detection;
use crate::data::inspect::{InspectOptions, inspect};
use crate::data::synth::{self, Fractions, Shapes, Task};
use crate::data::{self, Format, OnBad, OpenOptions};
use crate::error::{Error, Result};

/// What to do with a data set.
#[derive(Debug, Subcommand)]
pub enum DataArgs {
    /// Counts, sizes and balance, and what would ruin training: unreadable files, duplicates, leaks.
    Inspect(InspectArgs),
    /// Render a synthetic data set.
    #[command(subcommand)]
    Make(MakeArgs),
    /// Write a data set as another kind.
    Convert(ConvertArgs),
}

/// `opticus data inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Data set, folder of pictures, or one picture.
    #[arg(value_name = "PATH", required_unless_present = "data", conflicts_with = "data")]
    path: Option<PathBuf>,
    /// The same, as the other commands have it.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Kind of data set: auto; folder, idx, cifar or csv; with boxes coco, voc or yolo.
    #[arg(long, value_name = "KIND", default_value_t)]
    format: Format,
    /// Look for exact duplicates only.
    #[arg(long)]
    no_near: bool,
}

/// `opticus data make`.
#[derive(Debug, Subcommand)]
pub enum MakeArgs {
    /// Ten shapes, with colour, texture, rotation, light, clutter, occlusion and noise.
    Shapes(ShapesArgs),
}

/// `opticus data make shapes`.
#[derive(Debug, Args)]
pub struct ShapesArgs {
    /// Folder to write into; new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of pictures.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: usize,
    /// Side of each picture in pixels.
    #[arg(long, value_name = "N", default_value_t = 64)]
    size: u32,
    /// classify: one object a picture, in class folders; detect: several with boxes, in COCO JSON.
    #[arg(long, default_value_t)]
    task: Task,
    /// Another seed gives other pictures.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Fraction that goes into a validation part.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    val_split: f64,
    /// Fraction that goes into a test part.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    test_split: f64,
}

/// `opticus data convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Data set to convert.
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Its kind: auto; folder, idx, cifar or csv; with boxes coco, voc or yolo.
    #[arg(long, value_name = "KIND", default_value_t)]
    format: Format,
    /// What to write: folder, csv or idx; with boxes coco, voc or yolo.
    #[arg(long, value_name = "KIND")]
    to: Target,
    /// Folder to write into; new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What to do about pictures that cannot be read: error or skip.
    #[arg(long, default_value_t)]
    on_bad: OnBad,
    /// What to do about boxes that nothing can be learnt from: error or skip.
    #[arg(long, value_name = "WHAT", default_value_t = OnBad::Skip)]
    on_bad_boxes: OnBad,
    /// Set this fraction of the pictures aside as the validation part, where there is none and there are boxes.
    #[arg(long, value_name = "F")]
    val_split: Option<f64>,
    /// Another seed sets other pictures aside.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Runs one verb.
pub fn run(args: DataArgs, json: bool) -> Result<()> {
    match args {
        DataArgs::Inspect(args) => run_inspect(args, json),
        DataArgs::Make(MakeArgs::Shapes(args)) => run_shapes(args, json),
        DataArgs::Convert(args) => run_convert(args, json),
    }
}

fn run_inspect(args: InspectArgs, json: bool) -> Result<()> {
    let path = args.path.or(args.data).ok_or_else(|| Error::Config("a PATH is needed".into()))?;
    let options = InspectOptions { near: !args.no_near, ..InspectOptions::default() };
    let found = inspect(&path, args.format, &options)?;
    if json { output::json(&found) } else { output::line(found.to_string().trim_end()) }
}

fn run_shapes(args: ShapesArgs, json: bool) -> Result<()> {
    let shapes = Shapes { count: args.count, side: args.size, seed: args.seed };
    let fractions = Fractions { val: args.val_split, test: args.test_split };
    let written = synth::write(&args.out, &shapes, args.task, fractions)?;
    if json {
        return output::json(&written);
    }
    let boxes = if written.boxes > 0 { format!(" with {} boxes", written.boxes) } else { String::new() };
    let out = args.out.display();
    output::line(&format!(
        "{} pictures{boxes} of {} classes in {out}",
        written.pictures,
        written.classes.len()
    ))
}

fn run_convert(args: ConvertArgs, json: bool) -> Result<()> {
    if args.to.has_boxes() {
        return convert_boxes(&args, json);
    }
    if args.val_split.is_some() {
        return Err(Error::Config("--val-split is for pictures with boxes: --to coco, voc or yolo".into()));
    }
    let options = OpenOptions { on_bad: args.on_bad, ..OpenOptions::default() };
    let splits = data::open(&args.data, args.format, &options)?;
    let converted = convert::convert(&splits, args.to, &args.out)?;
    for skipped in &splits.skipped {
        eprintln!("left out {}: {}", skipped.name, skipped.reason);
    }
    if json {
        return output::json(&converted);
    }
    let parts: Vec<String> = converted.parts.iter().map(|(split, n)| format!("{n} {split}")).collect();
    output::line(&format!("{} pictures in {}", parts.join(", "), args.out.display()))
}

fn convert_boxes(args: &ConvertArgs, json: bool) -> Result<()> {
    let options = detection::OpenOptions {
        on_bad: args.on_bad,
        on_bad_boxes: args.on_bad_boxes,
        keep: detection::coco::Keep::Everything,
        ..detection::OpenOptions::default()
    };
    let mut splits = detection::open(&args.data, args.format, &options)?;
    if let Some(fraction) = args.val_split {
        splits = splits.with_validation(fraction, args.seed)?;
    }
    let converted = detection::convert(&splits, args.to, &args.out)?;
    splits.notes.iter().for_each(|note| eprintln!("note: {note}"));
    if splits.faults.total() > 0 {
        eprintln!("left out: {}", splits.faults.summary());
    }
    if json {
        return output::json(&converted);
    }
    let parts: Vec<String> = converted.parts.iter().map(|(split, n)| format!("{n} {split}")).collect();
    let boxes = converted.boxes.unwrap_or_default();
    output::line(&format!("{} pictures with {boxes} boxes in {}", parts.join(", "), args.out.display()))
}
