//! From a data set on disk to what training, evaluation and reports need of it.

use std::path::Path;
use std::sync::OnceLock;

use opticus_pixels::Image8;
use opticus_pixels::codec::ColorMode;
use opticus_pixels::geometry::{Box2d, Size};
use rayon::prelude::*;

use super::config::TrainConfig;
use super::learner::Recipe;
use super::predict::{planes, search};
use super::proposal_file::Proposals;
use super::report::Sight;
use crate::data::detection::augment::{Scene, Scenes};
use crate::data::detection::{self, Annotated, Annotation, OpenOptions, Splits};
use crate::data::{Cached, Dataset, Format, Loader, LoaderOptions, Sizes};
use crate::error::{Error, Result};

/// Part of the training pictures set aside where the data set has no validation part and none is asked for.
pub const DEFAULT_VAL_SPLIT: f64 = 0.2;

/// The parts of an annotated data set that a training run uses.
#[derive(Debug)]
pub struct Parts {
    /// Learnt from.
    pub train: Annotated,
    /// Chooses the best epoch.
    pub val: Annotated,
    /// Measured once, at the end; never chosen by.
    pub test: Option<Annotated>,
    /// What people should know: boxes and pictures that were left out, and why.
    pub notes: Vec<String>,
    /// The kind of data set.
    pub format: Format,
}

/// Opens a data set for training: with the validation part that is there or that is asked for.
///
/// # Errors
/// [`Error::Input`] for data nothing can be learnt from, [`Error::Config`] for a split that leaves a part empty.
pub fn open_for_training(path: &Path, config: &TrainConfig) -> Result<Parts> {
    let options = OpenOptions {
        on_bad: config.data.on_bad,
        on_bad_boxes: config.data.on_bad_boxes,
        color: Some(ColorMode::Rgb),
        ..OpenOptions::default()
    };
    let mut splits = detection::open(path, config.data.format, &options)?;
    splits.train.check_trainable()?;
    let fraction = config.data.val_split;
    if splits.val.is_none() || fraction.is_some() {
        splits = splits.with_validation(fraction.unwrap_or(DEFAULT_VAL_SPLIT), config.seed)?;
    }
    let Splits { train, val, test, faults, mut notes, format } = splits;
    if faults.total() > 0 {
        notes.push(format!("left out: {}", faults.summary()));
    }
    let val = val.filter(|v| !v.is_empty()).ok_or_else(|| {
        Error::Input(
            "too few pictures to set some aside for validation; add pictures or raise --val-split".into(),
        )
    })?;
    Ok(Parts { train, val, test, notes, format })
}

/// The pictures of all parts together.
///
/// # Errors
/// None for parts that were opened together.
pub fn every_picture(splits: Splits) -> Result<Annotated> {
    let classes = splits.classes().to_vec();
    let (color, limits) = (splits.train.color(), splits.train.limits().clone());
    let pictures = splits.parts().flat_map(|(_, part)| part.pictures().to_vec()).collect();
    Annotated::new(classes, pictures, color, limits)
}

/// The same pictures with their boxes' classes as a model's, matched by name.
///
/// # Errors
/// [`Error::Input`] naming a class that the model does not know: its figures would be meaningless.
pub fn with_classes_of(data: Annotated, classes: &[String]) -> Result<Annotated> {
    if data.classes() == classes {
        return Ok(data);
    }
    let counts = data.class_counts();
    let index = |(name, count): (&String, &usize)| match classes.iter().position(|class| class == name) {
        Some(index) => Ok(index),
        // A name of which there is no box does no harm.
        None if *count == 0 => Ok(0),
        None => Err(Error::Input(format!(
            "the data has boxes of a class `{name}` that the model does not know; `opticus model info` lists its classes"
        ))),
    };
    let map = data.classes().iter().zip(&counts).map(index).collect::<Result<Vec<usize>>>()?;
    let mut pictures = data.pictures().to_vec();
    pictures.iter_mut().flat_map(|p| &mut p.annotations).for_each(|a| a.class = map[a.class]);
    Annotated::new(classes.to_vec(), pictures, data.color(), data.limits().clone())
}

/// What a picture of a batch is to be found to hold, in pixels of the network's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The objects: class and box.
    pub truth: Vec<(usize, Box2d)>,
    /// Regions that may hold an object, best first, for the networks that propose none.
    pub proposals: Vec<Box2d>,
    /// What of the input is picture.
    pub within: Size,
}

