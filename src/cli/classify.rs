//! `opticus classify`: pictures to labels.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use opticus_pixels::codec::Limits;
use opticus_pixels::{Image8, codec, draw};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Global, inputs, output, progress};
use crate::classify::config::TrainConfig;
use crate::classify::explain::{Explainer, Method};
use crate::classify::metrics::{ClassifyScores, ranked};
use crate::classify::predict::Label;
use crate::classify::report::{DataSummary, ExplainedPictures, RunReport, run_report};
use crate::classify::training::{self, Order};
use crate::classify::{Classifier, dataset};
use crate::data::{self, Labelled, OnBad, OpenOptions};
use crate::error::{Error, Result};
use crate::files;
use crate::nets::state;
use crate::settings::{Draft, nearest};
use crate::train::{Existing, Fitted};

/// What to do with a classifier.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train a classifier on labelled pictures.
    Train(Box<TrainArgs>),
    /// Measure a classifier on labelled pictures.
    Eval(EvalArgs),
    /// Say what is in pictures.
    Predict(PredictArgs),
    /// Show where the network looked, and how far that explains its answer.
    Explain(ExplainArgs),
}

/// A labelled data set.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Data set: folder of class folders, MNIST/Fashion IDX folder, CIFAR binary folder, or CSV of path,label.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Kind of data set; recognised when left out.
    #[arg(long, value_name = "KIND")]
    pub format: Option<crate::data::Format>,
    /// Part of the training pictures set aside to choose the best model, 0 to 1; by default 0.1 where the data
    /// set has no validation part of its own.
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub val_split: Option<f64>,
    /// Seed of everything random: split, initial weights, order, augmentation, dropout.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What to do with a picture that cannot be read.
    #[arg(long, value_name = "WHAT")]
    pub on_bad: Option<crate::data::OnBad>,
}

/// Options of `classify train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Run folder to make: log, checkpoints, best and last model, report.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Network, e.g. simple-cnn, small-cnn, resnet18, mobilenet_v3_small.
    #[arg(long, value_name = "NAME")]
    pub net: Option<String>,
    /// Typed TOML configuration; presets are in configs/.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override of one configuration value, e.g. --set optimizer.weight_decay=5e-4. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Passes over the training pictures.
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Stop after this many minutes of training, if --epochs has not been reached.
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    pub minutes: Option<f64>,
    /// Pictures a step.
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Peak learning rate.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Side of the square input, in pixels.
    #[arg(long, value_name = "N")]
    pub image_size: Option<u32>,
    /// Go on with an interrupted run in --out, to exactly the result it would have had.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Replace a run that is already in --out.
    #[arg(long)]
    pub overwrite: bool,
    /// Start from the weights of another Opticus model; tensors that do not fit are left out and named.
    #[arg(long, value_name = "FILE")]
    pub init_from: Option<PathBuf>,
}

/// Which part of a data set to measure on.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Part {
    /// The training part.
    Train,
    /// The validation part, the data set's own or `--val-split`'s.
    Val,
    /// The test part.
    Test,
    /// Every picture.
    All,
}

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

/// Options of `classify explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Opticus model file.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Pictures, folders of pictures, or quoted patterns.
    #[arg(required = true, value_name = "PICTURE")]
    pub inputs: Vec<PathBuf>,
    /// Folder for the overlays, one PNG a picture.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// grad-cam (Selvaraju et al. 2017), grad-cam++ (Chattopadhay et al. 2018) or occlusion (Zeiler and Fergus 2014).
    #[arg(long, value_name = "METHOD", default_value = "grad-cam")]
    pub method: Method,
    /// Explain this class instead of the most probable one.
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
}

/// Runs one verb.
pub fn run(verb: Verb, global: &Global) -> Result<()> {
    match verb {
        Verb::Train(args) => train(*args, global),
        Verb::Eval(args) => eval(&args, global),
        Verb::Predict(args) => predict(&args, global),
        Verb::Explain(args) => explain(&args, global),
    }
}

