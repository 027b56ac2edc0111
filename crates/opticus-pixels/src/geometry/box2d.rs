//! Boxes: the facts about overlap, once and for all.

use serde::{Deserialize, Serialize};

use super::{Placement, Size};

/// A box with sides parallel to the picture's, in continuous coordinates: (0, 0) is the top left corner of the top
/// left pixel, and a box that covers the pixels 0 to 9 of a row has `x1 = 0`, `x2 = 10`. There is no "+1" anywhere.
///
/// In JSON and TOML it is `[x1, y1, x2, y2]`. Any four numbers make a `Box2d`, since files hold all sorts; see
/// [`Box2d::valid`] and [`Box2d::degenerate`]. What is measured is a number for all of them: an inverted or NaN
/// extent counts as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 4]", into = "[f64; 4]")]
pub struct Box2d {
    /// Left edge.
    pub x1: f64,
    /// Top edge.
    pub y1: f64,
    /// Right edge.
    pub x2: f64,
    /// Bottom edge.
    pub y2: f64,
}

impl Box2d {
    /// A box from its left, top, right and bottom edges.
    pub const fn new(x1: f64, y1: f64, x2: f64, y2: f64) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// A box from its corner at the top left, its width and its height, as COCO writes them.
    pub fn from_xywh([x, y, width, height]: [f64; 4]) -> Self {
        Self::new(x, y, x + width, y + height)
    }

    /// `[x, y, width, height]` with the corner at the top left, as COCO writes them.
    pub fn to_xywh(self) -> [f64; 4] {
        [self.x1, self.y1, self.x2 - self.x1, self.y2 - self.y1]
    }

    /// A box from its centre, its width and its height, as YOLO and box coders write them.
    pub fn from_center([x, y, width, height]: [f64; 4]) -> Self {
        Self::new(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0)
    }

    /// `[x, y, width, height]` with the centre, as YOLO and box coders write them.
    pub fn to_center(self) -> [f64; 4] {
        let [x, y] = self.center();
        [x, y, self.x2 - self.x1, self.y2 - self.y1]
    }

    /// `[x1, y1, x2, y2]`.
    pub const fn to_corners(self) -> [f64; 4] {
        [self.x1, self.y1, self.x2, self.y2]
    }

    /// The box of a whole picture.
    pub fn whole(size: Size) -> Self {
        Self::new(0.0, 0.0, size.width.into(), size.height.into())
    }

    /// The centre.
    pub const fn center(self) -> [f64; 2] {
        [f64::midpoint(self.x1, self.x2), f64::midpoint(self.y1, self.y2)]
    }

    /// Pixels across; 0 if inverted or NaN.
    pub const fn width(self) -> f64 {
        (self.x2 - self.x1).max(0.0)
    }

    /// Pixels down; 0 if inverted or NaN.
    pub const fn height(self) -> f64 {
        (self.y2 - self.y1).max(0.0)
    }

    /// Square pixels; 0 if inverted or NaN.
    pub const fn area(self) -> f64 {
        product(self.width(), self.height())
    }

    /// Whether the edges are finite and in order. Boxes without area are valid: a point and a line have a place.
    pub const fn valid(self) -> bool {
        let finite = self.x1.is_finite() && self.y1.is_finite() && self.x2.is_finite() && self.y2.is_finite();
        finite && self.x1 <= self.x2 && self.y1 <= self.y2
    }

    /// Whether nothing can lie in it: not [`valid`](Self::valid), or without area.
    pub fn degenerate(self) -> bool {
        !(self.valid() && self.area() > 0.0)
    }

    /// What two boxes share; `None` if that has no area (apart, or touching at an edge).
    pub fn intersection(self, other: Self) -> Option<Self> {
        let shared = self.overlap(other);
        (!shared.degenerate()).then_some(shared)
    }

    /// Area that two boxes share.
    pub const fn intersection_area(self, other: Self) -> f64 {
        self.overlap(other).area()
    }

    /// Area covered by either or both: the sum of the areas less the shared one. Not the area of
    /// [`enclosing`](Self::enclosing).
    pub const fn union_area(self, other: Self) -> f64 {
        self.area() + other.area() - self.intersection_area(other)
    }

