//! How good a generator is: its pictures against real ones, by the features of a network that it was not trained against.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use opticus_pixels::Image8;
use opticus_pixels::codec::{ColorMode, Limits};
use schemars::JsonSchema;
use serde::Serialize;

use super::condition::{Condition, Wish};
use super::dataset::{Examples, Measured};
use super::evidence::{Evidence, mistaken, nearest};
use super::extractor::{Extractor, Seen};
use super::matching::{self, Lessons};
use super::metrics::{
    Features, KernelOptions, ManifoldOptions, frechet_distance, inception_score, kernel_distance,
    manifold_scores, recognition,
};
use super::predict::{Generator, Request};
use super::prepare::prepare;
use crate::data::sampler::epoch_order;
use crate::data::{Dataset, Labelled, Records};
use crate::error::{Error, Result};
use crate::nets::gan::Matcher;
use crate::train::Progress;

/// Parts of the pictures that the inception score is taken of (Salimans et al. 2016).
const SPLITS: usize = 10;
/// Pictures made of each description that is held out.
const OF_EACH: usize = 4;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Pictures to make.
    pub count: usize,
    /// Seed of the first.
    pub seed: u64,
    /// Latent numbers beyond it are drawn again.
    pub truncation: Option<f64>,
    /// For text: passes of the matcher over the pictures.
    pub matcher_epochs: u64,
    /// Pictures of a kind to show as [`Evidence`].
    pub shown: usize,
}

/// What `generate eval` finds. Distances: smaller is better; all else: greater.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct GenerateScores {
    /// Fréchet distance of features (Heusel et al. 2017).
    pub fid: f64,
    /// The same between two sets of real pictures: the least that can be hoped for.
    pub fid_real: Option<f64>,
    /// Kernel distance of features (Bińkowski et al. 2018).
    pub kid: f64,
    /// Part of the made pictures that lie among real ones (Kynkäänniemi et al. 2019).
    pub precision: f64,
    /// Part of the real pictures that lie among made ones.
    pub recall: f64,
    /// Naeem et al. 2020.
    pub density: f64,
    /// Part of the real pictures with a made one near by (Naeem et al. 2020).
    pub coverage: f64,
    /// Of a classifier's probabilities (Salimans et al. 2016).
    pub inception_score: Option<f64>,
    /// Part of the made pictures that the classifier takes for what was asked for.
    pub recognised: Option<f64>,
    /// The same, by label.
    pub recognised_of: Vec<Recognised>,
    /// Part of the real pictures that a classifier trained on made ones only takes for what they are (Ravuri and Vinyals
    /// 2019, "Classification Accuracy Score for Conditional Generative Models"); where it was asked for.
    pub classification_accuracy: Option<f64>,
    /// For text: how pictures made of held-out descriptions find them again.
    pub retrieval: Option<Found>,
    /// The same of the real pictures: the most that can be hoped for.
    pub retrieval_real: Option<Found>,
    /// How it was measured.
    pub protocol: Protocol,
}

/// Pictures of one label.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Recognised {
    /// The label.
    pub label: String,
    /// Part of them taken for it.
    pub part: f64,
    /// Their number.
    pub count: u64,
}

/// How well pictures find their descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Found {
    /// Part of the pictures whose own description is the nearest.
    pub top1: f64,
    /// What that is by chance.
    pub chance: f64,
    /// Mean of one over the place of the own description.
    pub mean_reciprocal_rank: f64,
    /// Descriptions to choose from.
    pub descriptions: usize,
    /// Pictures.
    pub pictures: usize,
}

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Protocol {
    /// Real pictures.
    pub real: usize,
    /// Which of the data.
    pub part: String,
    /// Made pictures.
    pub fake: usize,
    /// What the features are of.
    pub extractor: String,
    /// Width of the features.
    pub features: usize,
    /// How pictures come to its size.
    pub resize: String,
    /// Seed of the first picture.
    pub seed: u64,
    /// Latent numbers beyond it were drawn again.
    pub truncation: Option<f64>,
}

