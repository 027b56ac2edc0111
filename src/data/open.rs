//! From a path to a data set: which kind it is, and its training, validation and test parts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use opticus_pixels::codec::{self, ColorMode, Limits};
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Item, Labelled, Skipped, Source};
use super::{cifar, csv, folder, idx};
use crate::error::{Error, Result};

/// The kinds of data sets on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Recognise the kind.
    #[default]
    Auto,
    /// A folder of class folders, optionally inside `train`, `val` and `test`. See [`super::folder`].
    Folder,
    /// MNIST's format. See [`super::idx`].
    Idx,
    /// CIFAR's binary format. See [`super::cifar`].
    Cifar,
    /// A table of path and label. See [`super::csv`].
    Csv,
    /// Boxes in COCO's JSON. See [`super::detection`].
    Coco,
    /// Boxes in Pascal VOC's XML.
    Voc,
    /// Boxes in YOLO's text files.
    Yolo,
}

impl Format {
    /// Whether data sets of this kind have boxes rather than one label a picture.
    pub fn has_boxes(self) -> bool {
        matches!(self, Self::Coco | Self::Voc | Self::Yolo)
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use Format::{Auto, Cifar, Coco, Csv, Folder, Idx, Voc, Yolo};
        one_of(text, &[Auto, Folder, Idx, Cifar, Csv, Coco, Voc, Yolo])
    }
}

/// The value that shows as `text`, for configuration and command line alike.
pub(super) fn one_of<T: fmt::Display + Copy>(text: &str, values: &[T]) -> Result<T, String> {
    let names: Vec<String> = values.iter().map(T::to_string).collect();
    match names.iter().position(|n| *n == text) {
        Some(i) => Ok(values[i]),
        None => Err(format!("it is one of {}", names.join(", "))),
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Folder => "folder",
            Self::Idx => "idx",
            Self::Cifar => "cifar",
            Self::Csv => "csv",
            Self::Coco => "coco",
            Self::Voc => "voc",
            Self::Yolo => "yolo",
        })
    }
}

/// A part of a data set.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by.
    Val,
    /// To report on.
    Test,
}

impl Split {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// The part that a folder's or column's name means, if any.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" => Some(Self::Val),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        })
    }
}

/// What to do about a picture that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    /// Fail when it is loaded, naming it.
    #[default]
    Error,
    /// Decode everything on opening, and leave it out, counted and named.
    Skip,
}

impl fmt::Display for OnBad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Skip => "skip",
        })
    }
}

impl FromStr for OnBad {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(text, &[Self::Error, Self::Skip])
    }
}

/// How to open a data set.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// What to do about bad pictures.
    pub on_bad: OnBad,
    /// Load pictures as grey or RGB. By default as they are: grey where all are grey, else RGB. (Of picture
    /// files, up to 64 spread over the data set are looked at.)
    pub color: Option<ColorMode>,
    /// Limits that decoding keeps.
    pub limits: Limits,
}

impl OpenOptions {
    /// The colour mode of picture files until [`open`] has looked at some.
    pub(super) fn file_color(&self) -> ColorMode {
        self.color.unwrap_or(ColorMode::Rgb)
    }
}

/// The parts of a data set. All have the same classes in the same order.
#[derive(Clone, Debug)]
pub struct Splits {
    /// To learn from; empty if the data set has only other parts.
    pub train: Labelled,
    /// To choose by.
    pub val: Option<Labelled>,
    /// To report on.
    pub test: Option<Labelled>,
    /// The kind that was recognised.
    pub format: Format,
    /// Pictures left out because they cannot be read, with [`OnBad::Skip`].
    pub skipped: Vec<Skipped>,
}

impl Splits {
    pub(super) fn empty(format: Format, classes: Vec<String>) -> Self {
        let none = Labelled::without_pictures(classes);
        Self { train: none, val: None, test: None, format, skipped: Vec::new() }
    }

    pub(super) fn put(&mut self, split: Split, data: Labelled) {
        match split {
            Split::Train => self.train = data,
            Split::Val => self.val = Some(data),
            Split::Test => self.test = Some(data),
        }
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        self.train.classes()
    }

    /// The parts that have pictures.
    pub fn parts(&self) -> impl Iterator<Item = (Split, &Labelled)> {
        [
            (Split::Train, Some(&self.train)),
            (Split::Val, self.val.as_ref()),
            (Split::Test, self.test.as_ref()),
        ]
        .into_iter()
        .filter_map(|(split, data)| data.filter(|d| !d.is_empty()).map(|d| (split, d)))
    }

    /// With a validation part: the one there is, or else a stratified fraction of the training part.
    ///
    /// # Errors
    /// [`Error::Config`] if `fraction` is not between 0 and 1.
    pub fn with_validation(mut self, fraction: f64, seed: u64) -> Result<Self> {
        if self.val.is_none() {
            let (train, val) = self.train.stratified_split(fraction, seed)?;
            self.train = train;
            self.val = Some(val);
        }
        Ok(self)
    }

    fn map(mut self, mut f: impl FnMut(Labelled) -> Labelled) -> Self {
        self.train = f(self.train);
        self.val = self.val.map(&mut f);
        self.test = self.test.map(&mut f);
        self
    }
}

