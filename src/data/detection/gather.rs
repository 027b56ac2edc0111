//! From what files say to [`Annotated`]: pictures found and measured, boxes turned upright, faults set apart.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use opticus_pixels::codec::{self, Limits};
use opticus_pixels::{Box2d, Size};
use rayon::prelude::*;

use super::super::open::Split;
use super::fault::{FaultKind, Faults, of_box};
use super::{Annotation, Picture};

/// A data set as its files say, before anything is checked.
#[derive(Debug, Default)]
pub(super) struct RawSet {
    pub classes: Vec<String>,
    pub pictures: Vec<RawPicture>,
    /// Faults of the files themselves.
    pub faults: Faults,
    /// Boxes are in fractions of the picture's size.
    pub relative: bool,
    /// What else people should know.
    pub notes: Vec<String>,
}

/// A picture as its file says.
#[derive(Debug)]
pub(super) struct RawPicture {
    pub path: PathBuf,
    pub relative: String,
    /// Width and height as written; 0 where they are not.
    pub size: [u32; 2],
    pub id: Option<i64>,
    pub split: Split,
    pub extra: Option<Arc<str>>,
    pub boxes: Vec<RawBox>,
}

/// A box as its file says.
#[derive(Debug)]
pub(super) struct RawBox {
    /// Where it is written.
    pub place: String,
    /// Its class, where that is written by name; [`RawSet::name_classes`] gives the number.
    pub label: Option<String>,
    pub class: usize,
    /// Edges; in fractions of the picture if [`RawSet`] says so.
    pub bounds: Option<Box2d>,
    /// What stands there, for messages.
    pub written: String,
    pub crowd: bool,
    pub difficult: bool,
    pub area: Option<f64>,
    pub id: Option<i64>,
    pub extra: Option<Arc<str>>,
}

/// Members as JSON writes them between braces.
pub(super) fn members(pairs: &[(&str, serde_json::Value)]) -> Option<Arc<str>> {
    let written: Vec<String> = pairs.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    (!written.is_empty()).then(|| written.join(",").into())
}

impl RawSet {
    /// Makes the classes of the labels' names, in order, and numbers the boxes by them.
    pub fn name_classes(&mut self) {
        let names: BTreeSet<&str> =
            self.pictures.iter().flat_map(|p| &p.boxes).filter_map(|b| b.label.as_deref()).collect();
        let classes: Vec<String> = names.into_iter().map(String::from).collect();
        let index: HashMap<&str, usize> = classes.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
        for b in self.pictures.iter_mut().flat_map(|p| &mut p.boxes) {
            b.class = b.label.as_deref().and_then(|l| index.get(l)).copied().unwrap_or_default();
        }
        self.classes = classes;
    }
}

/// How a picture's annotations fit its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Size as annotated, or not annotated.
    Fits,
    /// Annotated as stored; an EXIF tag turns the picture. The boxes were turned with it.
    Turned(u8),
    /// Annotated for another size.
    Differs { written: [u32; 2], have: Size },
}

/// A picture that has been looked at.
#[derive(Debug)]
pub(super) struct Checked {
    pub picture: Picture,
    pub split: Split,
    pub frame: Frame,
    pub faults: Faults,
    /// Whether the picture is grey; `None` if its file is not there or has no header.
    pub grey: Option<bool>,
}

/// Looks at each picture's header, in parallel, turns its boxes upright and sets the faulty ones apart.
pub(super) fn check(set: &mut RawSet, limits: &Limits) -> Vec<Checked> {
    let (classes, relative) = (set.classes.len(), set.relative);
    let pictures = std::mem::take(&mut set.pictures);
    let mut checked: Vec<Checked> =
        pictures.into_par_iter().map(|raw| check_one(raw, relative, classes, limits)).collect();
    for (i, one) in checked.iter_mut().enumerate() {
        if one.picture.id == i64::MIN {
            one.picture.id = i as i64 + 1;
        }
    }
    let known = checked.iter().flat_map(|c| &c.picture.annotations).map(|a| a.id).max().unwrap_or(0).max(0);
    let without = checked.iter_mut().flat_map(|c| &mut c.picture.annotations).filter(|a| a.id == i64::MIN);
    for (i, annotation) in without.enumerate() {
        // Numbers of a hostile file may end where all numbers do.
        annotation.id = known.saturating_add(i as i64 + 1);
    }
    checked
}

