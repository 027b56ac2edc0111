//! `opticus detect score`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use opticus_pixels::Size;

use super::super::{Global, output};
use crate::data::Format;
use crate::data::detection::text::TextBoxes;
use crate::detect::metrics::{Area, CocoOptions, Corners, DetectScores, Style, VocOptions};
use crate::detect::score::{Comparison, ScoreFiles, read};
use crate::error::{Error, Result};

/// Options of `detect score`.
#[derive(Args, Debug)]
pub struct ScoreArgs {
    /// What is there: COCO instances (.json), a VOC or YOLO data set, or a folder of text files with lines
    /// `label x y width height`.
    #[arg(long, value_name = "PATH")]
    pub truth: PathBuf,
    /// What was found: COCO results (.json), what `detect predict --json` prints, or a folder of text files named as
    /// the pictures, with lines `label score x y width height` (for a YOLO truth `class x y width height score`).
    #[arg(long, value_name = "PATH")]
    pub detections: PathBuf,
    /// coco: twelve figures as pycocotools has them; voc07: 11-point average precision; voc10: the whole area.
    #[arg(long, value_name = "STYLE", default_value_t)]
    pub style: Style,
    /// IoU from which a detection is right; by default 0.5, 0.55, …, 0.95 for coco and 0.5 for voc. Several, with
    /// commas, are averaged.
    #[arg(long, value_name = "X,…", value_delimiter = ',')]
    pub iou: Vec<f64>,
    /// Kind of the truth: auto, coco, voc or yolo.
    #[arg(long, value_name = "KIND", default_value_t)]
    pub format: Format,
    /// What the numbers in plain text mean: xywh, xyxy, or relative (centre and size as fractions of the picture).
    #[arg(long, value_name = "KIND", default_value_t)]
    pub boxes: TextBoxes,
    /// Size of all pictures, for plain text in fractions of it.
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    pub image_size: Option<Size>,
    /// What a far corner means in the voc styles: a place between pixels, or the last pixel inside ("+1"). By default
    /// inclusive where both sides are plain text, as the tools of that kind have it, else continuous.
    #[arg(long, value_name = "KIND")]
    pub corners: Option<CornerKind>,
    /// Print the precision at 101 recalls of each class too.
    #[arg(long)]
    pub curves: bool,
}

/// What a far corner means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CornerKind {
    /// A place between pixels.
    Continuous,
    /// The last pixel inside.
    Inclusive,
}

fn size(text: &str) -> Result<Size, String> {
    let sides = text.split_once(['x', 'X', ',']).and_then(|(w, h)| {
        let side = |s: &str| u32::from_str(s.trim()).ok().filter(|v| *v > 0);
        Some(Size::new(side(w)?, side(h)?))
    });
    sides.ok_or_else(|| "it is WIDTHxHEIGHT in pixels, such as 640x480".into())
}

/// Runs `detect score`.
pub fn run(args: &ScoreArgs, global: &Global) -> Result<()> {
    if let Some(bad) = args.iou.iter().find(|iou| !(**iou > 0.0 && **iou <= 1.0)) {
        return Err(Error::Config(format!("--iou {bad}: an IoU threshold is more than 0 and at most 1")));
    }
    if args.iou.len() > 32 {
        return Err(Error::Config(format!("--iou: {} thresholds; at most 32 at a time", args.iou.len())));
    }
    let mut iou = args.iou.clone();
    iou.sort_by(f64::total_cmp);
    iou.dedup();
    let files = ScoreFiles { format: args.format, boxes: args.boxes, image_size: args.image_size };
    let compared = read(&args.truth, &args.detections, &files)?;
    if !global.quiet {
        compared.notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    let mut scores = scores(args, iou, &compared);
    if !args.curves {
        scores = scores.without_curves();
    }
    if global.json {
        return output::json(&scores);
    }
    output::line(scores.to_string().trim_end())
}

fn scores(args: &ScoreArgs, iou: Vec<f64>, compared: &Comparison) -> DetectScores {
    let Comparison { classes, images, truth, found, plain_text, .. } = compared;
    let area = match args.style {
        Style::Coco => {
            let usual = CocoOptions::default();
            let options = if iou.is_empty() { usual } else { CocoOptions { iou, ..usual } };
            return DetectScores::coco(classes, *images, truth, found, &options);
        }
        Style::Voc07 => Area::ElevenPoint,
        Style::Voc10 => Area::All,
    };
    let corners = match args.corners {
        Some(CornerKind::Continuous) => Corners::Continuous,
        Some(CornerKind::Inclusive) => Corners::Inclusive,
        None if *plain_text => Corners::Inclusive,
        None => Corners::Continuous,
    };
    let iou = if iou.is_empty() { vec![0.5] } else { iou };
    DetectScores::voc(classes, *images, truth, found, &VocOptions { iou, area, corners })
}
