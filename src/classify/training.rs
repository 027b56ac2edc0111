//! A whole training run: data, network, loop, final measurement, report.

use std::path::Path;

use super::config::TrainConfig;
use super::dataset::{self, Parts, Pictures};
use super::explain::Explainer;
use super::learner::{Batches, ClassifyLearner, Recipe};
use super::metrics::ClassifyScores;
use super::predict::{self, Classifier};
use super::report::{self, Answer, DataSummary, ExplainedPictures, RunReport, read_log, run_report};
use crate::bundle::{self, Metric, Provenance};
use crate::data::{Dataset, Loader};
use crate::error::Result;
use crate::files;
use crate::nets::state;
use crate::train::{Fitted, Order, Progress, RunConfig};

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

/// Trains a classifier. See [`Order::fit`] for what survives an interruption.
///
/// # Errors
/// Whatever is wrong with data, configuration, disk or the course of training; see [`Error`](crate::Error).
pub fn train(data: &Path, order: &Order<'_, TrainConfig>, progress: &mut dyn Progress) -> Result<Trained> {
    train_on(dataset::open_for_training(data, order.config)?, &files::name_of(data), order, progress)
}

/// Trains a classifier on pictures that are already open; `name` is what reports call them.
///
/// # Errors
/// As [`train`].
pub fn train_on(
    parts: Parts,
    name: &str,
    order: &Order<'_, TrainConfig>,
    progress: &mut dyn Progress,
) -> Result<Trained> {
    let Order { config, device, .. } = order;
    for skipped in &parts.skipped {
        progress.message(&format!("skipped {}: {}", skipped.name, skipped.reason));
    }
    let (net_config, preprocessing) = super::net::resolve(config, &parts.train)?;
    let fingerprint = parts.train.fingerprint()?;
    let provenance = Provenance::of_training(config.command()?, config.seed, &fingerprint);
    let mut net = net_config.init(config.seed, &(*device).clone().autodiff())?;
    if let Some(path) = order.init_from {
        let (taken, notes) = state::take_over(net, &bundle::load(path)?.tensors, path, "the same --net")?;
        notes.iter().for_each(|note| progress.message(note));
        net = taken;
    }
    let folder = order.open()?;
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
        provenance: provenance.clone(),
        val_name: "validation".into(),
    };
    let Parts { train, val, test, .. } = parts;
    let batch_size = config.fit.batch_size.max(64);
    let cache = config.data.cache_mb;
    let batches = Batches(dataset::training_loader(train, config, &preprocessing)?);
    let val_loader = dataset::measuring_loader(val, &preprocessing, batch_size, cache)?;
    let mut learner = ClassifyLearner::new(net, config, recipe, val_loader, device)?;
    let fitted = order.fit(&mut learner, &batches, &folder, &fingerprint, progress)?;
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
        title: &order.name(),
        net: net_name,
        parameters: parameters as u64,
        measured_on: &format!("{} {part} pictures of {}", scores.images, summary.name),
        log: &read_log(&folder.read_log()?)?,
        scores,
        answers,
        sight: &ExplainedPictures { pictures, explainer: &explainer, preprocessing: &preprocessing },
        data: &summary,
        configuration: &order.configuration()?,
        provenance: &provenance.facts(),
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
