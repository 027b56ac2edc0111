//! From a path to training pictures of one size, each with what it is asked by.

use std::path::Path;
use std::sync::Arc;

use opticus_pixels::codec::ColorMode;
use opticus_pixels::preprocess::Planes;
use opticus_pixels::{Image8, resize};
use rand::RngExt;

use super::condition::{Condition, Wish};
use super::config::{Asked, TrainConfig};
use super::predict::to_values;
use super::prepare::prepare;
use super::text::{Vocabulary, words};
use crate::data::described::{self, Described};
use crate::data::sampler::{DataRng, Purpose, epoch_order, rng_for, shuffle};
use crate::data::{
    self, Cached, Dataset, Format, Labelled, Loader, LoaderOptions, OpenOptions, Skipped, Splits,
    open_pictures,
};
use crate::error::{Error, Result};

/// The largest side taken from the data where none is given.
const USUAL_SIDE: u32 = 64;
/// The most words of a vocabulary.
const MOST_WORDS: usize = 8192;

/// Pictures and the wishes that they fulfil, in the same order.
#[derive(Clone, Debug)]
pub struct Examples {
    /// The pictures.
    pub pictures: Labelled,
    /// What each is asked by.
    pub wishes: Arc<[Wish]>,
    /// For text, what is said of each, as written.
    pub captions: Arc<[String]>,
}

