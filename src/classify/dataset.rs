//! From a data set on disk to what training, evaluation and reports need of it.

use std::path::Path;

use opticus_pixels::codec::ColorMode;
use opticus_pixels::preprocess::Preprocessing;
use opticus_pixels::{Image8, Size, codec};

use super::config::TrainConfig;
use crate::data::augment::training_planes;
use crate::data::{
    self, Cached, Dataset, Item, Labelled, Loader, LoaderOptions, OpenOptions, Source, Splits,
};
use crate::error::{Error, Result};

/// Part of the training pictures set aside where the data set has no validation part and none is asked for.
pub const DEFAULT_VAL_SPLIT: f64 = 0.1;

/// How many pictures are looked at to choose an input size.
const LOOKED_AT: usize = 64;

/// The largest input side chosen without being asked: larger ones cost more CPU time than they gain.
const LARGEST_AUTOMATIC_SIDE: u32 = 128;

/// The parts of a labelled data set that a training run uses.
#[derive(Debug)]
pub struct Parts {
    /// Learnt from.
    pub train: Labelled,
    /// Chooses the best epoch.
    pub val: Labelled,
    /// Measured once, at the end; never chosen by.
    pub test: Option<Labelled>,
    /// Pictures left out because they cannot be read.
    pub skipped: Vec<data::Skipped>,
    /// The kind of data set.
    pub format: data::Format,
}

/// Opens a data set for training: with the validation part that is there or that is asked for.
///
/// # Errors
/// [`Error::Input`] for data nothing can be learnt from, [`Error::Config`] for a split that leaves a part empty.
pub fn open_for_training(path: &Path, config: &TrainConfig) -> Result<Parts> {
    let options =
        OpenOptions { on_bad: config.data.on_bad, color: color_for(config)?, ..OpenOptions::default() };
    let mut splits = data::open(path, config.data.format, &options)?;
    splits.train.check_trainable()?;
    let fraction = config.data.val_split;
    if splits.val.is_none() || fraction.is_some() {
        splits = splits.with_validation(fraction.unwrap_or(DEFAULT_VAL_SPLIT), config.seed)?;
    }
    let Splits { train, val, test, skipped, format } = splits;
    let val = val.filter(|v| !v.is_empty()).ok_or_else(|| {
        Error::Input(
            "too few pictures to set some aside for validation; add pictures or raise --val-split".into(),
        )
    })?;
    Ok(Parts { train, val, test, skipped, format })
}

fn color_for(config: &TrainConfig) -> Result<Option<ColorMode>> {
    match config.input.channels {
        None => Ok(None),
        Some(1) => Ok(Some(ColorMode::Grey)),
        Some(3) => Ok(Some(ColorMode::Rgb)),
        Some(n) => Err(Error::Config(format!("input.channels is {n}; a picture has 1 (grey) or 3 (colour)"))),
    }
}

/// The side of the square input for these pictures: their median shorter side, at most
/// 128, rounded down to a multiple of 4 and never below 28.
pub fn automatic_side(pictures: &Labelled) -> u32 {
    let step = pictures.len().div_ceil(LOOKED_AT).max(1);
    let mut sides: Vec<u32> = (0..pictures.len())
        .step_by(step)
        .filter_map(|i| size(pictures, i))
        .map(|Size { width, height }| width.min(height))
        .collect();
    sides.sort_unstable();
    let median = sides.get(sides.len() / 2).copied().unwrap_or(LARGEST_AUTOMATIC_SIDE);
    (median.min(LARGEST_AUTOMATIC_SIDE) / 4 * 4).max(28)
}

/// The size of one picture, without decoding it.
fn size(pictures: &Labelled, index: usize) -> Option<Size> {
    match &pictures.items()[index].source {
        Source::Record { records, .. } => Some(records.size),
        Source::File { path, .. } => codec::probe_file(path, pictures.limits()).ok().map(|p| p.size),
    }
}

