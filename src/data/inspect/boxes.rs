//! What is odd about boxes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use opticus_pixels::codec::Limits;
use opticus_pixels::{Box2d, Size};
use schemars::JsonSchema;
use serde::Serialize;

use super::entries::{Entries, Entry};
use super::table::{CLASSES, SHOWN, more};
use super::{FileNote, Findings};
use crate::data::dataset::Source;
use crate::data::detection::{self, Annotation, FaultKind, Listing, Picture};
use crate::data::open::{Format, Split};
use crate::error::Result;

/// Boxes of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClassBoxes {
    /// The class.
    pub label: String,
    /// Boxes in each part, in the order of the inspection's `splits`.
    pub boxes: Vec<usize>,
    /// Pictures with at least one.
    pub pictures: usize,
}

/// The boxes of a data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct BoxReport {
    /// Boxes that can be learnt from.
    pub boxes: usize,
    /// Of each class.
    pub classes: Vec<ClassBoxes>,
    /// Least, median and most boxes of a picture.
    pub per_picture: [usize; 3],
    /// Boxes of up to 32², up to 96², and more square pixels, as COCO parts them.
    pub small_medium_large: [usize; 3],
    /// Least, median and greatest of the shorter sides, in pixels.
    pub shorter_side: [f64; 3],
    /// Classes without a box.
    pub unused_classes: Vec<String>,
    /// Annotations that are left out of training, by kind.
    pub faults: BTreeMap<FaultKind, Findings<FileNote>>,
    /// Boxes with a side of less than three pixels.
    pub tiny: Findings<FileNote>,
    /// Boxes that reach out of their picture by more than a pixel.
    pub sticking_out: Findings<FileNote>,
    /// Boxes of one class that all but coincide (IoU of at least 0.95).
    pub duplicates: Findings<FileNote>,
    /// Boxes of two classes that all but coincide.
    pub two_classes: Findings<FileNote>,
    /// Pictures without a box.
    pub without_boxes: Findings<FileNote>,
    /// Signs that pixels were counted otherwise than the format says.
    pub off_by_one: Vec<String>,
    /// What else was found on reading: boxes in another frame than the upright picture's, pictures in no list.
    pub notes: Vec<String>,
}

/// The annotations, if boxes are what lies there.
pub(super) fn listing(path: &Path, format: Format, limits: &Limits) -> Result<Option<Listing>> {
    let boxes = match format {
        Format::Auto => detection::recognise(path)?.is_some(),
        other => other.has_boxes(),
    };
    if boxes { detection::read(path, format, limits).map(Some) } else { Ok(None) }
}

/// The pictures, to be looked at as those of any data set.
pub(super) fn entries(listing: &Listing) -> Entries {
    let entry = |(split, picture): &(Split, Picture)| Entry {
        source: Source::File { path: picture.path.clone(), relative: picture.relative.clone() },
        name: picture.relative.to_string(),
        split: *split,
        label: None,
    };
    Entries {
        format: Some(listing.format),
        pictures: listing.pictures.iter().map(entry).collect(),
        ..Entries::default()
    }
}

fn spread<T: Copy + Default>(sorted: &[T]) -> [T; 3] {
    match sorted {
        [] => [T::default(); 3],
        some => [some[0], some[some.len() / 2], some[some.len() - 1]],
    }
}

