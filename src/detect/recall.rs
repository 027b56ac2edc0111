//! How many objects proposals cover (Hosang, Benenson, Dollár, Schiele: "What makes for effective detection
//! proposals?", TPAMI 38, 2016, section 4): an object is covered at an overlap if any proposal has at least that IoU
//! with it, whatever its class.

use opticus_pixels::geometry::Box2d;
use schemars::JsonSchema;
use serde::Serialize;

/// The overlaps that the average recall is the mean over: COCO's, in twentieths.
const TWENTIETHS: std::ops::RangeInclusive<u32> = 10..=19;

/// Recall by the number of proposals.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Recall {
    /// Pictures looked at.
    pub images: usize,
    /// Objects in them; crowds and difficult ones do not count.
    pub objects: usize,
    /// Proposals a picture, in the mean.
    pub proposals_per_image: f64,
    /// One row a number of proposals.
    pub rows: Vec<RecallAt>,
}

/// Parts of the objects that the best proposals cover, 0 to 1; 0 where there are no objects.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RecallAt {
    /// So many proposals of each picture at most, the best.
    pub proposals: usize,
    /// At an IoU of 0.5.
    pub recall50: f64,
    /// At an IoU of 0.7.
    pub recall70: f64,
    /// Mean over the IoUs 0.5, 0.55, … 0.95.
    pub average_recall: f64,
}

/// Gathers recall picture by picture; keeps one number a row and object.
#[derive(Clone, Debug)]
pub struct Gathered {
    counts: Vec<usize>,
    images: usize,
    proposals: usize,
    /// The best overlap of each object among so many proposals, one list a count.
    best: Vec<Vec<f64>>,
}

impl Gathered {
    /// For these numbers of proposals, in rising order.
    pub fn new(counts: Vec<usize>) -> Self {
        Self { best: vec![Vec::new(); counts.len()], counts, images: 0, proposals: 0 }
    }

    /// Adds a picture: its objects, and its proposals, best first.
    pub fn add(&mut self, objects: &[Box2d], proposals: &[Box2d]) {
        self.images += 1;
        self.proposals += proposals.len();
        for object in objects {
            let (mut best, mut seen) = (0.0f64, 0);
            for (count, list) in self.counts.iter().zip(&mut self.best) {
                let until = proposals.len().min(*count);
                best = proposals[seen.min(until)..until].iter().map(|b| b.iou(*object)).fold(best, f64::max);
                seen = until;
                list.push(best);
            }
        }
    }

    /// What came of it.
    pub fn recall(&self) -> Recall {
        let row = |(count, best): (&usize, &Vec<f64>)| {
            let at = |twentieths: u32| {
                let least = f64::from(twentieths) / 20.0;
                best.iter().filter(|iou| **iou >= least).count() as f64 / best.len().max(1) as f64
            };
            let average = TWENTIETHS.map(at).sum::<f64>() / TWENTIETHS.count() as f64;
            RecallAt { proposals: *count, recall50: at(10), recall70: at(14), average_recall: average }
        };
        Recall {
            images: self.images,
            objects: self.best.first().map_or(0, Vec::len),
            proposals_per_image: self.proposals as f64 / self.images.max(1) as f64,
            rows: self.counts.iter().zip(&self.best).map(row).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_rises_with_the_proposals() {
        let object = Box2d::new(0.0, 0.0, 10.0, 10.0);
        let other = object.translated([50.0, 0.0]);
        // IoU 0.5, 0.72 and 1 with the first object; nothing meets the second.
        let widths = [5.0, 7.2, 10.0].map(|w| Box2d::new(0.0, 0.0, w, 10.0));
        let mut gathered = Gathered::new(vec![1, 2, 10]);
        gathered.add(&[object, other], &widths);
        gathered.add(&[], &widths[..1]);
        let recall = gathered.recall();
        assert_eq!((recall.images, recall.objects, recall.proposals_per_image), (2, 2, 2.0));
        let figures: Vec<_> =
            recall.rows.iter().map(|r| (r.proposals, r.recall50, r.recall70, r.average_recall)).collect();
        // One of two objects, at 1, 5 and 10 of the 10 overlaps.
        assert_eq!(figures, [(1, 0.5, 0.0, 0.05), (2, 0.5, 0.5, 0.25), (10, 0.5, 0.5, 0.5)]);
    }

    #[test]
    fn nothing_to_cover_is_no_number_out_of_range() {
        let mut gathered = Gathered::new(vec![10]);
        assert_eq!(gathered.recall().proposals_per_image, 0.0);
        gathered.add(&[], &[]);
        assert_eq!(gathered.recall().rows[0].average_recall, 0.0);
    }
}