/// Per-channel mean and standard deviation, in 0..=1, over up to 2,000 pictures; a channel without contrast
/// gets a deviation of 1 so that it can be divided by.
pub fn channel_statistics(pictures: &Labelled) -> Result<(Vec<f32>, Vec<f32>)> {
    const MOST: usize = 2000;
    let step = pictures.len().div_ceil(MOST).max(1);
    let (mut sums, mut squares, mut count) = ([0.0f64; 4], [0.0f64; 4], 0.0f64);
    let mut channels = 1;
    for i in (0..pictures.len()).step_by(step) {
        let Image8 { size, channels: c, data } = pictures.load(i)?;
        channels = c;
        // Every picture weighs the same, whatever its size.
        let weight = 1.0 / size.area() as f64;
        for (channel, (sum, square)) in sums.iter_mut().zip(&mut squares).enumerate().take(c) {
            let (mut s, mut q) = (0u64, 0u64);
            for &v in data.iter().skip(channel).step_by(c) {
                s += u64::from(v);
                q += u64::from(v) * u64::from(v);
            }
            *sum += s as f64 * weight / 255.0;
            *square += q as f64 * weight / (255.0 * 255.0);
        }
        count += 1.0;
    }
    let mean: Vec<f32> = sums.iter().take(channels).map(|s| (s / count) as f32).collect();
    let deviation = sums
        .iter()
        .zip(&squares)
        .take(channels)
        .map(|(s, q)| (q / count - (s / count).powi(2)).max(0.0).sqrt())
        .map(|d| if d < 1e-3 { 1.0 } else { d as f32 })
        .collect();
    Ok((mean, deviation))
}

/// The pictures of all parts together.
///
/// # Errors
/// None for parts that were opened together.
pub fn every_picture(splits: Splits) -> Result<Labelled> {
    let Splits { train, val, test, .. } = splits;
    let items = [Some(&train), val.as_ref(), test.as_ref()]
        .into_iter()
        .flatten()
        .flat_map(|part| part.items().iter().cloned())
        .collect();
    Labelled::new(train.classes().to_vec(), items, train.color(), train.limits().clone())
}

/// The same pictures with their labels as a model's class indices, matched by name.
///
/// # Errors
/// [`Error::Input`] naming a class that the model does not know: its figures would be meaningless.
pub fn with_classes_of(pictures: Labelled, classes: &[String]) -> Result<Labelled> {
    if pictures.classes() == classes {
        return Ok(pictures);
    }
    let index = |name: &String| {
        classes.iter().position(|c| c == name).ok_or_else(|| {
            Error::Input(format!(
                "the data has a class `{name}` that the model does not know; `opticus model info` lists its classes"
            ))
        })
    };
    let map = pictures.classes().iter().map(index).collect::<Result<Vec<usize>>>()?;
    let items = pictures.items().iter().map(|item| Item { label: map[item.label], ..item.clone() }).collect();
    Labelled::new(classes.to_vec(), items, pictures.color(), pictures.limits().clone())
}

/// Pictures with their decoded form kept in memory while it fits.
pub type Pictures = Cached<Labelled>;

/// Batches for training: decoded, augmented and prepared ahead of the trainer. One batch holds the pictures of
/// one step, `fit.accumulate` times `fit.batch_size`.
pub fn training_loader(
    pictures: Labelled,
    config: &TrainConfig,
    preprocessing: &Preprocessing,
) -> Result<Loader<Pictures, usize>> {
    let batch_size = config.fit.batch_size * config.fit.accumulate;
    let options = LoaderOptions {
        batch_size,
        shuffle: true,
        // A last batch of one picture would give batch-norm a variance of zero.
        drop_last: pictures.len() > batch_size,
        seed: config.seed,
        mix: config.augment.mix,
        ..LoaderOptions::default()
    };
    let (augment, preprocessing) = (config.augment.clone(), preprocessing.clone());
    let pictures = Cached::new(pictures, cache_bytes(config.data.cache_mb));
    Loader::new(pictures, options, move |image, rng| {
        Ok(training_planes(&image, &augment, &preprocessing, rng))
    })
}

/// Batches for measuring: every picture once, in order, prepared as for prediction.
pub fn measuring_loader(
    pictures: Labelled,
    preprocessing: &Preprocessing,
    batch_size: usize,
    cache_mb: usize,
) -> Result<Loader<Pictures, usize>> {
    let options = LoaderOptions { batch_size, ..LoaderOptions::default() };
    let preprocessing = preprocessing.clone();
    // Decoded once and shrunk to the network's input before it is kept: preparing is idempotent on that size.
    let geometry = preprocessing.clone();
    let pictures =
        Cached::new(pictures, cache_bytes(cache_mb)).prepared(move |image| geometry.geometry(&image));
    Loader::new(pictures, options, move |image, _| Ok(preprocessing.normalize(&image)))
}

fn cache_bytes(megabytes: usize) -> u64 {
    (megabytes as u64) << 20
}