impl BoxReport {
    /// Looks at all boxes; of each kind of finding at most `most` are listed.
    pub(super) fn of(listing: &Listing, most: usize) -> Self {
        let mut report = Self { notes: listing.notes.clone(), ..Self::default() };
        let splits: Vec<Split> = listing
            .pictures
            .iter()
            .map(|(split, _)| *split)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        report.classes = listing
            .classes
            .iter()
            .map(|label| ClassBoxes { label: label.clone(), boxes: vec![0; splits.len()], pictures: 0 })
            .collect();
        let (mut sides, mut counts) = (Vec::new(), Vec::new());
        for (split, picture) in &listing.pictures {
            counts.push(picture.annotations.len());
            let split = splits.iter().position(|s| s == split).unwrap_or_default();
            let mut seen = std::collections::BTreeSet::new();
            for a in &picture.annotations {
                report.boxes += 1;
                report.classes[a.class].boxes[split] += 1;
                if seen.insert(a.class) {
                    report.classes[a.class].pictures += 1;
                }
                let kind = [1024.0, 9216.0].iter().filter(|limit| a.area > **limit).count();
                report.small_medium_large[kind] += 1;
                sides.push(a.bounds.width().min(a.bounds.height()));
            }
            report.note_picture(picture, &listing.classes, most);
        }
        sides.sort_by(f64::total_cmp);
        counts.sort_unstable();
        report.shorter_side = spread(&sides);
        report.per_picture = spread(&counts);
        let unused = report.classes.iter().filter(|c| c.pictures == 0).map(|c| c.label.clone());
        report.unused_classes = unused.collect();
        for (kind, count) in listing.faults.counts() {
            let listed = listing.faults.listed().iter().filter(|f| f.kind == *kind).take(most);
            let listed = listed.map(|f| FileNote { file: f.place.clone(), note: f.note.clone() }).collect();
            report.faults.insert(*kind, Findings { count: *count, listed });
        }
        report.off_by_one = off_by_one(listing);
        report
    }

    fn note_picture(&mut self, picture: &Picture, classes: &[String], most: usize) {
        /// Less than this, a side is a slip of the hand rather than an object.
        const TINY: f64 = 3.0;
        /// From this IoU two boxes are the same.
        const SAME: f64 = 0.95;
        let describe = |a: &Annotation| {
            let [x1, y1, x2, y2] = a.bounds.to_corners();
            format!("{:?} at [{x1:.1}, {y1:.1}, {x2:.1}, {y2:.1}]", classes[a.class])
        };
        let note = |note: String| FileNote { file: picture.relative.to_string(), note };
        let frame = picture.size;
        if picture.annotations.is_empty() {
            self.without_boxes.push(most, note("no box".into()));
        }
        // Sorted by the left edge, each box is compared with those that begin before it ends.
        let mut order: Vec<&Annotation> = picture.annotations.iter().collect();
        order.sort_by(|a, b| a.bounds.x1.total_cmp(&b.bounds.x1));
        for (i, a) in order.iter().enumerate() {
            if a.bounds.width().min(a.bounds.height()) < TINY {
                self.tiny.push(most, note(describe(a)));
            }
            if frame.area() > 0 && sticks_out(a.bounds, frame) {
                self.sticking_out
                    .push(most, note(format!("{} in {}x{}", describe(a), frame.width, frame.height)));
            }
            let width = a.bounds.width();
            for b in order[i + 1..].iter().take_while(|b| b.bounds.x1 - a.bounds.x1 <= width * (1.0 - SAME)) {
                if a.bounds.iou(b.bounds) >= SAME {
                    let (found, what) = match a.class == b.class {
                        true => (&mut self.duplicates, "twice".to_string()),
                        false => (&mut self.two_classes, format!("and {:?}", classes[b.class])),
                    };
                    found.push(most, note(format!("{} {what}", describe(a))));
                }
            }
        }
    }

    /// The boxes of each class, for people.
    pub(super) fn write_counts(&self, f: &mut fmt::Formatter<'_>, splits: &[Split]) -> fmt::Result {
        let [least, median, greatest] = self.per_picture;
        writeln!(f, "  {} boxes, {least} to {greatest} a picture, half have at most {median}", self.boxes)?;
        let total = |c: &ClassBoxes| c.boxes.iter().sum::<usize>();
        let most = self.classes.iter().map(total).max().unwrap_or(0);
        let width = self.classes.iter().map(|c| c.label.chars().count()).max().unwrap_or(0).clamp(5, 32);
        write!(f, "\n  {:width$}", "class")?;
        for split in splits {
            write!(f, " {:>7}", split.to_string())?;
        }
        writeln!(f, "  pictures")?;
        for class in self.classes.iter().take(CLASSES) {
            let label: String = class.label.chars().take(width).collect();
            write!(f, "  {label:width$}")?;
            class.boxes.iter().try_for_each(|n| write!(f, " {n:>7}"))?;
            writeln!(f, "  {:8}  {}", class.pictures, "▆".repeat((total(class) * 30).div_ceil(most.max(1))))?;
        }
        if self.classes.len() > CLASSES {
            writeln!(f, "  … and {} more classes", self.classes.len() - CLASSES)?;
        }
        let [small, medium, large] = self.small_medium_large;
        let [short, middle, long] = self.shorter_side;
        writeln!(
            f,
            "\n  boxes    {small} small, {medium} medium, {large} large; shorter side {short:.1} to {long:.1}, half up to {middle:.1} pixels"
        )
    }

