//! A whole training run: data, network, loop, final measurement, report.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;

use super::config::TrainConfig;
use super::dataset::{self, Parts, Pictures};
use super::explain::Explainer;
use super::learner::{Batches, ClassifyLearner, Recipe};
use super::metrics::ClassifyScores;
use super::predict::{self, Classifier};
use super::report::{self, Answer, DataSummary, ExplainedPictures, LogRow, RunReport, read_log, run_report};
use crate::bundle::{self, Metric, Provenance};
use crate::data::{Dataset, Loader};
use crate::error::{Error, Result};
use crate::nets::{Net, state};
use crate::train::{Existing, Fitted, Progress, Run, RunFolder, Schedule, fit, run};

/// What to train, to where.
#[derive(Debug)]
pub struct Order<'a> {
    /// Everything that decides the result.
    pub config: &'a TrainConfig,
    /// Another model to take fitting weights from.
    pub init_from: Option<&'a Path>,
    /// The run folder.
    pub out: &'a Path,
    /// What to do with a run that is already there.
    pub existing: Existing,
    /// Where to compute.
    pub device: &'a Device,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Trained {
    /// How the loop ended.
    pub fitted: Fitted,
    /// The best model on the validation part.
    pub val: ClassifyScores,
    /// The best model on the test part, which chose nothing.
    pub test: Option<ClassifyScores>,
}

/// Trains a classifier. See [`fit()`] for what survives an interruption.
///
/// # Errors
/// Whatever is wrong with data, configuration, disk or the course of training; see [`Error`].
pub fn train(data: &Path, order: &Order<'_>, progress: &mut dyn Progress) -> Result<Trained> {
    train_on(dataset::open_for_training(data, order.config)?, &name_of(data), order, progress)
}

/// Trains a classifier on pictures that are already open; `name` is what reports call them.
///
/// # Errors
/// As [`train`].
pub fn train_on(parts: Parts, name: &str, order: &Order<'_>, progress: &mut dyn Progress) -> Result<Trained> {
    let Order { config, device, .. } = order;
    for skipped in &parts.skipped {
        progress.message(&format!("skipped {}: {}", skipped.name, skipped.reason));
    }
    let command = config.command()?;
    let (net_config, preprocessing) = super::net::resolve(config, &parts.train)?;
    let fingerprint = parts.train.fingerprint()?;
    let resolved = toml::to_string_pretty(config)
        .map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))?;
    let identity = run::identity(&resolved, &fingerprint, order.init_from);
    let mut net = net_config.init(config.seed, &(*device).clone().autodiff())?;
    if let Some(path) = order.init_from {
        net = transfer(net, path, progress)?;
    }
    let folder = RunFolder::open(order.out, order.existing)?;
    folder.write_config(&resolved)?;
    progress.message(&format!(
        "{}: {} parameters, {}x{} input; {} pictures to learn from, {} to choose by, {} to test",
        net_config.name,
        state::parameter_count(&net),
        net_config.input.width,
        net_config.input.height,
        parts.train.len(),
        parts.val.len(),
        parts.test.as_ref().map_or(0, Dataset::len),
    ));
    let (net_name, parameters) = (net_config.name.name(), state::parameter_count(&net));
    let summary = DataSummary {
        name: name.into(),
        format: parts.format.to_string(),
        train_counts: parts.train.class_counts().into_iter().map(|n| n as u64).collect(),
        val: parts.val.len() as u64,
        test: parts.test.as_ref().map(|t| t.len() as u64),
        fingerprint: fingerprint.clone(),
        skipped: parts.skipped.iter().map(|s| format!("{}: {}", s.name, s.reason)).collect(),
    };
    let recipe = Recipe {
        net: net_config,
        classes: parts.train.classes().to_vec(),
        preprocessing: preprocessing.clone(),
        provenance: Provenance {
            command: command.clone(),
            seed: Some(config.seed),
            data_fingerprint: fingerprint,
            product_version: env!("CARGO_PKG_VERSION").into(),
        },
        val_name: "validation".into(),
    };
    let Parts { train, val, test, .. } = parts;
    let batch_size = config.fit.batch_size.max(64);
    let cache = config.data.cache_mb;
    let batches = Batches(dataset::training_loader(train, config, &preprocessing)?);
    let val_loader = dataset::measuring_loader(val, &preprocessing, batch_size, cache)?;
    let mut learner = ClassifyLearner::new(net, config, recipe, val_loader, device)?;
    let steps = batches.0.batches() as u64;
    let schedule = Schedule::new(&config.schedule, config.optimizer.lr, steps, u64::from(config.fit.epochs))?;
    let run = Run {
        folder: &folder,
        config: &config.fit,
        schedule: &schedule,
        seed: config.seed,
        identity: &identity,
        resume: order.existing == Existing::Resume,
        interrupted: order.interrupted,
    };
    let fitted = fit(&mut learner, &batches, &run, progress)?;
    let best = folder.best();
    let classifier = Classifier::load(&best, device)?;
    let (val, val_answers) = answers(&classifier, learner.val())?;
    let mut test_answers = None;
    if let Some(part) = test {
        progress.message(&format!("measuring the best model on {} test pictures", part.len()));
        let loader = dataset::measuring_loader(part, &preprocessing, batch_size, 0)?;
        let measured = answers(&classifier, &loader)?;
        note_test(&best, &measured.0)?;
        test_answers = Some((measured, loader));
    }
    let (scores, answers, pictures, part) = match &test_answers {
        Some(((scores, answers), loader)) => (scores, answers, loader.dataset(), "test"),
        None => (&val, &val_answers, learner.val().dataset(), "validation"),
    };
    let explainer = Explainer::new(classifier.net(), classifier.device());
    let page = run_report(&RunReport {
        title: &name_of(order.out),
        net: net_name,
        parameters: parameters as u64,
        measured_on: &format!("{} {part} pictures of {}", scores.images, summary.name),
        log: &log_rows(folder.root())?,
        scores,
        answers,
        sight: &ExplainedPictures { pictures, explainer: &explainer, preprocessing: &preprocessing },
        data: &summary,
        configuration: &resolved,
        provenance: &[
            ("Command".into(), format!("opticus {command}")),
            ("Seed".into(), config.seed.to_string()),
            ("Data fingerprint".into(), summary.fingerprint.clone()),
            ("Version".into(), env!("CARGO_PKG_VERSION").into()),
        ],
    });
    folder.write("report.html", &page)?;
    Ok(Trained { fitted, val, test: test_answers.map(|((scores, _), _)| scores) })
}

