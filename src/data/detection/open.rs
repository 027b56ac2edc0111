//! From a path to pictures with boxes: which kind of data set it is, and its parts.

use std::path::Path;

use opticus_pixels::codec::{ColorMode, Limits};

use super::super::open::{Format, OnBad, Split};
use super::coco::Keep;
use super::fault::{FaultKind, Faults};
use super::gather::{self, Checked, Frame, RawSet};
use super::{Annotated, Picture, coco, voc, yolo};
use crate::error::{Error, Result};

/// How to open a data set of boxes.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// What to do about pictures that are not there or cannot be read.
    pub on_bad: OnBad,
    /// What to do about boxes that nothing can be learnt from, and about annotations of unknown pictures or
    /// categories. By default they are left out, counted and named.
    pub on_bad_boxes: OnBad,
    /// Load pictures as grey or RGB; by default grey where all are grey, else RGB.
    pub color: Option<ColorMode>,
    /// Whether members that we do not understand (masks, attributes) are kept to be written again.
    pub keep: Keep,
    /// Limits that decoding keeps.
    pub limits: Limits,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            on_bad: OnBad::Error,
            on_bad_boxes: OnBad::Skip,
            color: None,
            keep: Keep::Nothing,
            limits: Limits::default(),
        }
    }
}

/// The parts of a data set. All have the same classes in the same order.
#[derive(Clone, Debug)]
pub struct Splits {
    /// To learn from; empty if the data set has only other parts.
    pub train: Annotated,
    /// To choose by.
    pub val: Option<Annotated>,
    /// To report on.
    pub test: Option<Annotated>,
    /// The kind that was recognised.
    pub format: Format,
    /// What was left out.
    pub faults: Faults,
    /// What else people should know: boxes that were turned upright, lists that leave pictures out.
    pub notes: Vec<String>,
}

impl Splits {
    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        self.train.classes()
    }

    /// The parts that have pictures.
    pub fn parts(&self) -> impl Iterator<Item = (Split, &Annotated)> {
        [
            (Split::Train, Some(&self.train)),
            (Split::Val, self.val.as_ref()),
            (Split::Test, self.test.as_ref()),
        ]
        .into_iter()
        .filter_map(|(split, data)| data.filter(|d| !d.pictures().is_empty()).map(|d| (split, d)))
    }

    /// With a validation part: the one there is, or else a fraction of the training part.
    ///
    /// # Errors
    /// [`Error::Config`] if `fraction` is not between 0 and 1; [`Error::Input`] if there are too few pictures.
    pub fn with_validation(mut self, fraction: f64, seed: u64) -> Result<Self> {
        if self.val.is_none() {
            let (train, val) = self.train.split(fraction, seed)?;
            self.train = train;
            self.val = Some(val);
        }
        Ok(self)
    }
}

/// The kind of boxes' data set that lies at a path, if any.
///
/// # Errors
/// [`Error::Io`] if something cannot be read; [`Error::Input`] if it is ambiguous.
pub fn recognise(path: &Path) -> Result<Option<Format>> {
    std::fs::metadata(path).map_err(|e| Error::io("open the data set", path, e))?;
    if yolo::recognise(path)?.is_some() {
        Ok(Some(Format::Yolo))
    } else if path.is_dir() && !voc::recognise(path)?.is_empty() {
        Ok(Some(Format::Voc))
    } else if !coco::recognise(path)?.is_empty() {
        Ok(Some(Format::Coco))
    } else {
        Ok(None)
    }
}

pub(super) fn gather_raw(path: &Path, format: Format, keep: Keep) -> Result<(Format, RawSet)> {
    let format = match format {
        Format::Auto => recognise(path)?.ok_or_else(|| {
            Error::Input(format!(
                "{} is no data set of boxes. Looked for: COCO instances (.json, or a folder with annotations/*.json); \
                 VOC (a folder with Annotations/*.xml, or .xml beside the pictures); YOLO (data.yaml, or folders \
                 images and labels)",
                path.display()
            ))
        })?,
        forced => forced,
    };
    let set = match format {
        Format::Coco => coco::open(path, keep)?,
        Format::Voc => voc::open(path)?,
        Format::Yolo => yolo::open(path)?,
        other => {
            return Err(Error::Config(format!(
                "--format {other} has no boxes; it is one of auto, coco, voc, yolo"
            )));
        }
    };
    Ok((format, set))
}