/// The configuration of a run: presets and file, then `--set`, then the flags that have a name of their own.
fn configuration(args: &TrainArgs) -> Result<TrainConfig> {
    let mut draft = match &args.config {
        Some(path) => Draft::from_file(path)?,
        None => Draft::new(),
    };
    for assignment in &args.set {
        draft.set_text(assignment)?;
    }
    let flags: [(&str, Option<toml::Value>); 8] = [
        ("seed", args.data.seed.map(integer).transpose()?),
        ("net.name", args.net.clone().map(Into::into)),
        ("data.val_split", args.data.val_split.map(Into::into)),
        ("fit.epochs", args.epochs.map(|n| i64::from(n).into())),
        ("fit.minutes", args.minutes.map(Into::into)),
        ("fit.batch_size", args.batch_size.map(|n| integer(n as u64)).transpose()?),
        ("optimizer.lr", args.lr.map(Into::into)),
        ("input.size", args.image_size.map(|n| i64::from(n).into())),
    ];
    for (key, value) in flags {
        if let Some(value) = value {
            draft.set(key, value)?;
        }
    }
    TrainConfig::from_draft(draft)
}

fn predict(args: &PredictArgs, global: &Global) -> Result<()> {
    let classifier = Classifier::load(&args.model, &super::device(&global.device)?)?;
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
            predictions.push(FilePrediction {
                file: file.display().to_string(),
                labels: prediction.top(args.top, classifier.classes()),
            });
        }
    }
    if global.json {
        output::json(&Predictions { predictions })?;
    } else {
        for FilePrediction { file, labels } in &predictions {
            let words: Vec<String> =
                labels.iter().map(|l| format!("{} {:.1}%", l.label, 100.0 * l.probability)).collect();
            output::line(&format!("{file}\t{}", words.join("  ")))?;
        }
    }
    // One bad picture does not take the others' answers away; it is named, and by default it is a failure.
    for fault in &faults {
        eprintln!("{}: {fault}", if args.on_bad == OnBad::Skip { "skipped" } else { "error" });
    }
    match (args.on_bad, faults.len()) {
        (OnBad::Error, bad @ 1..) => Err(Error::Input(format!(
            "{bad} of {} pictures could not be read; the others were classified. To pass over such pictures, use --on-bad skip",
            files.len()
        ))),
        _ => Ok(()),
    }
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

fn integer(value: u64) -> Result<toml::Value> {
    i64::try_from(value)
        .map(Into::into)
        .map_err(|_| Error::Config(format!("{value} is too large; give at most {}", i64::MAX)))
}