/// Batches for training: decoded, augmented with their boxes and prepared ahead of the trainer. One batch holds the
/// pictures of one step, `fit.accumulate` times `fit.batch_size`.
///
/// # Errors
/// As [`Loader::with`].
pub fn training_loader(
    pictures: Pictures,
    config: &TrainConfig,
    recipe: &Recipe,
) -> Result<Loader<Pictures, Target>> {
    let batch_size = config.fit.batch_size * config.fit.accumulate;
    let options = LoaderOptions {
        batch_size,
        shuffle: true,
        drop_last: pictures.len() > batch_size,
        seed: config.seed,
        sizes: Sizes::Padded,
        ..LoaderOptions::default()
    };
    let (augment, transform) = (config.augment.clone(), recipe.transform.clone());
    let with_proposals = recipe.net.needs_proposals();
    Loader::with(pictures, options, move |pictures, index, rng| {
        let scene = augment.apply(&AsScenes { pictures, with_proposals }, index, rng)?;
        let (input, placement) = transform.apply(&planes(&scene.image));
        let seen = |b: &Box2d| placement.box_to_frame(*b).clipped(placement.scaled);
        // A region of many objects teaches nothing about one.
        let objects = scene.annotations.iter().filter(|a| !a.crowd);
        let truth = objects.map(|a| (a.class, seen(&a.bounds))).filter(|(_, b)| b.valid()).collect();
        let proposals = scene.proposals.iter().map(seen).filter(|b| b.valid()).collect();
        Ok((input, Target { truth, proposals, within: placement.scaled }))
    })
}

/// Pictures with their objects, and with their regions where they are needed.
struct AsScenes<'a> {
    pictures: &'a Pictures,
    with_proposals: bool,
}

impl Scenes for AsScenes<'_> {
    fn count(&self) -> usize {
        self.pictures.len()
    }

    fn scene(&self, index: usize) -> Result<Scene> {
        let proposals = if self.with_proposals { self.pictures.proposals(index)? } else { Vec::new() };
        let (image, annotations) = (self.pictures.load(index)?, self.pictures.target(index));
        Ok(Scene { image, annotations, proposals })
    }
}

/// Annotated pictures, decoded once while they fit, with the regions of each: those given, or those that selective
/// search finds, looked for once.
pub struct Pictures {
    cached: Cached<Annotated>,
    proposals: Vec<OnceLock<Vec<Box2d>>>,
}

impl Pictures {
    /// Keeps up to so many megabytes of decoded pictures.
    pub fn new(pictures: Annotated, cache_mb: usize) -> Self {
        let proposals = (0..pictures.len()).map(|_| OnceLock::new()).collect();
        Self { cached: Cached::new(pictures, (cache_mb as u64) << 20), proposals }
    }

    /// The data set itself.
    pub fn annotated(&self) -> &Annotated {
        self.cached.inner()
    }

    /// With regions from elsewhere, which every picture must have.
    ///
    /// # Errors
    /// [`Error::Input`] naming a picture without regions, or with those of a picture of another size.
    pub fn with_proposals(mut self, given: &Proposals) -> Result<Self> {
        let pictures = self.annotated().pictures().iter();
        let found: Result<Vec<_>> = pictures.map(|p| given.of(&p.relative, p.size)).collect();
        self.proposals = found?.into_iter().map(OnceLock::from).collect();
        Ok(self)
    }

    /// Looks for the regions of every picture that has none yet, some pictures at a time: `tell` hears how many have
    /// theirs, and stops the search with an error.
    ///
    /// # Errors
    /// [`Error::Input`] for a picture that cannot be read; those of `tell`.
    pub fn search(&self, mut tell: impl FnMut(usize) -> Result<()>) -> Result<()> {
        let missing: Vec<usize> =
            (0..self.proposals.len()).filter(|&i| self.proposals[i].get().is_none()).collect();
        // Few enough that memory and Ctrl-C do not wait for long, enough that no thread does.
        let together = 4 * rayon::current_num_threads();
        let mut done = self.proposals.len() - missing.len();
        for some in missing.chunks(together) {
            some.par_iter().try_for_each(|&index| self.proposals(index).map(drop))?;
            done += some.len();
            tell(done)?;
        }
        Ok(())
    }

    /// The regions of a picture, best first, in its pixels.
    ///
    /// # Errors
    /// [`Error::Input`] if it cannot be read.
    pub fn proposals(&self, index: usize) -> Result<Vec<Box2d>> {
        let Some(place) = self.proposals.get(index) else { return Ok(Vec::new()) };
        if let Some(known) = place.get() {
            return Ok(known.clone());
        }
        let found = search(&self.load(index)?);
        Ok(place.get_or_init(|| found).clone())
    }
}

impl Dataset for Pictures {
    type Target = Vec<Annotation>;

    fn len(&self) -> usize {
        self.cached.len()
    }

    fn load(&self, index: usize) -> Result<Image8> {
        self.cached.load(index)
    }

    fn target(&self, index: usize) -> Vec<Annotation> {
        self.cached.target(index)
    }

    fn name(&self, index: usize) -> String {
        self.cached.name(index)
    }
}

impl Sight for Pictures {
    fn picture(&self, index: usize) -> Result<Image8> {
        self.load(index)
    }

    fn name(&self, index: usize) -> String {
        self.annotated().pictures().get(index).map_or_else(String::new, |p| p.relative.to_string())
    }
}
