//! `opticus detect predict`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use opticus_pixels::Image8;
use opticus_pixels::codec::{self, Limits};
use opticus_pixels::draw::{BoxDrawing, draw_boxes};
use rayon::prelude::*;

use super::super::{Global, device, inputs, output};
use super::proposals_for;
use crate::data::OnBad;
use crate::detect::Detector;
use crate::detect::output::{FilePrediction, Predictions};
use crate::detect::suppression::Suppression;
use crate::detect::tile::Tiling;
use crate::error::{Error, Result};
use crate::files;

/// Forms that detections are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The pictures with boxes and labels drawn, as PNG.
    Pictures,
    /// detections.json: what --json prints.
    Json,
    /// detections.csv: one row a detection.
    Csv,
    /// detections.coco.json: COCO results; pictures and categories count from 1.
    Coco,
    /// labels/NAME.txt: class x y width height score, as fractions of the picture.
    Yolo,
    /// detections.tensorflow.json: num_detections, detection_boxes (y1, x1, y2, x2 as fractions), detection_classes
    /// (from 1), detection_scores.
    Tensorflow,
}

/// Options of `detect predict`.
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Opticus model file of a detector.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Pictures, folders of pictures, or quoted patterns such as 'photos/**/*.jpg'.
    #[arg(required = true, value_name = "PICTURE")]
    pub inputs: Vec<PathBuf>,
    /// Folder to write to.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What to write there; several with commas.
    #[arg(long, value_name = "FORM,…", value_delimiter = ',', default_value = "pictures", requires = "out")]
    pub to: Vec<Form>,
    /// Only detections with at least this score; by default 0.3 for people (lines and drawn pictures), and all that the
    /// model gives for programs.
    #[arg(long, value_name = "X")]
    pub min_score: Option<f64>,
    /// At most so many boxes are drawn on a picture, the best.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub max_boxes: usize,
    /// Look at large pictures in overlapping tiles of this many pixels a side, too: for small objects.
    #[arg(long, value_name = "N")]
    pub tile: Option<u32>,
    /// Part of a tile that its neighbour sees as well; objects should be smaller than that.
    #[arg(long, value_name = "F", default_value_t = 0.2)]
    pub overlap: f64,
    /// How of many boxes for one object one is made: nms, soft-nms or fusion; by default as the model says.
    #[arg(long, value_name = "WAY")]
    pub suppress: Option<Suppression>,
    /// Regions that `detect propose --to` wrote, for rcnn and fast-rcnn; by default those of selective search.
    #[arg(long, value_name = "FILE", conflicts_with = "tile")]
    pub proposals: Option<PathBuf>,
    /// What to do with a picture that cannot be read.
    #[arg(long, value_name = "WHAT", default_value = "error")]
    pub on_bad: OnBad,
}

/// Pictures decoded ahead at a time.
const TOGETHER: usize = 8;
/// The least score of what people are shown, where nothing is said: the TensorFlow Object Detection API's.
const SHOWN: f64 = 0.3;
/// Overlap above which boxes of two tiles are one object's.
const TILE_IOU: f64 = 0.5;