/// Measures a generator. Where no extractor is given, descriptions make one.
///
/// # Errors
/// [`Error::Config`] where neither an extractor is given nor the model is asked by text; whatever data and model report.
pub fn evaluate(
    generator: &Generator,
    data: &Measured,
    extractor: Option<&Path>,
    question: Question,
    device: &Device,
    progress: &mut dyn Progress,
) -> Result<(GenerateScores, Evidence)> {
    let condition = generator.condition();
    let side = generator.size().width;
    let matcher = match condition {
        Condition::Text { .. } => {
            let lessons = Lessons { side, epochs: question.matcher_epochs, seed: 0 };
            progress.message("learning which description belongs to which picture, from the real ones");
            Some(matching::train(&data.learnt, condition, lessons, device, |epoch, loss| {
                progress.message(&format!("matcher, epoch {epoch}/{}: loss {loss:.3}", lessons.epochs));
            })?)
        }
        _ => None,
    };
    let extractor = match (extractor, &matcher) {
        (Some(path), _) => Extractor::load(path, device)?,
        (None, Some(matcher)) => Extractor::Matcher(Box::new(matcher.clone()), device.clone()),
        (None, None) => {
            return Err(Error::Config(
                "nothing to compare pictures by; give a classifier with --extractor FILE (`opticus classify train`, or \
                 `opticus model import --net inception_v3`)"
                    .into(),
            ));
        }
    };
    let count = question.count;
    progress.message("looking at the real pictures");
    let (real, of_real) = look(&extractor, &data.real, side, count, 0)?;
    let other = match &data.other {
        Some(other) => Some(look(&extractor, other, side, real.features.count(), 1)?),
        None => None,
    };
    progress.message(&format!("making {count} pictures"));
    let requests = requests(condition, &data.real.wishes, question);
    let made =
        requests.chunks(256).flat_map(|requests| match generator.sample(requests, question.truncation) {
            Ok(pictures) => pictures.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
    let Seen { features: fake, probabilities } = extractor.look(made)?;
    progress.message("comparing");
    let manifold = manifold_scores(&real.features, &fake, &ManifoldOptions::default())?;
    let seen = probabilities.as_ref().map(best);
    let (recognised, recognised_of) = recognised(condition, &extractor, seen.as_deref(), &requests)?;
    let splits = SPLITS.min(fake.count());
    let (retrieval, retrieval_real) = match &matcher {
        Some(matcher) if !data.held_out.wishes.is_empty() => {
            let [made, real] = retrieved(generator, matcher, &data.held_out, question, device)?;
            (Some(made), Some(real))
        }
        _ => (None, None),
    };
    let (learnt, of_learnt, pictures) = match &other {
        Some((other, order)) => (&other.features, order, &data.learnt),
        None => (&real.features, &of_real, &data.real),
    };
    let evidence = Evidence {
        nearest: nearest(generator, &requests, question, &fake, (learnt, of_learnt, pictures))?,
        among: learnt.count(),
        mistaken: match (recognised, &probabilities, &seen, extractor.classes()) {
            (Some(_), Some(probabilities), Some(seen), Some(classes)) => {
                mistaken(generator, &requests, question, (probabilities, seen), classes)?
            }
            _ => Vec::new(),
        },
    };
    let scores = GenerateScores {
        fid: frechet_distance(&real.features, &fake)?,
        fid_real: other
            .as_ref()
            .map(|(other, _)| frechet_distance(&real.features, &other.features))
            .transpose()?,
        kid: kernel_distance(&real.features, &fake, &KernelOptions::default())?.mean,
        precision: manifold.precision,
        recall: manifold.recall,
        density: manifold.density,
        coverage: manifold.coverage,
        inception_score: match &probabilities {
            Some(probabilities) => Some(inception_score(probabilities, splits)?.mean),
            None => None,
        },
        recognised,
        recognised_of,
        classification_accuracy: None,
        retrieval,
        retrieval_real,
        protocol: Protocol {
            real: real.features.count(),
            part: data.part.into(),
            fake: fake.count(),
            extractor: extractor.name(),
            features: fake.width(),
            resize: extractor.resize(),
            seed: question.seed,
            truncation: question.truncation,
        },
    };
    Ok((scores, evidence))
}

/// How well pictures made of descriptions that were held out find them again, and how well the real ones do.
fn retrieved(
    generator: &Generator,
    matcher: &Matcher,
    held_out: &Examples,
    question: Question,
    device: &Device,
) -> Result<[Found; 2]> {
    let condition = generator.condition();
    let (descriptions, own) = matching::distinct(&held_out.wishes);
    let found = |images: &[Image8], own: &[usize]| -> Result<Found> {
        let of = matching::judge(matcher, condition, images, &descriptions, own, device)?;
        Ok(Found {
            top1: of.top1,
            chance: of.chance,
            mean_reciprocal_rank: of.mean_reciprocal_rank,
            descriptions: of.candidates,
            pictures: images.len(),
        })
    };
    let asked: Vec<usize> = (0..descriptions.len() * OF_EACH).map(|i| i / OF_EACH).collect();
    let requests: Vec<Request> = (question.seed..)
        .zip(&asked)
        .map(|(seed, own)| Request { seed, wish: descriptions[*own].clone() })
        .collect();
    let made = generator.sample(&requests, question.truncation)?;
    let real = matching::load(held_out, generator.size().width)?;
    Ok([found(&made, &asked)?, found(&real, &own)?])
}

/// The most probable class of each picture.
fn best(probabilities: &Features) -> Vec<usize> {
    let best =
        |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap_or(0);
    probabilities.rows().map(best).collect()
}

/// Features of at most so many pictures, chosen by chance, and which they are.
fn look(
    extractor: &Extractor,
    examples: &Examples,
    side: u32,
    most: usize,
    seed: u64,
) -> Result<(Seen, Vec<usize>)> {
    let mut order = epoch_order(examples.pictures.len(), seed, 0);
    order.truncate(most);
    let seen = extractor.look(order.iter().map(|&i| Ok(prepare(&examples.pictures.load(i)?, side))))?;
    Ok((seen, order))
}

/// What to make: labels in turn, else what real pictures are asked by.
fn requests(condition: &Condition, said: &[Wish], question: Question) -> Vec<Request> {
    let wish = |i: usize| match condition {
        Condition::None => Wish::Any,
        Condition::Label { names } => Wish::Label(i % names.len().max(1)),
        _ => said[i % said.len().max(1)].clone(),
    };
    (0..question.count)
        .map(|i| Request { seed: question.seed.wrapping_add(i as u64), wish: wish(i) })
        .collect()
}

/// Pictures of each label in turn, as data to learn from; alpha is left out.
///
/// # Errors
/// [`Error::Config`] for a model that is not asked by labels.
pub fn labelled(generator: &Generator, question: Question) -> Result<Labelled> {
    let Condition::Label { names } = generator.condition() else {
        return Err(Error::Config(
            "a classification accuracy score is of labels, which this model is not asked by; leave --accuracy out"
                .into(),
        ));
    };
    let color = if generator.config().channels == 1 { ColorMode::Grey } else { ColorMode::Rgb };
    let mut data = Vec::new();
    let requests = requests(generator.condition(), &[], question);
    for requests in requests.chunks(256) {
        for picture in generator.sample(requests, question.truncation)? {
            data.extend_from_slice(&picture.to_mode(color).data);
        }
    }
    let size = generator.size();
    let records = Arc::new(Records { origin: "made".into(), size, channels: color.channels(), data });
    let items = records.items((0..question.count).map(|i| i % names.len().max(1))).collect();
    Labelled::new(names.clone(), items, color, Limits::default())
}

/// How many pictures a classifier of the same labels takes for what was asked for.
fn recognised(
    condition: &Condition,
    extractor: &Extractor,
    seen: Option<&[usize]>,
    requests: &[Request],
) -> Result<(Option<f64>, Vec<Recognised>)> {
    let (Condition::Label { names }, Some(classes), Some(seen)) = (condition, extractor.classes(), seen)
    else {
        return Ok((None, Vec::new()));
    };
    if classes != names.as_slice() {
        return Ok((None, Vec::new()));
    }
    let wanted: Vec<usize> = requests
        .iter()
        .filter_map(|r| if let Wish::Label(label) = r.wish { Some(label) } else { None })
        .collect();
    let found = recognition(names.len(), &wanted, seen)?;
    let of = names.iter().zip(&found.per_class).map(|(label, class)| Recognised {
        label: label.clone(),
        part: class.accuracy,
        count: class.count,
    });
    Ok((Some(found.accuracy), of.collect()))
}
