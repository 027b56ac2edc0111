//! A whole training run: data, network, loop, final measurement, report.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::config::TrainConfig;
use super::dataset::{self, Parts, Pictures};
use super::learner::{Batches, DetectLearner, Recipe};
use super::metrics::{DetectScores, Style};
use super::net::{self, DetectorNet};
use super::predict::{self, Detector};
use super::proposal_file::Proposals;
use super::report::{RunReport, read_log, run_report};
use super::transform::Transform;
use crate::bundle::{self, Bundle, Metric, Provenance};
use crate::data::Dataset;
use crate::data::detection::Annotated;
use crate::error::{Error, Result};
use crate::nets::detector::Body;
use crate::nets::{NetConfig, state};
use crate::report::count;
use crate::tensors::TensorMap;
use crate::train::{Fitted, Order, Progress, RunConfig};

/// How often a search for regions says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What a run came to.
#[derive(Debug)]
pub struct Trained {
    /// How the loop ended.
    pub fitted: Fitted,
    /// The best model on the validation part.
    pub val: DetectScores,
    /// The best model on the test part, which chose nothing.
    pub test: Option<DetectScores>,
}

/// Trains a detector. `proposals` is a file of regions for a network that proposes none, in place of selective
/// search's. See [`Order::fit`] for what survives an interruption.
///
/// # Errors
/// Whatever is wrong with data, configuration, disk or the course of training; see [`Error`].
pub fn train(
    data: &Path,
    order: &Order<'_, TrainConfig>,
    proposals: Option<&Path>,
    progress: &mut dyn Progress,
) -> Result<Trained> {
    train_on(dataset::open_for_training(data, order.config)?, order, proposals, progress)
}

/// Trains a detector on pictures that are already open.
///
/// # Errors
/// As [`train`].
pub fn train_on(
    parts: Parts,
    order: &Order<'_, TrainConfig>,
    proposals: Option<&Path>,
    progress: &mut dyn Progress,
) -> Result<Trained> {
    let Order { config, device, .. } = order;
    parts.notes.iter().for_each(|note| progress.message(note));
    let given = order.init_from.map(Given::read).transpose()?;
    if config.net.freeze > 0 && given.is_none() {
        return Err(Error::Config(
            "net.freeze keeps parts of the backbone as they are, which makes sense with --init-from only"
                .into(),
        ));
    }
    let classes = parts.train.classes().to_vec();
    let transform = given.as_ref().and_then(|given| given.transform.as_ref());
    let (detector, transform) = net::resolve(config, classes.len(), transform)?;
    let fingerprint = parts.train.fingerprint()?;
    let provenance = Provenance::of_training(config.command()?, config.seed, &fingerprint);
    let given_regions = proposals.map(Proposals::read).transpose()?;
    if given_regions.is_some() {
        detector.check_takes_proposals()?;
    }
    // Other regions make another run.
    let content = match &given_regions {
        Some(given) => format!("{fingerprint} {}", given.fingerprint()),
        None => fingerprint.clone(),
    };
    let mut net = detector.init(config.seed, &(*device).clone().autodiff())?;
    if let Some(given) = &given {
        net = given.hand_over(net, &detector, progress)?.freeze_first(config.net.freeze);
    }
    if config.net.frozen_norms.unwrap_or(given.is_some()) {
        net = net.freeze_norms();
    }
    let folder = order.open()?;
    progress.message(&format!(
        "{}: {} parameters, shorter side {}; {} pictures with {} boxes to learn from, {} to choose by, {} to test",
        detector.name,
        state::parameter_count(&net),
        transform.shorter,
        parts.train.len(),
        parts.train.boxes(),
        parts.val.len(),
        parts.test.as_ref().map_or(0, Dataset::len),
    ));
    let parameters = state::parameter_count(&net) as u64;
    let facts = [
        ("Format".to_owned(), parts.format.to_string()),
        ("Training pictures".into(), count(parts.train.len() as u64)),
        ("Boxes in them".into(), count(parts.train.boxes() as u64)),
        ("Fingerprint".into(), fingerprint.clone()),
        ("Left out".into(), parts.notes.join("; ")),
    ];
    let recipe = Recipe {
        net: detector,
        classes,
        transform,
        provenance: provenance.clone(),
        val_name: "validation".into(),
    };
    let Parts { train, val, test, .. } = parts;
    let regions = Regions { needed: recipe.net.needs_proposals(), given: given_regions.as_ref(), order };
    let train = regions.of(train, config.data.cache_mb, "training", progress)?;
    let val = regions.of(val, config.data.cache_mb, "validation", progress)?;
    let batches = Batches(dataset::training_loader(train, config, &recipe)?);
    let mut learner = DetectLearner::new(net, config, recipe, val, device)?;
    let fitted = order.fit(&mut learner, &batches, &folder, &content, progress)?;
    let best = folder.best();
    let detector = Detector::load(&best, device)?;
    let val = predict::compare(&detector, learner.val(), |_, _| {})?;
    let mut tested = None;
    if let Some(part) = test {
        progress.message(&format!("measuring the best model on {} test pictures", part.len()));
        let pictures = regions.of(part, 0, "test", progress)?;
        let compared = predict::compare(&detector, &pictures, |_, _| {})?;
        note_test(&best, &compared.scores(Style::Coco))?;
        tested = Some((compared, pictures));
    }
    let (compared, pictures, part) = match &tested {
        Some((compared, pictures)) => (compared, pictures, "test"),
        None => (&val, learner.val(), "validation"),
    };
    let page = run_report(&RunReport {
        title: &order.name(),
        net: &detector.config().name,
        parameters,
        measured_on: &format!("{} {part} pictures", compared.images),
        log: &read_log(&folder.read_log()?)?,
        compared,
        sight: pictures,
        data: &facts,
        configuration: &order.configuration()?,
        provenance: &provenance.facts(),
    });
    folder.write("report.html", &page)?;
    let test = tested.map(|(compared, _)| compared.scores(Style::Coco));
    Ok(Trained { fitted, val: val.scores(Style::Coco), test })
}