/// Opens a classification data set.
///
/// # Errors
/// [`Error::Input`] if it is of no known kind (with what was looked for), damaged, or has a class without
/// pictures; [`Error::Io`] if something cannot be read.
pub fn open(path: &Path, format: Format, options: &OpenOptions) -> Result<Splits> {
    let mut splits = match Found::at(path, format)? {
        Found::Table(table) => csv::open(&table, options)?,
        Found::Idx(files) => idx::open(path, &files, options)?,
        Found::Cifar(files, variant) => cifar::open(path, &files, variant, options)?,
        Found::Folder => folder::open(path, options)?,
    };
    if options.color.is_none() && matches!(splits.format, Format::Folder | Format::Csv) {
        let items: Vec<&Item> = splits.parts().flat_map(|(_, d)| d.items()).collect();
        let color = natural_color(&items, &options.limits);
        splits = splits.map(|d| d.with_color(color));
    }
    if options.on_bad == OnBad::Skip {
        let mut skipped = Vec::new();
        splits = splits.map(|data| {
            let (good, bad) = data.drop_unreadable();
            skipped.extend(bad);
            good
        });
        splits.skipped = skipped;
    }
    Ok(splits)
}

/// Grey if every picture looked at is grey.
pub(super) fn natural_color(items: &[&Item], limits: &Limits) -> ColorMode {
    const LOOKED_AT: usize = 64;
    let step = items.len().div_ceil(LOOKED_AT).max(1);
    let mut seen = items.iter().step_by(step).filter_map(|item| match &item.source {
        Source::File { path, .. } => codec::probe_file(path, limits).ok(),
        Source::Record { .. } => None,
    });
    let mut any = false;
    let grey = seen.all(|probe| {
        any = true;
        probe.channels <= 2
    });
    if any && grey { ColorMode::Grey } else { ColorMode::Rgb }
}

/// What lies at a path.
pub(super) enum Found {
    Table(PathBuf),
    Idx(Vec<PathBuf>),
    Cifar(Vec<PathBuf>, cifar::Variant),
    Folder,
}

impl Found {
    /// Recognises the kind, or checks that the forced one is there.
    pub(super) fn at(path: &Path, format: Format) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|e| Error::io("open the data set", path, e))?;
        if format.has_boxes() {
            return Err(Error::Config(format!(
                "--format {format} is of pictures with boxes, which are no classes"
            )));
        }
        if !metadata.is_dir() {
            return match format {
                Format::Csv => Ok(Self::Table(path.to_path_buf())),
                Format::Auto if is_table(path) => Ok(Self::Table(path.to_path_buf())),
                _ => Err(Error::Input(format!(
                    "{} is a file. A data set is a folder, or a table whose name ends in .csv or .tsv",
                    path.display()
                ))),
            };
        }
        let listing = folder::list(path)?;
        let variant = cifar::recognise(&listing.files);
        let pairs = idx::pairs(&listing.files);
        let tables: Vec<&PathBuf> = listing.files.iter().filter(|f| is_table(f)).collect();
        let missing = |what: &str| Error::Input(format!("{} has no {what}", path.display()));
        match format {
            Format::Folder | Format::Coco | Format::Voc | Format::Yolo => Ok(Self::Folder),
            Format::Idx if pairs.is_empty() => {
                Err(missing("file …images-idx3-ubyte or …images-idx3-ubyte.gz"))
            }
            Format::Idx => Ok(Self::Idx(listing.files)),
            Format::Cifar => match variant {
                Some(variant) => Ok(Self::Cifar(listing.files, variant)),
                None => Err(missing("file data_batch_1.bin, test_batch.bin, train.bin or test.bin")),
            },
            Format::Csv => match tables.as_slice() {
                [table] => Ok(Self::Table((*table).clone())),
                [] => Err(missing(".csv file")),
                many => Err(Error::Input(format!(
                    "{} has {} tables; name the one to use instead of the folder",
                    path.display(),
                    many.len()
                ))),
            },
            Format::Auto => {
                if !pairs.is_empty() {
                    Ok(Self::Idx(listing.files))
                } else if let Some(variant) = variant {
                    Ok(Self::Cifar(listing.files, variant))
                } else if let [table] = tables.as_slice()
                    && csv::refers_to_files(table)
                {
                    // Its pictures lie in folders too, whose names need not be classes.
                    Ok(Self::Table((*table).clone()))
                } else if folder::has_pictures_below(&listing.folders)? {
                    Ok(Self::Folder)
                } else if let [table] = tables.as_slice() {
                    Ok(Self::Table((*table).clone()))
                } else if !listing.folders.is_empty() {
                    // Class folders, all empty: the folder reader names the first of them.
                    Ok(Self::Folder)
                } else {
                    Err(unrecognised(path, &listing))
                }
            }
        }
    }
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv") || e.eq_ignore_ascii_case("tsv"))
}

fn unrecognised(path: &Path, listing: &folder::Listing) -> Error {
    let pictures = listing.files.iter().filter(|f| folder::is_picture(f)).count();
    let found = match (listing.files.len(), pictures) {
        (0, _) => "it is empty".to_string(),
        (_, 0) => format!("it holds {} files, none of them a picture", listing.files.len()),
        (_, n) => format!("it holds {n} pictures but no class folders"),
    };
    Error::Input(format!(
        "{} is no data set of a known kind: {found}. Looked for: class folders with pictures in them \
         (optionally inside train, val and test); IDX files (train-images-idx3-ubyte, .gz or not); CIFAR files \
         (data_batch_1.bin, train.bin); one .csv table of path,label",
        path.display()
    ))
}