/// The data of a run.
#[derive(Debug)]
pub struct Parts {
    /// Learnt from.
    pub train: Examples,
    /// Descriptions set aside, with their pictures; empty but for text.
    pub held_out: Examples,
    /// For labels, the data's own part to test by, else to validate by, and its name.
    pub own: Option<(&'static str, Examples)>,
    /// What the model can be asked for.
    pub condition: Condition,
    /// Left out because they cannot be read.
    pub skipped: Vec<Skipped>,
    /// Side of the pictures, unless the user wants another.
    pub side: u32,
    /// Their channels.
    pub channels: usize,
}

/// Opens data of any kind: class folders, IDX, CIFAR, tables, loose pictures, emoji.
///
/// # Errors
/// [`Error::Input`] naming what is wrong with the data; [`Error::Config`] for a condition that it has not.
pub fn open(path: &Path, config: &TrainConfig) -> Result<Parts> {
    let options = OpenOptions { on_bad: config.data.on_bad, ..OpenOptions::default() };
    let folder = path.is_dir();
    let asked = match config.data.condition {
        Asked::Auto if !config.data.columns.is_empty() => Asked::Numbers,
        Asked::Auto if folder && described::has_emoji(path) => Asked::Text,
        Asked::Auto if !folder && described::has_captions(path) => Asked::Text,
        other => other,
    };
    let mut parts = match asked {
        Asked::Text => text(described::captions(path, &options)?, config)?,
        Asked::Numbers => {
            numbers(described::numbers(path, &config.data.columns, &options)?, &config.data.columns)?
        }
        Asked::Label => labels(data::open(path, Format::Auto, &options)?)?,
        // What has classes is asked by them; anything else is a pile of pictures.
        Asked::Auto | Asked::None => match data::open(path, Format::Auto, &options) {
            Ok(splits) if asked == Asked::Auto && splits.classes().len() > 1 => labels(splits)?,
            Ok(splits) => loose(splits.train, splits.skipped),
            Err(error) if folder => match open_pictures(path, &options) {
                Ok((pictures, skipped)) => loose(pictures, skipped),
                Err(own) => return Err(if asked == Asked::None { own } else { error }),
            },
            Err(error) => return Err(error),
        },
    };
    if parts.train.pictures.is_empty() {
        return Err(Error::Input(format!("{} has no pictures to learn from", path.display())));
    }
    let channels = config.net.channels;
    let color = match channels {
        Some(1) => ColorMode::Grey,
        Some(3) => ColorMode::Rgb,
        Some(4) => ColorMode::Rgba,
        Some(n) => {
            return Err(Error::Config(format!(
                "--channels {n}; give 1 for grey, 3 for colour, 4 with alpha"
            )));
        }
        None if described::has_alpha(&parts.train.pictures) => ColorMode::Rgba,
        None => parts.train.pictures.color(),
    };
    let own = parts.own.as_mut().map(|(_, examples)| examples);
    for part in [&mut parts.train, &mut parts.held_out].into_iter().chain(own) {
        part.pictures = part.pictures.clone().with_color(color);
    }
    parts.channels = color.channels();
    parts.side = pictures_side(&parts.train.pictures);
    Ok(parts)
}

/// What a generator is measured with.
#[derive(Debug)]
pub struct Measured {
    /// Compared with.
    pub real: Examples,
    /// Which part of the data that is.
    pub part: &'static str,
    /// Other real pictures, for the least distance that can be hoped for.
    pub other: Option<Examples>,
    /// What there is to learn a judge from.
    pub learnt: Examples,
    /// Descriptions that were set aside, with their pictures; empty but for text.
    pub held_out: Examples,
}

/// Opens data to measure a generator of this condition by. For text, `config` must have the seed of its training, so that
/// the same descriptions are set aside.
///
/// # Errors
/// As [`open`]; [`Error::Input`] for labels that are not the model's.
pub fn open_for_measuring(
    path: &Path,
    condition: &Condition,
    [side, channels]: [usize; 2],
    config: &TrainConfig,
) -> Result<Measured> {
    let mut config = config.clone();
    config.net.channels = Some(channels);
    config.net.image_size = Some(side as u32);
    config.data.condition = match condition {
        Condition::None => Asked::None,
        Condition::Label { .. } => Asked::Label,
        Condition::Numbers { .. } => Asked::Numbers,
        Condition::Text { .. } => Asked::Text,
    };
    match condition {
        Condition::Numbers { columns, .. } => config.data.columns.clone_from(columns),
        Condition::Text { held_out, .. } => config.data.held_out = *held_out,
        Condition::None | Condition::Label { .. } => {}
    }
    let Parts { train, held_out, own, condition: found, .. } = open(path, &config)?;
    if let (Condition::Label { names }, Condition::Label { names: known }) = (&found, condition)
        && names != known
    {
        return Err(Error::Input(format!(
            "{} has other labels than the model: {} instead of {}",
            path.display(),
            names.join(", "),
            known.join(", ")
        )));
    }
    // Wishes in the model's terms, whatever this data would have made of them.
    let said = |examples: &Examples| -> Examples {
        let Condition::Text { vocabulary, length, .. } = condition else { return examples.clone() };
        let wishes =
            examples.captions.iter().map(|said| Wish::Tokens(vocabulary.tokens(said, *length).0)).collect();
        Examples { wishes, ..examples.clone() }
    };
    let (learnt, held_out) = (said(&train), said(&held_out));
    let (real, part, other) = match own {
        Some((part, real)) => (real, part, Some(learnt.clone())),
        None => (learnt.clone(), "train", None),
    };
    Ok(Measured { real, part, other, learnt, held_out })
}

fn labels(splits: Splits) -> Result<Parts> {
    splits.train.check_trainable()?;
    let own = [("test", splits.test), ("val", splits.val)];
    let own =
        own.into_iter().find_map(|(name, part)| Some((name, by_label(part.filter(|p| !p.is_empty())?))));
    Ok(Parts { own, skipped: splits.skipped, ..labelled(splits.train) })
}

/// Pictures that are already open, asked by their labels.
pub fn labelled(pictures: Labelled) -> Parts {
    let names = pictures.classes().to_vec();
    let (side, channels) = (pictures_side(&pictures), pictures.color().channels());
    Parts { side, channels, ..parts(by_label(pictures), Condition::Label { names }, Vec::new()) }
}

fn by_label(pictures: Labelled) -> Examples {
    let wishes = pictures.items().iter().map(|item| Wish::Label(item.label)).collect();
    Examples { pictures, wishes, captions: Arc::new([]) }
}

/// The side that suits pictures: their own, within bounds.
fn pictures_side(pictures: &Labelled) -> u32 {
    let side = pictures.load(0).map_or(USUAL_SIDE, |first| first.size.width.max(first.size.height));
    side.clamp(16, USUAL_SIDE)
}

fn loose(pictures: Labelled, skipped: Vec<Skipped>) -> Parts {
    let wishes = vec![Wish::Any; pictures.len()].into();
    parts(Examples { pictures, wishes, captions: Arc::new([]) }, Condition::None, skipped)
}

fn numbers(all: Described<Vec<f64>>, columns: &[String]) -> Result<Parts> {
    let n = all.said.len().max(1) as f64;
    let (mut means, mut deviations) = (Vec::new(), Vec::new());
    for (c, column) in columns.iter().enumerate() {
        let mean = all.said.iter().map(|row| row[c]).sum::<f64>() / n;
        let variance = all.said.iter().map(|row| (row[c] - mean).powi(2)).sum::<f64>() / n;
        if variance.is_nan() || variance <= 0.0 {
            return Err(Error::Input(format!(
                "the column {column} is {mean} for every picture; nothing can be asked by it. Leave it out of --columns"
            )));
        }
        means.push(mean);
        deviations.push(variance.sqrt());
    }
    let standard = |row: &Vec<f64>| {
        let z = row.iter().zip(&means).zip(&deviations).map(|((v, m), d)| ((v - m) / d) as f32);
        Wish::Numbers(z.collect())
    };
    let wishes = all.said.iter().map(standard).collect();
    let condition = Condition::Numbers { columns: columns.to_vec(), means, deviations };
    Ok(parts(Examples { pictures: all.pictures, wishes, captions: Arc::new([]) }, condition, all.skipped))
}

fn text(all: Described<String>, config: &TrainConfig) -> Result<Parts> {
    // Pictures with the same words go together, so that what is held out has not been said before.
    let mut groups: std::collections::BTreeMap<Vec<String>, Vec<usize>> = std::collections::BTreeMap::new();
    for (index, caption) in all.said.iter().enumerate() {
        groups.entry(words(caption)).or_default().push(index);
    }
    let groups: Vec<Vec<usize>> = groups.into_values().collect();
    let wanted = (all.said.len() as f64 * config.data.held_out).round() as usize;
    let mut out = vec![false; all.said.len()];
    let mut count = 0;
    for group in epoch_order(groups.len(), rng_for(config.seed, Purpose::Split, 0, 0).random(), 0) {
        if count + groups[group].len() <= wanted {
            count += groups[group].len();
            groups[group].iter().for_each(|&i| out[i] = true);
        }
    }
    let (held, train): (Vec<usize>, Vec<usize>) = (0..all.said.len()).partition(|&i| out[i]);
    let said = train.iter().map(|&i| all.said[i].as_str());
    let vocabulary = Vocabulary::of(said, config.data.least, MOST_WORDS);
    if vocabulary.is_empty() {
        return Err(Error::Input(format!(
            "no word occurs in {} descriptions; nothing can be asked by them. Lower data.least, or use --condition none",
            config.data.least
        )));
    }
    let condition = Condition::Text { vocabulary, length: config.data.words, held_out: config.data.held_out };
    let examples = |indices: &[usize]| {
        let part = all.subset(indices);
        let Condition::Text { vocabulary, length, .. } = &condition else { unreachable!("made above") };
        let wishes = part.said.iter().map(|said| Wish::Tokens(vocabulary.tokens(said, *length).0)).collect();
        Examples { pictures: part.pictures, wishes, captions: part.said.into() }
    };
    let (train, held_out) = (examples(&train), examples(&held));
    Ok(Parts { held_out, ..parts(train, condition, all.skipped) })
}

fn parts(train: Examples, condition: Condition, skipped: Vec<Skipped>) -> Parts {
    let none = train.pictures.subset(&[]);
    let held_out = Examples { pictures: none, wishes: Arc::new([]), captions: Arc::new([]) };
    Parts { train, held_out, own: None, condition, skipped, side: 0, channels: 0 }
}

/// Pictures that are visited again and again, until an epoch has its number of them.
pub struct Visits {
    pictures: Cached<Labelled>,
    wishes: Arc<[Wish]>,
    /// For a balanced epoch: the pictures of each label.
    labels: Vec<Vec<usize>>,
    count: usize,
}

impl Visits {
    /// The picture of a visit.
    fn picture(&self, index: usize) -> usize {
        match self.labels.len() {
            0 => index % self.wishes.len().max(1),
            n => {
                let of = &self.labels[index % n];
                of[index / n % of.len().max(1)]
            }
        }
    }
}

impl Dataset for Visits {
    type Target = Wish;