/// Runs `detect predict`.
pub fn run(args: &PredictArgs, global: &Global) -> Result<()> {
    if let Some(bad) = args.min_score.filter(|score| !(0.0..=1.0).contains(score)) {
        return Err(Error::Config(format!("--min-score {bad}: give 0 to 1")));
    }
    let tiling = args.tile.map(|side| Tiling { side, overlap: args.overlap, iou: TILE_IOU });
    tiling.iter().try_for_each(Tiling::validate)?;
    let mut detector = Detector::load(&args.model, &device(&global.device)?)?;
    if let Some(way) = args.suppress {
        detector = detector.with_suppression(way);
    }
    let proposals = proposals_for(&detector, args.proposals.as_deref())?;
    let files = inputs::pictures(&args.inputs)?;
    if let Some(out) = &args.out {
        files::create_folder(out)?;
    }
    let mut writer = Writer { args, names: inputs::Names::default() };
    let (limits, mut all, mut faults) = (Limits::default(), Vec::new(), Vec::new());
    for chunk in files.chunks(TOGETHER) {
        let read: Vec<Result<Image8>> = chunk.par_iter().map(|f| detector.read(f, &limits)).collect();
        for (file, image) in chunk.iter().zip(read) {
            let image = match image {
                Ok(image) => image,
                Err(fault) => {
                    faults.push(fault);
                    continue;
                }
            };
            let name = file.display().to_string();
            let found = match (&tiling, &proposals) {
                (Some(tiling), _) => tiling.detect(&image, |part| detector.detect(part))?,
                (None, Some(given)) => detector.detect_in(&image, &given.of(&name, image.size)?)?,
                (None, None) => detector.detect(&image)?,
            };
            let mut prediction = FilePrediction::new(name, image.size, &found, detector.classes());
            prediction.detections.retain(|d| d.score >= args.min_score.unwrap_or(0.0));
            writer.picture(file, &image, &prediction)?;
            if !global.json {
                output::line(&line(&prediction, args.min_score.unwrap_or(SHOWN)))?;
            }
            all.push(prediction);
        }
    }
    let all = Predictions { predictions: all };
    writer.documents(&all)?;
    if global.json {
        output::json(&all)?;
    }
    inputs::account_for(&faults, files.len(), args.on_bad)
}

/// A picture's detections for people: `name: NN%` and the box in whole pixels.
fn line(prediction: &FilePrediction, least: f64) -> String {
    let shown = prediction.detections.iter().filter(|d| d.score >= least).map(|d| {
        let [x1, y1, x2, y2] = d.bounds.map(f64::round);
        format!("{}: {:.0}% [{x1}, {y1}, {x2}, {y2}]", d.label, 100.0 * d.score)
    });
    let words: Vec<String> = shown.collect();
    let words = if words.is_empty() { "nothing found".into() } else { words.join("  ") };
    format!("{}\t{words}", prediction.file)
}

struct Writer<'a> {
    args: &'a PredictArgs,
    names: inputs::Names,
}

impl Writer<'_> {
    /// What is written of each picture by itself.
    fn picture(&mut self, file: &Path, image: &Image8, prediction: &FilePrediction) -> Result<()> {
        let Some(out) = &self.args.out else { return Ok(()) };
        let stem = self.names.of(file);
        for form in &self.args.to {
            match form {
                Form::Pictures => {
                    let settings = BoxDrawing {
                        max_boxes: self.args.max_boxes,
                        min_score: self.args.min_score.unwrap_or(SHOWN),
                        ..BoxDrawing::default()
                    };
                    let drawn = draw_boxes(image, &prediction.marks(), &settings);
                    let png = codec::encode_png(&drawn)
                        .map_err(|e| Error::Input(format!("{}: cannot be drawn: {e}", file.display())))?;
                    write(&out.join(format!("{stem}.png")), &png)?;
                }
                Form::Yolo => {
                    files::create_folder(&out.join("labels"))?;
                    write(&out.join("labels").join(format!("{stem}.txt")), prediction.yolo().as_bytes())?;
                }
                Form::Json | Form::Csv | Form::Coco | Form::Tensorflow => {}
            }
        }
        Ok(())
    }

    /// What is written of all pictures together.
    fn documents(&self, all: &Predictions) -> Result<()> {
        let Some(out) = &self.args.out else { return Ok(()) };
        let json = |value: serde_json::Result<String>| {
            value.map_err(|e| Error::Input(format!("the detections cannot be written as JSON: {e}")))
        };
        for form in &self.args.to {
            let (name, text) = match form {
                Form::Pictures | Form::Yolo => continue,
                Form::Json => ("detections.json", json(serde_json::to_string(all))?),
                Form::Csv => ("detections.csv", all.csv()),
                Form::Coco => ("detections.coco.json", json(serde_json::to_string(&all.coco()))?),
                Form::Tensorflow => {
                    ("detections.tensorflow.json", json(serde_json::to_string(&all.tensorflow()))?)
                }
            };
            write(&out.join(name), text.as_bytes())?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write_atomically(path, |out| out.write_all(bytes))
}
