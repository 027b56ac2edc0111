//! `opticus classify predict`.

use std::path::PathBuf;

use clap::Args;
use opticus_pixels::Image8;
use opticus_pixels::codec::Limits;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Global, device, inputs, output};
use crate::classify::Classifier;
use crate::classify::predict::Label;
use crate::error::Result;

/// Options of `classify predict`.
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Opticus model file.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Pictures, folders of pictures, or quoted patterns such as 'photos/**/*.jpg'.
    #[arg(required = true, value_name = "PICTURE")]
    pub inputs: Vec<PathBuf>,
    /// Labels to show for each picture.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub top: usize,
    /// Pictures at a time.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch_size: usize,
    /// What to do with a picture that cannot be read.
    #[arg(long, value_name = "WHAT", default_value = "error")]
    pub on_bad: crate::data::OnBad,
}

/// What `classify predict --json` prints.
#[derive(Serialize, JsonSchema)]
pub struct Predictions {
    /// One entry a picture, in the order of the arguments.
    pub predictions: Vec<FilePrediction>,
}

/// The most probable labels of one picture.
#[derive(Serialize, JsonSchema)]
pub struct FilePrediction {
    /// The file, as named or found.
    pub file: String,
    /// Most probable first.
    pub labels: Vec<Label>,
}

impl std::fmt::Display for FilePrediction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> =
            self.labels.iter().map(|l| format!("{} {:.1}%", l.label, 100.0 * l.probability)).collect();
        write!(formatter, "{}\t{}", self.file, words.join("  "))
    }
}

/// Runs `classify predict`.
pub fn run(args: &PredictArgs, global: &Global) -> Result<()> {
    let classifier = Classifier::load(&args.model, &device(&global.device)?)?;
    let files = inputs::pictures(&args.inputs)?;
    let limits = Limits::default();
    let mut predictions = Vec::with_capacity(files.len());
    let mut faults = Vec::new();
    for chunk in files.chunks(args.batch_size.clamp(1, 4096)) {
        let read: Vec<Result<Image8>> = chunk.par_iter().map(|f| classifier.read(f, &limits)).collect();
        let (mut names, mut images) = (Vec::new(), Vec::new());
        for (file, image) in chunk.iter().zip(read) {
            match image {
                Ok(image) => {
                    names.push(file);
                    images.push(image);
                }
                Err(fault) => faults.push(fault),
            }
        }
        for (file, prediction) in names.into_iter().zip(classifier.classify_batch(&images)?) {
            let prediction = FilePrediction {
                file: file.display().to_string(),
                labels: prediction.top(args.top, classifier.classes()),
            };
            // One document needs all of them; lines are of use as soon as they are known.
            match global.json {
                true => predictions.push(prediction),
                false => output::line(&prediction.to_string())?,
            }
        }
    }
    if global.json {
        output::json(&Predictions { predictions })?;
    }
    inputs::account_for(&faults, files.len(), args.on_bad)
}
