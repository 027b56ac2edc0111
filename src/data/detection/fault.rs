//! What can be wrong with annotations.

use std::collections::BTreeMap;
use std::fmt;

use opticus_pixels::{Box2d, Size};
use schemars::JsonSchema;
use serde::Serialize;

/// Kinds of fault. An annotation with one is left out or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// An edge that is no number, or none that a picture can have.
    NotANumber,
    /// The right edge left of the left one, or the bottom above the top.
    Inverted,
    /// A box of no width or no height.
    NoArea,
    /// A box that lies wholly beside its picture.
    Outside,
    /// An annotation without a box.
    NoBox,
    /// A category that the file does not list.
    UnknownCategory,
    /// A picture that the file does not list.
    UnknownPicture,
    /// A number that an earlier annotation has.
    DuplicateId,
    /// A number that an earlier picture has.
    DuplicatePicture,
    /// A picture whose file is not there.
    MissingPicture,
    /// A picture whose file cannot be read.
    UnreadablePicture,
}

impl FaultKind {
    /// What is wrong, of several: "boxes of no width or no height".
    pub fn of_many(self) -> &'static str {
        match self {
            Self::NotANumber => "boxes with an edge that is no finite number",
            Self::Inverted => "inverted boxes",
            Self::NoArea => "boxes of no width or no height",
            Self::Outside => "boxes wholly outside their picture",
            Self::NoBox => "annotations without a box",
            Self::UnknownCategory => "annotations of a category that is not listed",
            Self::UnknownPicture => "annotations of a picture that is not listed",
            Self::DuplicateId => "annotations with a number that another has",
            Self::DuplicatePicture => "pictures with a number that another has",
            Self::MissingPicture => "pictures that are not there",
            Self::UnreadablePicture => "pictures that cannot be read",
        }
    }
}

/// One fault, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// The file, and the line or object in it.
    pub place: String,
    /// What is written there.
    pub note: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.note)
    }
}

/// Faults by kind: all counted, the first of each kind kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    counts: BTreeMap<FaultKind, usize>,
    first: Vec<Fault>,
}

impl Faults {
    /// The most that are kept of each kind.
    const KEPT: usize = 1000;

    /// Adds one; place and note are made only if it is kept.
    pub fn push(&mut self, kind: FaultKind, place: impl FnOnce() -> String, note: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= Self::KEPT {
            self.first.push(Fault { kind, place: place(), note: note() });
        }
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: Self) {
        for fault in other.first {
            if self.counts.get(&fault.kind).is_none_or(|have| *have < Self::KEPT) {
                self.first.push(fault);
            }
        }
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
    }

    /// Those of some kinds.
    pub fn only(&self, wanted: impl Fn(FaultKind) -> bool) -> Self {
        Self {
            counts: self
                .counts
                .iter()
                .filter(|(kind, _)| wanted(**kind))
                .map(|(kind, n)| (*kind, *n))
                .collect(),
            first: self.first.iter().filter(|f| wanted(f.kind)).cloned().collect(),
        }
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> &BTreeMap<FaultKind, usize> {
        &self.counts
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.counts.values().sum()
    }

    /// The first of each kind.
    pub fn listed(&self) -> &[Fault] {
        &self.first
    }

    /// One paragraph: the counts, and one example each. Empty if there are none.
    pub fn summary(&self) -> String {
        let parts: Vec<String> = self
            .counts
            .iter()
            .map(|(kind, count)| {
                let example = self.first.iter().find(|f| f.kind == *kind);
                let example = example.map_or_else(String::new, |f| format!(" (first {f})"));
                format!("{count} {}{example}", kind.of_many())
            })
            .collect();
        parts.join("; ")
    }
}

/// What is wrong with a box, if anything; `size` is its picture's where that is known.
pub(super) fn of_box(bounds: Box2d, size: Option<Size>) -> Option<FaultKind> {
    /// Farther from the picture than any picture is large, arithmetic on boxes loses its pixels.
    const FARTHEST: f64 = 1e9;
    let edges = bounds.to_corners();
    if !edges.iter().all(|edge| edge.abs() <= FARTHEST) {
        return Some(FaultKind::NotANumber);
    }
    if bounds.x2 < bounds.x1 || bounds.y2 < bounds.y1 {
        return Some(FaultKind::Inverted);
    }
    if bounds.x2 == bounds.x1 || bounds.y2 == bounds.y1 {
        return Some(FaultKind::NoArea);
    }
    let outside = size.is_some_and(|s| bounds.intersection(Box2d::whole(s)).is_none());
    outside.then_some(FaultKind::Outside)
}
