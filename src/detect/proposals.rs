//! From what a region proposal network says to regions that may hold an object (Ren et al. 2015, section 3.1).

use opticus_pixels::geometry::{Box2d, Size};
use opticus_pixels::suppress::{Candidate, nms_per_class};
use serde::{Deserialize, Serialize};

use super::coder::BoxCoder;

/// Which regions are kept. The defaults are torchvision's for prediction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// Regions of each map before suppression.
    pub before: usize,
    /// Regions of a picture after it.
    pub after: usize,
    /// Overlap above which the worse of two regions goes.
    pub iou: f64,
    /// Regions below this probability go.
    pub score: f64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { before: 1000, after: 1000, iou: 0.7, score: 0.0 }
    }
}

/// Sides below which a region is nothing, in pixels of the network's input.
const LEAST_SIDE: f64 = 1e-3;

/// What the network says of one map of one picture.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Anchors a position, rows and columns.
    pub shape: [usize; 3],
    /// Whether there is an object: `[anchors, rows, columns]`.
    pub logits: &'a [f32],
    /// How each anchor is to be corrected: `[anchors · 4, rows, columns]`.
    pub corrections: &'a [f32],
}

/// Regions that may hold an object, best first, with their probability, clipped to the picture: `within` is what of the
/// input is picture. `anchors` are those of all maps, map by map, position by position.
pub fn propose(said: &[Said<'_>], anchors: &[Box2d], within: Size, keep: &Keep) -> Vec<Candidate> {
    let mut rest = anchors;
    let mut candidates = Vec::new();
    for (level, map) in said.iter().enumerate() {
        let [each, h, w] = map.shape;
        let (here, after) = rest.split_at((each * h * w).min(rest.len()));
        rest = after;
        // Anchors are counted position by position, values anchor by anchor.
        let logit = |i: usize| map.logits[i % each * h * w + i / each];
        let better = |a: &usize, b: &usize| logit(*b).total_cmp(&logit(*a)).then(a.cmp(b));
        let mut order: Vec<usize> = (0..here.len()).collect();
        if keep.before < order.len() {
            order.select_nth_unstable_by(keep.before, better);
            order.truncate(keep.before);
        }
        order.sort_unstable_by(better);
        for i in order {
            let at = |k: usize| map.corrections[(i % each * 4 + k) * h * w + i / each];
            let bounds = BoxCoder::PLAIN.decode([at(0), at(1), at(2), at(3)], here[i]).clipped(within);
            let score = 1.0 / (1.0 + f64::from(-logit(i)).exp());
            if bounds.width().min(bounds.height()) >= LEAST_SIDE && score >= keep.score {
                candidates.push(Candidate { bounds, score, class: level });
            }
        }
    }
    // Maps do not compete before the best are chosen.
    let kept = nms_per_class(&candidates, keep.iou);
    kept.into_iter().take(keep.after).map(|i| Candidate { class: 0, ..candidates[i] }).collect()
}
