//! Pictures with boxes, in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use opticus_pixels::codec::{ColorMode, Limits};
use opticus_pixels::{Box2d, Image8, Size};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::super::dataset::{Dataset, Skipped, load_file};
use super::super::sampler::{Purpose, rng_for, shuffle};
use crate::error::{Error, Result};

/// One object in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// What it is, an index into the classes' names.
    pub class: usize,
    /// Where, in continuous pixels of the upright picture.
    pub bounds: Box2d,
    /// A region of many objects rather than one (COCO's `iscrowd`).
    pub crowd: bool,
    /// May be missed (VOC's `difficult`).
    pub difficult: bool,
    /// The object's own area in square pixels where it is known, else the box's.
    pub area: f64,
    /// The number that the file gives it, or its place among all, from 1.
    pub id: i64,
    /// Further members, as JSON writes them between braces: COCO's `"segmentation":…`, VOC's `"pose":"Left"`.
    pub extra: Option<Arc<str>>,
}

/// One picture and what is in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The file, as given by the user and followed from there.
    pub path: PathBuf,
    /// Its name within the data set with `/` between folders: equal on every machine.
    pub relative: Arc<str>,
    /// Extent, upright.
    pub size: Size,
    /// The number that the file gives it, or its place, from 1.
    pub id: i64,
    /// Further members, as JSON writes them between braces.
    pub extra: Option<Arc<str>>,
    /// The objects.
    pub annotations: Vec<Annotation>,
}

/// Pictures that each have a list of boxes.
#[derive(Clone, Debug)]
pub struct Annotated {
    classes: Arc<[String]>,
    pictures: Vec<Picture>,
    color: ColorMode,
    limits: Limits,
}

impl Annotated {
    /// A data set from its parts.
    ///
    /// # Errors
    /// [`Error::Input`] if a class is not below the number of classes.
    pub fn new(
        classes: Vec<String>,
        pictures: Vec<Picture>,
        color: ColorMode,
        limits: Limits,
    ) -> Result<Self> {
        for picture in &pictures {
            if let Some(a) = picture.annotations.iter().find(|a| a.class >= classes.len()) {
                return Err(Error::Input(format!(
                    "{} has a box of class {}, but there are only {} classes",
                    picture.relative,
                    a.class,
                    classes.len()
                )));
            }
        }
        Ok(Self { classes: classes.into(), pictures, color, limits })
    }

    /// Names of the classes; [`Annotation::class`] is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The pictures and what is in them.
    pub fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    /// Whether pictures are loaded as grey or RGB.
    pub fn color(&self) -> ColorMode {
        self.color
    }

    /// Limits that decoding keeps.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The pictures at `indices`, in that order, with the same classes.
    ///
    /// # Panics
    /// If an index is not below [`Dataset::len`].
    pub fn subset(&self, indices: &[usize]) -> Self {
        Self {
            classes: Arc::clone(&self.classes),
            pictures: indices.iter().map(|&i| self.pictures[i].clone()).collect(),
            color: self.color,
            limits: self.limits.clone(),
        }
    }

    /// Number of boxes of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.pictures.iter().flat_map(|p| &p.annotations).for_each(|a| counts[a.class] += 1);
        counts
    }

    /// Number of boxes.
    pub fn boxes(&self) -> usize {
        self.pictures.iter().map(|p| p.annotations.len()).sum()
    }

    /// Splits off a fraction of the pictures, `round(fraction * len)` of them but neither none nor all: (the rest,
    /// the fraction), each in the original order. A pure function of the number of pictures, `fraction` and `seed`.
    ///
    /// # Errors
    /// [`Error::Config`] if `fraction` is not between 0 and 1, both excluded; [`Error::Input`] if there are fewer
    /// than two pictures.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::Config(format!(
                "the validation split is a fraction between 0 and 1, such as 0.2; {fraction} is not"
            )));
        }
        if self.len() < 2 {
            return Err(Error::Input("a data set of fewer than two pictures cannot be split".into()));
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        shuffle(&mut order, &mut rng_for(seed, Purpose::Split, 0, 0));
        let count = ((fraction * self.len() as f64).round() as usize).clamp(1, self.len() - 1);
        let (second, first) = order.split_at_mut(count);
        first.sort_unstable();
        second.sort_unstable();
        Ok((self.subset(first), self.subset(second)))
    }

    /// Refuses a data set that nothing can be learnt from: no pictures or no boxes. (Files list
    /// classes of which they have no object; that is no fault.)
    ///
    /// # Errors
    /// [`Error::Input`] that says what is missing and what to do.
    pub fn check_trainable(&self) -> Result<()> {
        if self.pictures.is_empty() {
            return Err(Error::Input("the training data has no pictures".into()));
        }
        if self.boxes() == 0 {
            return Err(Error::Input("the training data has no boxes; there is nothing to find".into()));
        }
        Ok(())
    }

    /// SHA-256, in hexadecimal, over the classes' names and each picture's relative name, size in bytes and boxes.
    /// The same on every machine and wherever the data set lies.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is gone.
    pub fn fingerprint(&self) -> Result<String> {
        let mut sum = Sha256::new();
        sum.update(b"opticus boxes 1\n");
        let text = |sum: &mut Sha256, text: &str| {
            sum.update((text.len() as u64).to_le_bytes());
            sum.update(text.as_bytes());
        };
        sum.update((self.classes.len() as u64).to_le_bytes());
        self.classes.iter().for_each(|name| text(&mut sum, name));
        for picture in &self.pictures {
            let bytes =
                std::fs::metadata(&picture.path).map_err(|e| Error::io("read", &picture.path, e))?.len();
            text(&mut sum, &picture.relative);
            sum.update(bytes.to_le_bytes());
            sum.update((picture.annotations.len() as u64).to_le_bytes());
            for a in &picture.annotations {
                sum.update((a.class as u64).to_le_bytes());
                a.bounds.to_corners().iter().for_each(|edge| sum.update(edge.to_le_bytes()));
                sum.update([u8::from(a.crowd), u8::from(a.difficult)]);
            }
        }
        Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Decodes every picture, in parallel, and parts the good from the bad.
    pub(super) fn drop_unreadable(self) -> (Self, Vec<Skipped>) {
        let faults: Vec<Option<String>> =
            (0..self.len()).into_par_iter().map(|i| self.load(i).err().map(|e| e.to_string())).collect();
        let good: Vec<usize> = (0..self.len()).filter(|&i| faults[i].is_none()).collect();
        let bad = faults.into_iter().enumerate();
        let bad = bad.filter_map(|(i, fault)| fault.map(|reason| Skipped { name: self.name(i), reason }));
        let bad = bad.collect();
        (self.subset(&good), bad)
    }
}

impl Dataset for Annotated {
    type Target = Vec<Annotation>;

    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn load(&self, index: usize) -> Result<Image8> {
        load_file(Path::new(&self.pictures[index].path), self.color, &self.limits)
    }

    fn target(&self, index: usize) -> Vec<Annotation> {
        self.pictures[index].annotations.clone()
    }

    fn name(&self, index: usize) -> String {
        self.pictures[index].path.display().to_string()
    }
}