    /// The smallest box around both. A NaN edge gives way to the other box's.
    pub const fn enclosing(self, other: Self) -> Self {
        Self {
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
            x2: self.x2.max(other.x2),
            y2: self.y2.max(other.y2),
        }
    }

    /// Intersection over union (Jaccard index), 0..=1; 0 where neither box has area.
    pub const fn iou(self, other: Self) -> f64 {
        ratio(self.intersection_area(other), self.union_area(other))
    }

    /// Generalised IoU, -1..=1: the IoU less the part of the enclosing box that neither covers (Rezatofighi et al.
    /// 2019, algorithm 1). Negative and falling with distance for boxes apart. Where the enclosing box has no area,
    /// the IoU.
    pub const fn giou(self, other: Self) -> f64 {
        let enclosing = self.enclosing(other).area();
        self.iou(other) - ratio((enclosing - self.union_area(other)).max(0.0), enclosing)
    }

    /// Intersection over this box's own area, 0..=1; 0 where it has none. COCO matches a detection with a crowd
    /// region by `detection.ioa(region)`.
    pub const fn ioa(self, other: Self) -> f64 {
        ratio(self.intersection_area(other), self.area())
    }

    /// The part inside a picture; a box beyond an edge ends up flat on that edge. Edges that are NaN stay so.
    pub const fn clipped(self, size: Size) -> Self {
        let (width, height) = (size.width as f64, size.height as f64);
        Self {
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
            x2: self.x2.clamp(0.0, width),
            y2: self.y2.clamp(0.0, height),
        }
    }

    /// All coordinates multiplied, x by the first factor and y by the second; factors are positive.
    pub const fn scaled(self, [x, y]: [f64; 2]) -> Self {
        Self::new(self.x1 * x, self.y1 * y, self.x2 * x, self.y2 * y)
    }

    /// Moved to the right and down.
    pub const fn translated(self, [x, y]: [f64; 2]) -> Self {
        Self::new(self.x1 + x, self.y1 + y, self.x2 + x, self.y2 + y)
    }

    /// Where the box is when a picture of that width is mirrored left to right.
    pub const fn flipped_horizontal(self, width: u32) -> Self {
        Self::new(width as f64 - self.x2, self.y1, width as f64 - self.x1, self.y2)
    }

    /// Where the box is when a picture of that height is mirrored top to bottom.
    pub const fn flipped_vertical(self, height: u32) -> Self {
        Self::new(self.x1, height as f64 - self.y2, self.x2, height as f64 - self.y1)
    }

    /// The shared region, inverted where the boxes are apart. A NaN edge must not give way to the other box's here:
    /// it would make an overlap of a box that is nowhere.
    const fn overlap(self, other: Self) -> Self {
        Self {
            x1: if self.x1 > other.x1 || self.x1.is_nan() { self.x1 } else { other.x1 },
            y1: if self.y1 > other.y1 || self.y1.is_nan() { self.y1 } else { other.y1 },
            x2: if self.x2 < other.x2 || self.x2.is_nan() { self.x2 } else { other.x2 },
            y2: if self.y2 < other.y2 || self.y2.is_nan() { self.y2 } else { other.y2 },
        }
    }
}

/// Width times height, where nothing by infinitely much is nothing.
const fn product(width: f64, height: f64) -> f64 {
    if width == 0.0 || height == 0.0 { 0.0 } else { width * height }
}

/// `part / whole` within 0..=1, and 0 where that is no number (nothing of nothing, or areas beyond `f64`).
const fn ratio(part: f64, whole: f64) -> f64 {
    let ratio = part / whole;
    if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) }
}

impl From<[f64; 4]> for Box2d {
    fn from([x1, y1, x2, y2]: [f64; 4]) -> Self {
        Self::new(x1, y1, x2, y2)
    }
}

impl From<Box2d> for [f64; 4] {
    fn from(b: Box2d) -> Self {
        b.to_corners()
    }
}

impl Placement {
    /// Where a box of the frame lies in the picture; not clipped.
    pub fn box_to_picture(&self, b: Box2d) -> Box2d {
        let ([x1, y1], [x2, y2]) = (self.to_picture([b.x1, b.y1]), self.to_picture([b.x2, b.y2]));
        Box2d::new(x1, y1, x2, y2)
    }

