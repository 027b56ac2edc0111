//! `opticus detect eval`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use opticus_pixels::codec::ColorMode;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::part::Part;
use super::super::{Global, device, output};
use super::{DataArgs, proposals_for};
use crate::data::OnBad;
use crate::data::detection::{self, Annotated, OpenOptions, coco};
use crate::detect::Detector;
use crate::detect::dataset::{self, Pictures};
use crate::detect::metrics::{DetectScores, Found, Style};
use crate::detect::predict::{self, Compared};
use crate::detect::report::{RunReport, run_report};
use crate::error::{Error, Result};
use crate::files;

/// Options of `detect eval`.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Opticus model file of a detector.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    #[command(flatten)]
    pub data: DataArgs,
    /// Which part to measure on; by default test where there is one, else validation, else every picture.
    #[arg(long, value_name = "PART")]
    pub part: Option<Part>,
    /// coco: twelve figures as pycocotools has them; voc07: 11-point average precision; voc10: the whole area.
    #[arg(long, value_name = "STYLE", default_value_t)]
    pub style: Style,
    /// Regions that `detect propose --to` wrote, for rcnn and fast-rcnn; by default those of selective search.
    #[arg(long, value_name = "FILE")]
    pub proposals: Option<PathBuf>,
    /// What to do with a picture that is missing or cannot be read.
    #[arg(long, value_name = "WHAT", default_value = "error")]
    pub on_bad: OnBad,
    /// Also write an HTML report here.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Also write truth.json and detections.json to this folder, as COCO has them: `detect score` and pycocotools
    /// compute the same figures from them.
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Print the precision at 101 recalls of each class too.
    #[arg(long)]
    pub curves: bool,
}

/// What `detect eval --json` prints.
#[derive(Serialize, JsonSchema)]
pub struct Evaluated {
    /// The figures.
    #[serde(flatten)]
    pub scores: DetectScores,
    /// Milliseconds a picture, from decoded picture to boxes.
    pub ms_per_picture: f64,
}

/// Runs `detect eval`.
pub fn run(args: &EvalArgs, global: &Global) -> Result<()> {
    let detector = Detector::load(&args.model, &device(&global.device)?)?;
    let proposals = proposals_for(&detector, args.proposals.as_deref())?;
    let (pictures, part) = part_to_measure(&args.data, args.part, args.on_bad, global)?;
    let mut pictures = Pictures::new(dataset::with_classes_of(pictures, detector.classes())?, 0);
    if let Some(given) = &proposals {
        pictures = pictures.with_proposals(given)?;
    } else if detector.config().needs_proposals() {
        let mut watch = Watch::default();
        pictures.search(|done| {
            watch.say("selective search: ", done);
            Ok(())
        })?;
    }
    let mut watch = Watch::default();
    let compared = predict::compare(&detector, &pictures, |_, _| watch.tick())?;
    let mut scores = compared.scores(args.style);
    if let Some(path) = &args.report {
        let data = args.data.data.display().to_string();
        let page = run_report(&RunReport {
            title: &format!("{} on {data}", args.model.display()),
            net: &detector.config().name,
            parameters: detector.parameters(),
            measured_on: &format!("{} pictures ({part} part) of {data}", compared.images),
            log: &[],
            compared: &compared,
            sight: &pictures,
            data: &[("Data set".into(), data.clone())],
            configuration: "",
            provenance: &[],
        });
        files::write_atomically(path, |out| out.write_all(page.as_bytes()))?;
    }
    if let Some(folder) = &args.save {
        save(folder, &compared, pictures.annotated())?;
    }
    if !args.curves {
        scores = scores.without_curves();
    }
    let ms_per_picture = compared.seconds * 1000.0 / scores.images.max(1) as f64;
    if global.json {
        return output::json(&Evaluated { scores, ms_per_picture });
    }
    output::line(&format!("{part} part: {}", scores.to_string().trim_end()))?;
    output::line(&format!("{ms_per_picture:.1} ms a picture"))
}

/// What is there and what was found, in COCO's forms.
fn save(folder: &Path, compared: &Compared, pictures: &Annotated) -> Result<()> {
    files::create_folder(folder)?;
    let name = |i: usize| pictures.pictures()[i].relative.to_string();
    coco::write_instances(&folder.join("truth.json"), pictures, name)?;
    let numbers = coco::picture_numbers(pictures);
    let detection = |found: &Found| coco::Detection {
        image: numbers[found.image as usize],
        category: i64::from(found.class) + 1,
        bbox: found.bbox,
        score: found.score,
    };
    let found: Vec<_> = compared.found.iter().map(detection).collect();
    coco::write_results(&folder.join("detections.json"), &found)
}

/// Says how far it is, now and then.
pub(super) struct Watch {
    said: Instant,
    seen: usize,
}

impl Default for Watch {
    fn default() -> Self {
        Self { said: Instant::now(), seen: 0 }
    }
}

impl Watch {
    pub fn tick(&mut self) {
        self.say("", self.seen + 1);
    }

    pub fn say(&mut self, what: &str, seen: usize) {
        self.seen = seen;
        if self.said.elapsed().as_secs() >= 10 {
            eprintln!("{what}{seen} pictures");
            self.said = Instant::now();
        }
    }
}

/// The pictures to measure on, and what to call them.
pub(super) fn part_to_measure(
    data: &DataArgs,
    part: Option<Part>,
    on_bad: OnBad,
    global: &Global,
) -> Result<(Annotated, &'static str)> {
    let options = OpenOptions { on_bad, color: Some(ColorMode::Rgb), ..OpenOptions::default() };
    let mut splits = detection::open(&data.data, data.format.unwrap_or_default(), &options)?;
    if !global.quiet {
        splits.notes.iter().for_each(|note| eprintln!("note: {note}"));
        if splits.faults.total() > 0 {
            eprintln!("note: left out: {}", splits.faults.summary());
        }
    }
    if let Some(fraction) = data.val_split {
        splits = splits.with_validation(fraction, data.seed.unwrap_or_default())?;
    }
    let part = part.unwrap_or(match (&splits.test, &splits.val) {
        (Some(_), _) => Part::Test,
        (None, Some(_)) => Part::Val,
        (None, None) => Part::All,
    });
    let none = |what: &str| {
        Error::Input(format!("{} has no {what} part; choose another --part", data.data.display()))
    };
    match part {
        Part::Train => Ok((splits.train, "training")),
        Part::Val => splits.val.map(|p| (p, "validation")).ok_or_else(|| none("validation")),
        Part::Test => splits.test.map(|p| (p, "test")).ok_or_else(|| none("test")),
        Part::All => Ok((dataset::every_picture(splits)?, "whole")),
    }
}