/// Where the regions come from that a network needs.
struct Regions<'a> {
    needed: bool,
    given: Option<&'a Proposals>,
    order: &'a Order<'a, TrainConfig>,
}

impl Regions<'_> {
    /// Pictures with the regions that the network needs, looked for now rather than while it waits.
    fn of(&self, data: Annotated, cache: usize, part: &str, progress: &mut dyn Progress) -> Result<Pictures> {
        let pictures = Pictures::new(data, cache);
        match self.given {
            Some(given) => pictures.with_proposals(given),
            None if !self.needed => Ok(pictures),
            None => {
                let (all, mut said) = (pictures.len(), Instant::now());
                pictures.search(|done| {
                    if done == all || said.elapsed() >= TELL_EVERY {
                        progress.message(&format!("selective search: {done} of {all} {part} pictures"));
                        said = Instant::now();
                    }
                    match self.order.interrupted.load(Ordering::Relaxed) {
                        true => Err(Error::Interrupted(
                            "interrupted while looking for regions; to look for them once for all runs, keep them \
                             with `opticus detect propose --to FILE` and --proposals FILE"
                                .into(),
                        )),
                        false => Ok(()),
                    }
                })?;
                Ok(pictures)
            }
        }
    }
}

/// Writes the test figures into the best model's card, beside the validation figures that chose it.
fn note_test(path: &Path, scores: &DetectScores) -> Result<()> {
    let mut bundle = bundle::load(path)?;
    let figures = [("ap", scores.ap), ("ap50", scores.ap50), ("ap75", scores.ap75), ("ar100", scores.ar100)];
    bundle.card.metrics.retain(|metric| metric.data != "test");
    bundle.card.metrics.extend(figures.into_iter().filter_map(|(name, value)| {
        value.map(|value| Metric { name: name.into(), value, data: "test".into(), count: scores.images })
    }));
    bundle::save(path, &bundle)
}

/// Another model to start from.
struct Given<'a> {
    path: &'a Path,
    bundle: Bundle,
    /// How its pictures are prepared, sizes aside.
    transform: Option<Transform>,
    /// The network, if it is a classifier.
    classifier: Option<NetConfig>,
}

impl<'a> Given<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        let bundle = bundle::load(path)?;
        let (net, preprocessing) = (bundle.card.net.clone(), bundle.card.preprocessing.clone());
        let (transform, classifier) = match bundle.card.job.as_str() {
            super::JOB => (Some(bundle::from_json("preprocessing", preprocessing)?), None),
            "classify" => {
                let seen = Transform::like(&bundle::from_json("preprocessing", preprocessing)?)?;
                (Some(seen), Some(bundle::from_json("net", net)?))
            }
            job => {
                return Err(Error::ModelFile(format!(
                    "{} is for the job `{job}`; --init-from takes a detector, or a classifier as backbone",
                    path.display()
                )));
            }
        };
        Ok(Self { path, bundle, transform, classifier })
    }

    /// The network with all weights that fit, saying what was left.
    fn hand_over(
        &self,
        net: DetectorNet,
        detector: &net::DetectorConfig,
        progress: &mut dyn Progress,
    ) -> Result<DetectorNet> {
        let tensors = match &self.classifier {
            None => self.bundle.tensors.clone(),
            Some(classifier) if classifier.name != detector.backbone() => {
                return Err(Error::Config(format!(
                    "{} is a {}, and the detector's backbone a {}; give --set net.backbone={}",
                    self.path.display(),
                    classifier.name,
                    detector.backbone(),
                    classifier.name
                )));
            }
            Some(classifier) => {
                let named = self.bundle.tensors.iter().filter_map(|(name, tensor)| {
                    let name = Body::name(classifier.name, name)?;
                    Some((format!("backbone.body.{name}"), tensor.clone()))
                });
                named.collect::<TensorMap>()
            }
        };
        let (net, notes) = state::take_over(net, &tensors, self.path, "the same --net or its backbone")?;
        // Of a classifier nothing but the backbone can fit.
        let told = if self.classifier.is_some() { 1 } else { notes.len() };
        notes.iter().take(told).for_each(|note| progress.message(note));
        Ok(net)
    }
}