fn train(args: TrainArgs, global: &Global) -> Result<()> {
    let config = configuration(&args)?;
    let device = super::device(&global.device)?;
    let interrupted = super::interrupt::flag();
    let existing = match (args.resume, args.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let order = Order {
        config: &config,
        init_from: args.init_from.as_deref(),
        out: &args.out,
        existing,
        device: &device,
        interrupted: &interrupted,
    };
    let trained = training::train(&args.data.data, &order, progress::watcher(global).as_mut())?;
    if global.json {
        return output::json(&TrainResult {
            epochs: trained.fitted.epochs,
            seconds: trained.fitted.seconds,
            model: args.out.join("best.safetensors").display().to_string(),
            val: trained.val,
            test: trained.test,
        });
    }
    let say = |part: &str, scores: &ClassifyScores| {
        output::line(&format!(
            "{part}: top-1 {:.4}, loss {:.4}, on {} pictures",
            scores.top1, scores.loss, scores.images
        ))
    };
    say("validation", &trained.val)?;
    trained.test.iter().try_for_each(|scores| say("test", scores))?;
    let Fitted { epochs, seconds, .. } = trained.fitted;
    output::line(&format!(
        "{epochs} epochs in {seconds:.0} s; best model: {}",
        args.out.join("best.safetensors").display()
    ))?;
    output::line(&format!("report: {}", args.out.join("report.html").display()))
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

fn eval(args: &EvalArgs, global: &Global) -> Result<()> {
    let classifier = Classifier::load(&args.model, &super::device(&global.device)?)?;
    let (pictures, part) = part_to_measure(args, &classifier)?;
    let pictures = dataset::with_classes_of(pictures, classifier.classes())?;
    let counts = pictures.class_counts();
    let batch_size = args.batch_size.clamp(1, 4096);
    let loader =
        dataset::measuring_loader(pictures, classifier.preprocessing(), batch_size, REPORT_CACHE_MB)?;
    let (scores, answers) = training::answers(&classifier, &loader)?;
    if let Some(path) = &args.report {
        let name = args.data.data.display().to_string();
        let summary = DataSummary {
            name: name.clone(),
            train_counts: counts.iter().map(|n| *n as u64).collect(),
            ..DataSummary::default()
        };
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

fn explain(args: &ExplainArgs, global: &Global) -> Result<()> {
    let classifier = Classifier::load(&args.model, &super::device(&global.device)?)?;
    let files = inputs::pictures(&args.inputs)?;
    let asked = args.label.as_deref().map(|label| class_index(label, classifier.classes())).transpose()?;
    files::create_folder(&args.out)?;
    let explainer = Explainer::new(classifier.net(), classifier.device());
    let mut explanations = Vec::with_capacity(files.len());
    let mut names = BTreeSet::new();
    for file in &files {
        let picture = classifier.preprocessing().geometry(&classifier.read(file, &Limits::default())?);
        let planes = classifier.preprocessing().normalize(&picture);
        let probabilities: Vec<f32> =
            explainer.probabilities(&planes)?.into_iter().map(|p| p as f32).collect();
        let class = asked.unwrap_or_else(|| ranked(&probabilities).first().copied().unwrap_or(0));
        let heat = explainer.explain(&planes, class, args.method)?;
        let faithfulness = explainer.faithfulness(&planes, &heat, class, 0)?;
        let overlay = draw::overlay_heat(&picture, &heat.values, training::HEAT_OPACITY);
        let path = args.out.join(overlay_name(file, args.method, &mut names));
        let png = codec::encode_png(&overlay)
            .map_err(|e| Error::Input(format!("{}: cannot draw the overlay: {e}", file.display())))?;
        files::write_atomically(&path, |out| out.write_all(&png))?;
        explanations.push(Explanation {
            file: file.display().to_string(),
            overlay: path.display().to_string(),
            method: args.method.name().into(),
            label: classifier.classes().get(class).cloned().unwrap_or_default(),
            index: class,
            probability: probabilities.get(class).copied().unwrap_or_default(),
            deletion: faithfulness.deletion,
            deletion_random: faithfulness.deletion_random,
            insertion: faithfulness.insertion,
            insertion_random: faithfulness.insertion_random,
        });
    }
    if global.json {
        return output::json(&Explanations { explanations });
    }
    for e in &explanations {
        output::line(&format!(
            "{}\t{} {:.1}%  deletion {:.3} (random {:.3})  insertion {:.3} (random {:.3})  {}",
            e.file,
            e.label,
            100.0 * e.probability,
            e.deletion,
            e.deletion_random,
            e.insertion,
            e.insertion_random,
            e.overlay
        ))?;
    }
    Ok(())
}

/// The index of a class by name.
fn class_index(label: &str, classes: &[String]) -> Result<usize> {
    classes.iter().position(|c| c == label).ok_or_else(|| {
        let near = nearest(label, classes.iter().map(String::as_str));
        let advice = near.map_or_else(String::new, |n| format!(" Did you mean `{n}`?"));
        Error::Config(format!(
            "the model knows no class `{label}`.{advice} `opticus model info` lists its classes"
        ))
    })
}

/// A name for a picture's overlay that no other picture of this call has.
fn overlay_name(file: &Path, method: Method, taken: &mut BTreeSet<String>) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut name = format!("{stem}.{}.png", method.name());
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{stem}-{number}.{}.png", method.name());
        number += 1;
    }
    name
}

/// Memory for decoded pictures while a report is made, in megabytes.
const REPORT_CACHE_MB: usize = 256;

/// What `classify train --json` prints.
#[derive(Serialize, JsonSchema)]
pub struct TrainResult {
    /// Epochs finished.
    pub epochs: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The best model.
    pub model: String,
    /// Its figures on the validation part, which chose it.
    pub val: ClassifyScores,
    /// Its figures on the test part, where the data set has one.
    pub test: Option<ClassifyScores>,
}

/// What `classify explain --json` prints.
#[derive(Serialize, JsonSchema)]
pub struct Explanations {
    /// One entry a picture.
    pub explanations: Vec<Explanation>,
}

/// Where the network looked, and how far that explains its answer.
#[derive(Serialize, JsonSchema)]
pub struct Explanation {
    /// The picture.
    pub file: String,
    /// The overlay written.
    pub overlay: String,
    /// grad-cam, grad-cam++ or occlusion.
    pub method: String,
    /// The explained class.
    pub label: String,
    /// Its index.
    pub index: usize,
    /// Its probability.
    pub probability: f32,
    /// Area under the deletion curve, 0 to 1: lower is more faithful.
    pub deletion: f64,
    /// The same for pixels removed in random order.
    pub deletion_random: f64,
    /// Area under the insertion curve: higher is more faithful.
    pub insertion: f64,
    /// The same for pixels inserted in random order.
    pub insertion_random: f64,
}
