//! `opticus classify eval`.

use std::path::PathBuf;

use clap::Args;

use super::super::part::Part;
use super::super::{Global, device, output};
use super::DataArgs;
use crate::classify::explain::Explainer;
use crate::classify::report::{DataSummary, ExplainedPictures, RunReport, run_report};
use crate::classify::{Classifier, dataset, training};
use crate::data::{self, Labelled, OpenOptions};
use crate::error::{Error, Result};
use crate::files;
use crate::nets::state;

/// Options of `classify eval`.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Opticus model file.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    #[command(flatten)]
    pub data: DataArgs,
    /// Which part to measure on; by default test where there is one, else validation, else every picture.
    #[arg(long, value_name = "PART")]
    pub part: Option<Part>,
    /// Pictures at a time.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub batch_size: usize,
    /// Also write an HTML report here.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// Memory for decoded pictures while a report is made, in megabytes.
const REPORT_CACHE_MB: usize = 256;

/// Runs `classify eval`.
pub fn run(args: &EvalArgs, global: &Global) -> Result<()> {
    let classifier = Classifier::load(&args.model, &device(&global.device)?)?;
    let (pictures, part) = part_to_measure(args, &classifier)?;
    let pictures = dataset::with_classes_of(pictures, classifier.classes())?;
    let batch_size = args.batch_size.clamp(1, 4096);
    let loader =
        dataset::measuring_loader(pictures, classifier.preprocessing(), batch_size, REPORT_CACHE_MB)?;
    let (scores, answers) = training::answers(&classifier, &loader)?;
    if let Some(path) = &args.report {
        let name = args.data.data.display().to_string();
        let summary = DataSummary { name: name.clone(), ..DataSummary::default() };
        let page = run_report(&RunReport {
            title: &format!("{} on {name}", args.model.display()),
            net: classifier.config().name.name(),
            parameters: state::parameter_count(classifier.net()) as u64,
            measured_on: &format!("{} pictures ({part}) of {name}", scores.images),
            log: &[],
            scores: &scores,
            answers: &answers,
            sight: &ExplainedPictures {
                pictures: loader.dataset(),
                explainer: &Explainer::new(classifier.net(), classifier.device()),
                preprocessing: classifier.preprocessing(),
            },
            data: &summary,
            configuration: "",
            provenance: &[],
        });
        files::write_atomically(path, |out| out.write_all(page.as_bytes()))?;
    }
    if global.json {
        return output::json(&scores);
    }
    output::line(&format!("{} pictures ({part})", scores.images))?;
    output::line(&format!(
        "top-1 {:.4}  top-5 {:.4}  loss {:.4}  calibration error {:.4}",
        scores.top1, scores.top5, scores.loss, scores.ece
    ))?;
    let width = scores.per_class.iter().map(|c| c.label.chars().count()).max().unwrap_or(0).max(5);
    output::line(&format!("{:width$}  precision  recall      f1  pictures", "class"))?;
    for c in &scores.per_class {
        output::line(&format!(
            "{:width$}  {:9.4}  {:6.4}  {:6.4}  {:8}",
            c.label, c.precision, c.recall, c.f1, c.support
        ))?;
    }
    for (truth, predicted, n) in scores.most_confused(5) {
        let name = |i: usize| scores.per_class.get(i).map_or("?", |c| c.label.as_str());
        output::line(&format!("{n} × {} taken for {}", name(truth), name(predicted)))?;
    }
    Ok(())
}

/// The pictures to measure on, and what to call them.
fn part_to_measure(args: &EvalArgs, classifier: &Classifier) -> Result<(Labelled, &'static str)> {
    let options = OpenOptions {
        on_bad: args.data.on_bad.unwrap_or_default(),
        color: Some(classifier.color_mode()),
        ..OpenOptions::default()
    };
    let mut splits = data::open(&args.data.data, args.data.format.unwrap_or_default(), &options)?;
    for skipped in &splits.skipped {
        eprintln!("skipped {}: {}", skipped.name, skipped.reason);
    }
    if let Some(fraction) = args.data.val_split {
        splits = splits.with_validation(fraction, args.data.seed.unwrap_or_default())?;
    }
    let part = args.part.unwrap_or(match (&splits.test, &splits.val) {
        (Some(_), _) => Part::Test,
        (None, Some(_)) => Part::Val,
        (None, None) => Part::All,
    });
    let none = |what: &str| {
        Error::Input(format!("{} has no {what} part; choose another --part", args.data.data.display()))
    };
    match part {
        Part::Train => Ok((splits.train, "training")),
        Part::Val => splits.val.map(|p| (p, "validation")).ok_or_else(|| none("validation")),
        Part::Test => splits.test.map(|p| (p, "test")).ok_or_else(|| none("test")),
        Part::All => Ok((dataset::every_picture(splits)?, "all")),
    }
}