fn check_one(raw: RawPicture, relative: bool, classes: usize, limits: &Limits) -> Checked {
    let mut faults = Faults::default();
    let probed = probe(&raw.path, limits);
    let (mut size, mut frame, mut turn) = (None, Frame::Fits, None);
    match &probed {
        Ok(probe) => {
            let upright = upright(probe.size, probe.orientation);
            size = Some(upright);
            let written = Size::new(raw.size[0], raw.size[1]);
            if raw.size.iter().all(|side| *side > 0) && written != upright {
                frame = if written == probe.size {
                    turn = Some((probe.size, probe.orientation));
                    Frame::Turned(probe.orientation)
                } else {
                    Frame::Differs { written: raw.size, have: upright }
                };
            }
        }
        Err(fault) => {
            let kind =
                if raw.path.is_file() { FaultKind::UnreadablePicture } else { FaultKind::MissingPicture };
            faults.push(kind, || raw.relative.clone(), || fault.clone());
            if raw.size.iter().all(|side| *side > 0) {
                size = Some(Size::new(raw.size[0], raw.size[1]));
            }
        }
    }
    let scale = size.filter(|_| relative).map(|s| [f64::from(s.width), f64::from(s.height)]);
    let mut annotations = Vec::with_capacity(raw.boxes.len());
    for b in raw.boxes {
        let bounds = b.bounds.map(|bounds| {
            let bounds = scale.map_or(bounds, |scale| bounds.scaled(scale));
            turn.map_or(bounds, |(stored, orientation)| turned(bounds, stored, orientation))
        });
        let kind = match bounds {
            None => Some(FaultKind::NoBox),
            Some(_) if b.class >= classes => Some(FaultKind::UnknownCategory),
            Some(bounds) => of_box(bounds, if relative && scale.is_none() { None } else { size }),
        };
        match (kind, bounds) {
            (None, Some(bounds)) => annotations.push(Annotation {
                class: b.class,
                bounds,
                crowd: b.crowd,
                difficult: b.difficult,
                area: b.area.filter(|a| a.is_finite()).unwrap_or_else(|| bounds.area()),
                id: b.id.unwrap_or(i64::MIN),
                extra: b.extra,
            }),
            (kind, _) => {
                let frame = size.map_or_else(String::new, |s| format!(" in {}x{}", s.width, s.height));
                let note =
                    || if b.written.is_empty() { "no box".into() } else { format!("{}{frame}", b.written) };
                faults.push(kind.unwrap_or(FaultKind::NoBox), || b.place.clone(), note);
            }
        }
    }
    let picture = Picture {
        path: raw.path,
        relative: raw.relative.into(),
        size: size.unwrap_or(Size::new(raw.size[0], raw.size[1])),
        id: raw.id.unwrap_or(i64::MIN),
        extra: raw.extra,
        annotations,
    };
    Checked { picture, split: raw.split, frame, faults, grey: probed.ok().map(|p| p.channels <= 2) }
}

/// A picture's header, from the file's first bytes where they suffice.
fn probe(path: &Path, limits: &Limits) -> Result<codec::Probe, String> {
    const FIRST: u64 = 32 << 10;
    let mut start = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FIRST).read_to_end(&mut start))
        .map_err(|e| e.to_string())?;
    // Cut files: a header that cannot be read yet, or a tag that lies further on.
    let first = codec::probe(&start, limits);
    match first {
        Ok(probe) if probe.orientation > 1 || (start.len() as u64) < FIRST => Ok(probe),
        Ok(probe) if probe.format != codec::Format::Jpeg => Ok(probe),
        // EXIF comes first in a JPEG; behind a long colour profile or thumbnail it may be cut.
        Ok(probe) if !start.windows(6).any(|w| w == b"Exif\0\0") => Ok(probe),
        _ => codec::probe_file(path, limits).map_err(|e| e.to_string()),
    }
}

/// Extent of a picture that is stored so, when upright.
fn upright(stored: Size, orientation: u8) -> Size {
    if orientation >= 5 { Size::new(stored.height, stored.width) } else { stored }
}

/// Where a box of a stored picture is when the picture is upright.
pub(super) fn turned(b: Box2d, stored: Size, orientation: u8) -> Box2d {
    let (w, h) = (f64::from(stored.width), f64::from(stored.height));
    let corner = |x: f64, y: f64| match orientation {
        2 => [w - x, y],
        3 => [w - x, h - y],
        4 => [x, h - y],
        5 => [y, x],
        6 => [h - y, x],
        7 => [h - y, w - x],
        8 => [y, w - x],
        _ => [x, y],
    };
    let ([ax, ay], [bx, by]) = (corner(b.x1, b.y1), corner(b.x2, b.y2));
    // Turning swaps near and far edges; a box that was inverted stays so.
    let swap = |swap: bool, near: f64, far: f64| if swap { [far, near] } else { [near, far] };
    let [x1, x2] = swap(matches!(orientation, 2 | 3 | 6 | 7), ax, bx);
    let [y1, y2] = swap(matches!(orientation, 3 | 4 | 7 | 8), ay, by);
    Box2d::new(x1, y1, x2, y2)
}