/// Scores of a part, and what the network said about each picture.
pub fn answers(
    classifier: &Classifier,
    pictures: &Loader<Pictures, usize>,
) -> Result<(ClassifyScores, Vec<Answer>)> {
    let mut all = Vec::new();
    let scores = predict::evaluate(classifier, pictures, |indices, logits| {
        all.extend(report::answers(pictures.dataset(), indices, logits));
    })?;
    Ok((scores, all))
}

/// Writes the test figures into the best model's card, beside the validation figures that chose it.
fn note_test(path: &Path, scores: &ClassifyScores) -> Result<()> {
    let mut bundle = bundle::load(path)?;
    let count = scores.images as usize;
    let figures = [("top1", scores.top1), ("top5", scores.top5), ("loss", scores.loss), ("ece", scores.ece)];
    bundle.card.metrics.retain(|metric| metric.data != "test");
    bundle.card.metrics.extend(figures.map(|(name, value)| Metric {
        name: name.into(),
        value,
        data: "test".into(),
        count,
    }));
    bundle::save(path, &bundle)
}

/// The log of a run folder as the report wants it.
///
/// # Errors
/// [`Error::Io`] or [`Error::Input`] if it cannot be read.
pub fn log_rows(folder: &Path) -> Result<Vec<LogRow>> {
    let path = folder.join("log.csv");
    read_log(&std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?)
}

/// The last part of a path, for titles.
fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Takes what fits from another model and says what it left.
fn transfer(net: Net, path: &Path, progress: &mut dyn Progress) -> Result<Net> {
    let other = bundle::load(path)?;
    let partial = state::load_partial(net, &other.tensors);
    if partial.taken.is_empty() {
        return Err(Error::ModelFile(format!(
            "{} has no tensor that fits this network; --init-from needs the same --net",
            path.display()
        )));
    }
    progress.message(&format!("took {} tensors from {}", partial.taken.len(), path.display()));
    for left in &partial.left {
        progress.message(&format!("left out: {left}"));
    }
    Ok(partial.module)
}