    /// Where a box of the picture lies in the frame; not clipped.
    pub fn box_to_frame(&self, b: Box2d) -> Box2d {
        let ([x1, y1], [x2, y2]) = (self.to_frame([b.x1, b.y1]), self.to_frame([b.x2, b.y2]));
        Box2d::new(x1, y1, x2, y2)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const UNIT: Box2d = Box2d::new(0.0, 0.0, 1.0, 1.0);

    #[test]
    fn two_squares_that_share_a_quarter() {
        let (a, b) = (Box2d::new(0.0, 0.0, 2.0, 2.0), Box2d::new(1.0, 1.0, 3.0, 3.0));
        assert_eq!(a.intersection(b), Some(Box2d::new(1.0, 1.0, 2.0, 2.0)));
        assert_eq!(a.intersection_area(b), 1.0);
        assert_eq!(a.union_area(b), 7.0);
        assert_eq!(a.enclosing(b), Box2d::new(0.0, 0.0, 3.0, 3.0));
        assert_eq!(a.iou(b), 1.0 / 7.0);
        assert_eq!(a.giou(b), 1.0 / 7.0 - 2.0 / 9.0);
        assert_eq!(a.ioa(b), 0.25);
        assert_eq!(UNIT.ioa(a), 1.0);
        assert_eq!(a.ioa(UNIT), 0.25);
    }

    #[test]
    fn touching_boxes_share_nothing() {
        let right = UNIT.translated([1.0, 0.0]);
        assert_eq!((UNIT.intersection(right), UNIT.iou(right), UNIT.giou(right)), (None, 0.0, 0.0));
        assert_eq!(UNIT.giou(UNIT.translated([3.0, 0.0])), -0.5);
    }

    #[test]
    fn what_is_no_box_measures_nothing() {
        let nan = Box2d::new(f64::NAN, 0.0, 1.0, 1.0);
        let inverted = Box2d::new(1.0, 0.0, 0.0, 1.0);
        let endless = Box2d::new(f64::NEG_INFINITY, 0.0, f64::INFINITY, 1.0);
        for b in [nan, inverted] {
            assert!(!b.valid() && b.degenerate());
            assert_eq!(
                (b.area(), b.iou(UNIT), UNIT.iou(b), b.ioa(UNIT), b.iou(b)),
                (0.0, 0.0, 0.0, 0.0, 0.0)
            );
        }
        assert!(!endless.valid() && endless.iou(UNIT) == 0.0 && endless.iou(endless) == 0.0);
        let line = Box2d::new(2.0, 3.0, 2.0, 9.0);
        assert!(line.valid() && line.degenerate() && line.iou(line) == 0.0);
        assert_eq!(Box2d::new(-1e308, -1e308, 1e308, 1e308).iou(UNIT), 0.0);
    }

    #[test]
    fn written_as_four_numbers() {
        let b = Box2d::new(1.0, 2.5, 3.0, 4.0);
        assert_eq!(serde_json::to_string(&b).unwrap(), "[1.0,2.5,3.0,4.0]");
        assert_eq!(serde_json::from_str::<Box2d>("[1, 2.5, 3, 4]").unwrap(), b);
        assert!(serde_json::from_str::<Box2d>("[1, 2.5, 3]").is_err());
        assert_eq!(b.to_xywh(), [1.0, 2.5, 2.0, 1.5]);
        assert_eq!(b.to_center(), [2.0, 3.25, 2.0, 1.5]);
    }

    #[test]
    fn a_letterbox_and_back() {
        let (picture, scaled, frame) = (Size::new(40, 20), Size::new(20, 10), Size::new(20, 20));
        let placement = Placement { picture, scaled, frame, x: 0, y: 5 };
        let b = Box2d::new(4.0, 0.0, 40.0, 20.0);
        assert_eq!(placement.box_to_frame(b), Box2d::new(2.0, 5.0, 20.0, 15.0));
        assert_eq!(placement.box_to_picture(placement.box_to_frame(b)), b);
    }
}