/// Opens a data set of boxes.
///
/// # Errors
/// [`Error::Input`] if it is of no known kind (with what was looked for) or damaged, or, by the options, for bad
/// pictures or boxes; [`Error::Io`] if something cannot be read.
pub fn open(path: &Path, format: Format, options: &OpenOptions) -> Result<Splits> {
    let (format, mut set) = gather_raw(path, format, options.keep)?;
    let checked = gather::check(&mut set, &options.limits);
    let mut faults = set.faults;
    let mut notes = set.notes;
    notes.extend(frame_notes(&checked));
    let all_grey =
        checked.iter().all(|c| c.grey != Some(false)) && checked.iter().any(|c| c.grey == Some(true));
    let color = options.color.unwrap_or(if all_grey { ColorMode::Grey } else { ColorMode::Rgb });
    let mut parts: [Vec<_>; 3] = Default::default();
    for one in checked {
        faults.extend(one.faults);
        if one.grey.is_some() {
            parts[one.split as usize].push(one.picture);
        }
    }
    let mut annotated = parts
        .into_iter()
        .map(|pictures| Annotated::new(set.classes.clone(), pictures, color, options.limits.clone()))
        .collect::<Result<Vec<_>>>()?;
    if options.on_bad == OnBad::Skip {
        annotated = annotated
            .into_iter()
            .map(|data| {
                let (good, bad) = data.drop_unreadable();
                bad.into_iter().for_each(|skipped| {
                    faults.push(FaultKind::UnreadablePicture, || skipped.name, || skipped.reason)
                });
                good
            })
            .collect();
    }
    refuse(path, &faults, options)?;
    let mut annotated = annotated.into_iter();
    let mut next = || annotated.next().filter(|d| !d.pictures().is_empty());
    let (train, val, test) = (next(), next(), next());
    let empty = || Annotated::new(set.classes.clone(), Vec::new(), color, options.limits.clone());
    let train = train.map_or_else(empty, Ok)?;
    Ok(Splits { train, val, test, format, faults, notes })
}

/// Faults that the options do not allow.
fn refuse(path: &Path, faults: &Faults, options: &OpenOptions) -> Result<()> {
    let of_pictures =
        |kind: FaultKind| matches!(kind, FaultKind::MissingPicture | FaultKind::UnreadablePicture);
    let refused = |kind: FaultKind| match of_pictures(kind) {
        true => options.on_bad == OnBad::Error,
        false => options.on_bad_boxes == OnBad::Error,
    };
    let bad = faults.only(refused);
    if bad.total() == 0 {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{}: {}. Mend them, or go on without them with --on-bad skip; `opticus data inspect` lists all",
        path.display(),
        bad.summary()
    )))
}

fn is_of_pictures(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::MissingPicture | FaultKind::UnreadablePicture)
}

fn frame_notes(checked: &[Checked]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut say = |wanted: fn(&Frame) -> bool, what: &str| {
        let found: Vec<&Checked> = checked.iter().filter(|c| wanted(&c.frame)).collect();
        if let Some(first) = found.first() {
            notes.push(format!("{} pictures {what} (first {})", found.len(), first.picture.relative));
        }
    };
    say(
        |f| matches!(f, Frame::Turned(_)),
        "are annotated as stored, not as their EXIF tag turns them; their boxes were turned upright",
    );
    say(|f| matches!(f, Frame::Differs { .. }), "are annotated for another size than they have");
    notes
}

/// Annotated pictures as files say, whether or not the pictures themselves are there: what scoring needs.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The kind that was recognised.
    pub format: Format,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The pictures and their parts, in order. Sizes are as annotated where the file is not there.
    pub pictures: Vec<(Split, Picture)>,
    /// What was left out of them.
    pub faults: Faults,
    /// What else people should know.
    pub notes: Vec<String>,
}

/// Reads annotations without refusing anything for their pictures' sake.
///
/// # Errors
/// [`Error::Input`] if it is of no known kind or damaged; [`Error::Io`].
pub fn read(path: &Path, format: Format, limits: &Limits) -> Result<Listing> {
    let (format, mut set) = gather_raw(path, format, Keep::Nothing)?;
    let checked = gather::check(&mut set, limits);
    let mut notes = set.notes;
    notes.extend(frame_notes(&checked));
    let mut faults = set.faults;
    let mut pictures = Vec::with_capacity(checked.len());
    for one in checked {
        faults.extend(one.faults.only(|kind| !is_of_pictures(kind) || one.picture.size.area() == 0));
        pictures.push((one.split, one.picture));
    }
    Ok(Listing { format, classes: set.classes, pictures, faults, notes })
}