    /// What is odd, for people; whether that is nothing.
    pub(super) fn write_findings(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        let mut clean = true;
        let mut show = |f: &mut fmt::Formatter<'_>, mark: &str, what: &str, found: &Findings<FileNote>| {
            if found.count == 0 {
                return Ok(());
            }
            clean &= mark == "·";
            writeln!(f, "{mark} {} {what}", found.count)?;
            for note in found.listed.iter().take(SHOWN) {
                writeln!(f, "    {}: {}", note.file, note.note)?;
            }
            more(f, found.count, found.listed.len())
        };
        for (kind, found) in &self.faults {
            show(f, "✗", &format!("{}: left out", kind.of_many()), found)?;
        }
        show(f, "!", "boxes reach out of their picture", &self.sticking_out)?;
        show(f, "!", "boxes are drawn twice", &self.duplicates)?;
        show(f, "!", "boxes have two classes", &self.two_classes)?;
        show(f, "!", "boxes have a side of less than three pixels", &self.tiny)?;
        show(f, "·", "pictures have no box (they teach what is background)", &self.without_boxes)?;
        if !self.unused_classes.is_empty() {
            writeln!(
                f,
                "· {} classes have no box: {}",
                self.unused_classes.len(),
                self.unused_classes.join(", ")
            )?;
        }
        for note in self.off_by_one.iter().chain(&self.notes) {
            clean = false;
            writeln!(f, "! {note}")?;
        }
        Ok(clean)
    }
}

fn sticks_out(b: Box2d, frame: Size) -> bool {
    b.x1 < -1.0 || b.y1 < -1.0 || b.x2 > f64::from(frame.width) + 1.0 || b.y2 > f64::from(frame.height) + 1.0
}

/// Boxes are often drawn up to the edge of their picture; where exactly they then end shows how pixels were counted.
fn off_by_one(listing: &Listing) -> Vec<String> {
    /// Fewer may be chance.
    const SIGNS: usize = 3;
    let (mut before, mut at_zero, mut at_one, mut short, mut full) = (0, 0, 0, 0, 0);
    for (_, picture) in listing.pictures.iter().filter(|(_, p)| p.size.area() > 0) {
        let far = [f64::from(picture.size.width), f64::from(picture.size.height)];
        for a in &picture.annotations {
            let b = a.bounds;
            for (near, end, far) in [(b.x1, b.x2, far[0]), (b.y1, b.y2, far[1])] {
                before += usize::from(near == -1.0);
                at_zero += usize::from(near == 0.0);
                at_one += usize::from(near == 1.0);
                short += usize::from(end == far - 1.0);
                full += usize::from(end >= far);
            }
        }
    }
    let mut found = Vec::new();
    if listing.format == Format::Voc && before > 0 {
        found.push(format!(
            "{before} edges are written as pixel 0, but VOC counts from 1: the boxes may lie a pixel too far up and left"
        ));
    }
    if listing.format != Format::Voc && at_one >= SIGNS && at_zero == 0 {
        found.push(format!(
            "no box begins at 0, {at_one} edges at 1: pixels may have been counted from 1, the boxes a pixel too far \
             down and right"
        ));
    }
    if short >= SIGNS && full == 0 {
        found.push(format!(
            "no box reaches the right or lower edge of its picture, {short} end one pixel before it: the last pixel may \
             have been left out of the width"
        ));
    }
    found
}
