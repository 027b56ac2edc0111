//! Greedy suppression.

use std::collections::{BTreeMap, HashMap};

use super::{Candidate, by_class, ranked};
use crate::geometry::Box2d;

/// Greedy non-maximum suppression, whatever the classes: best score first (equal scores in the order given), a
/// candidate is kept unless its IoU with one kept before is larger than `iou`, 0..=1.
///
/// Gives the indices kept, best first, as `torchvision.ops.nms` does. Takes n·log n + n·kept steps at
/// worst, and far fewer where boxes are spread over the picture.
pub fn nms(candidates: &[Candidate], iou: f64) -> Vec<usize> {
    keep(candidates, &ranked(candidates), iou)
}

/// As [`nms`], but candidates of different classes let each other be; as `torchvision.ops.batched_nms`.
pub fn nms_per_class(candidates: &[Candidate], iou: f64) -> Vec<usize> {
    let order = ranked(candidates);
    let mut kept = vec![false; candidates.len()];
    for class in by_class(candidates, order.clone()) {
        for index in keep(candidates, &class, iou) {
            kept[index] = true;
        }
    }
    order.into_iter().filter(|index| kept[*index]).collect()
}

fn keep(candidates: &[Candidate], order: &[usize], iou: f64) -> Vec<usize> {
    let mut kept = Index::default();
    let mut indices = Vec::new();
    for &index in order {
        let bounds = candidates[index].bounds;
        if !kept.overlaps(bounds, iou) {
            kept.push(bounds);
            indices.push(index);
        }
    }
    indices
}

/// Boxes kept so far, found again by size and place.
///
/// They lie on levels, one for each pair of powers of two that their width and height have reached, and on each
/// level in cells as large as those powers, by their centres. Two boxes whose IoU passes a threshold are of similar
/// sizes and near each other, so only few levels, and few cells of each, need to be looked into.
#[derive(Default)]
struct Index {
    levels: BTreeMap<[i32; 2], Level>,
}

#[derive(Default)]
struct Level {
    boxes: Vec<Box2d>,
    cells: HashMap<[i64; 2], Vec<Box2d>>,
}

impl Index {
    fn push(&mut self, b: Box2d) {
        // What has no area overlaps nothing.
        if b.degenerate() {
            return;
        }
        let [along_x, along_y] = Extent::both(b);
        let level = self.levels.entry([along_x.level(), along_y.level()]).or_default();
        let cell = [along_x.cell(along_x.level()), along_y.cell(along_y.level())];
        level.boxes.push(b);
        level.cells.entry(cell).or_default().push(b);
    }

    /// Whether the IoU with any box is larger than `iou`.
    fn overlaps(&self, b: Box2d, iou: f64) -> bool {
        if b.degenerate() {
            return false;
        }
        let [along_x, along_y] = Extent::both(b);
        self.levels.iter().any(|([x, y], level)| {
            let (Some([left, right]), Some([top, bottom])) = (along_x.reach(*x, iou), along_y.reach(*y, iou))
            else {
                return false;
            };
            let passes = |kept: &Box2d| meets(*kept, b) && kept.iou(b) > iou;
            let cells = (right as f64 - left as f64 + 1.0) * (bottom as f64 - top as f64 + 1.0);
            // Looking up a cell costs about as much as comparing ten boxes.
            if cells * 10.0 >= level.boxes.len() as f64 {
                return level.boxes.iter().any(passes);
            }
            (top..=bottom).any(|y| {
                (left..=right).any(|x| level.cells.get(&[x, y]).is_some_and(|boxes| boxes.iter().any(passes)))
            })
        })
    }
}

/// Whether two boxes share area; settles most pairs in four comparisons.
fn meets(a: Box2d, b: Box2d) -> bool {
    (a.x1 < b.x2) & (b.x1 < a.x2) & (a.y1 < b.y2) & (b.y1 < a.y2)
}

/// A box along one axis.
struct Extent {
    centre: f64,
    length: f64,
    /// How far rounding may have moved the centre, and more.
    blur: f64,
}

impl Extent {
    fn both(b: Box2d) -> [Self; 2] {
        let [x, y] = b.center();
        let extent = |centre: f64, from: f64, to: f64| Self {
            centre,
            length: to - from,
            blur: 8.0 * f64::EPSILON * (from.abs() + to.abs()),
        };
        [extent(x, b.x1, b.x2), extent(y, b.y1, b.y2)]
    }

    fn level(&self) -> i32 {
        self.length.log2().floor() as i32
    }

    fn cell(&self, level: i32) -> i64 {
        (self.centre / 2f64.powi(level)).floor() as i64
    }

    /// First and last cell of a level in which the centre of an extent may lie that has more than `iou` in common
    /// with this one. With lengths `a` and `b` and centres `d` apart, the shared length is at most `(a + b) / 2 − d`
    /// and the covered one at least `max(a, b)`.
    fn reach(&self, level: i32, iou: f64) -> Option<[i64; 2]> {
        let iou = iou * (1.0 - 1e-9);
        let shortest = 2f64.powi(level);
        let longest = 2.0 * shortest;
        if longest < iou * self.length || self.length < iou * shortest {
            return None;
        }
        let far = (self.length + longest) / 2.0 - iou * self.length.max(shortest) + self.blur;
        let cell = |at: f64| (at / shortest).floor() as i64;
        (far >= 0.0).then(|| [cell(self.centre - far), cell(self.centre + far)])
    }
}