    fn len(&self) -> usize {
        self.count
    }

    fn load(&self, index: usize) -> Result<Image8> {
        self.pictures.load(self.picture(index))
    }

    fn target(&self, index: usize) -> Wish {
        self.wishes[self.picture(index)].clone()
    }

    fn name(&self, index: usize) -> String {
        self.pictures.name(self.picture(index))
    }
}

/// Batches of pictures [n, c, side, side] in [-1, 1] with their wishes.
///
/// # Errors
/// [`Error::Input`] for fewer pictures than a batch; [`Error::Device`] if threads cannot be started.
pub fn training_loader(examples: &Examples, side: u32, config: &TrainConfig) -> Result<Loader<Visits, Wish>> {
    const SHORTEST: usize = 4096;
    let n = examples.pictures.len();
    if n < config.fit.batch_size {
        return Err(Error::Input(format!(
            "there are {n} pictures, fewer than a batch of {}; add pictures or lower --batch-size",
            config.fit.batch_size
        )));
    }
    let mut labels: Vec<Vec<usize>> = Vec::new();
    if config.data.balanced {
        for (index, wish) in examples.wishes.iter().enumerate() {
            if let Wish::Label(label) = wish {
                labels.resize_with(labels.len().max(label + 1), Vec::new);
                labels[*label].push(index);
            }
        }
        labels.retain(|of| !of.is_empty());
    }
    let count = match config.data.epoch {
        0 => n.max(SHORTEST),
        given => given.max(config.fit.batch_size),
    };
    let budget = (config.data.cache_mb as u64) << 20;
    let pictures =
        Cached::new(examples.pictures.clone(), budget).prepared(move |image| prepare(&image, side));
    let visits = Visits { pictures, wishes: Arc::clone(&examples.wishes), labels, count };
    let options = LoaderOptions {
        batch_size: config.fit.batch_size,
        shuffle: true,
        drop_last: true,
        seed: config.seed,
        ..LoaderOptions::default()
    };
    let (flip, dropout, shuffled) = (config.data.flip, config.data.word_dropout, config.data.word_shuffle);
    Loader::with(visits, options, move |visits, index, rng| {
        // The cache passes by pictures that lie in memory.
        let mut image = prepare(&visits.load(index)?, side);
        if flip && rng.random::<bool>() {
            image = resize::flip_horizontal(&image);
        }
        let planes = Planes { channels: image.channels, size: image.size, data: to_values(&image) };
        Ok((planes, reworded(visits.target(index), dropout, shuffled, rng)))
    })
}

/// A description without some of its words, by chance, but never without all; and, by chance, in another order.
pub(super) fn reworded(wish: Wish, dropout: f64, shuffled: f64, rng: &mut DataRng) -> Wish {
    let Wish::Tokens(tokens) = wish else { return wish };
    let kept: Vec<u32> = tokens.iter().copied().filter(|_| rng.random::<f64>() >= dropout).collect();
    let mut kept = if kept.is_empty() { tokens } else { kept };
    if rng.random::<f64>() < shuffled {
        shuffle(&mut kept, rng);
    }
    Wish::Tokens(kept)
}
