//! Precision against recall, and the threshold at which they balance best.

use schemars::JsonSchema;
use serde::Serialize;

/// Points of recall at which precision is read off: 0, 0.01, …, 1.
pub(super) const POINTS: usize = 101;

/// The recall of a point, as numpy's `linspace(0, 1, 101)` rounds it.
pub(super) fn recall_at(point: usize) -> f64 {
    if point + 1 == POINTS { 1.0 } else { point as f64 * 0.01 }
}

/// Precision at fixed recalls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Curve {
    /// At recall 0, 0.01, …, 1: the best precision at this recall or a higher one; 0 where it is not reached.
    pub precision: Vec<f64>,
    /// The score at which each recall is reached; 0 where it is not.
    pub score: Vec<f64>,
}

/// The threshold on the score that gives the best F1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Threshold {
    /// Keep detections whose score is at least this.
    pub score: f64,
    /// Harmonic mean of precision and recall, 0 to 1.
    pub f1: f64,
    /// Part of the detections kept that are right.
    pub precision: f64,
    /// Part of the objects that are found.
    pub recall: f64,
}

/// One detection that counts, in order of falling score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub score: f64,
    pub right: bool,
}

/// Precision at each of [`POINTS`] recalls, written to `precision` (and the scores to `scores`), and the recall
/// reached. As COCOeval's `accumulate`: precision is made to fall with recall, and read off at the first
/// detection whose recall is at least the point's. `positives` is not 0.
pub(super) fn interpolate(
    judged: impl Iterator<Item = Judged>,
    positives: usize,
    steps: &mut Vec<(f64, f64, f64)>,
    curve: &mut Curve,
) -> f64 {
    // Precision falls while detections are wrong, and only the first detection of a recall is read, so that
    // right ones are all that matters, and before them the first detection, whose recall may be 0.
    steps.clear();
    let (mut right, mut all) = (0usize, 0usize);
    let mut first = None;
    for one in judged {
        all += 1;
        first.get_or_insert(one.score);
        if one.right {
            right += 1;
            let recall = right as f64 / positives as f64;
            let precision = right as f64 / (all as f64 + f64::EPSILON);
            steps.push((recall, precision, one.score));
        }
    }
    for i in (1..steps.len()).rev() {
        if steps[i].1 > steps[i - 1].1 {
            steps[i - 1].1 = steps[i].1;
        }
    }
    curve.precision.clear();
    curve.score.clear();
    let mut step = 0;
    for point in 0..POINTS {
        let wanted = recall_at(point);
        while steps.get(step).is_some_and(|s| s.0 < wanted) {
            step += 1;
        }
        let (precision, score) = match (steps.get(step), first) {
            // Recall 0 is reached by the first detection, right or wrong.
            (Some(s), Some(first)) if point == 0 => (s.1, first),
            (Some(s), _) => (s.1, s.2),
            (None, Some(first)) if point == 0 => (0.0, first),
            (None, _) => (0.0, 0.0),
        };
        curve.precision.push(precision);
        curve.score.push(score);
    }
    right as f64 / positives as f64
}

/// The best threshold; the highest of equally good ones. `None` if nothing right was found.
pub(super) fn best_threshold(judged: impl Iterator<Item = Judged>, positives: usize) -> Option<Threshold> {
    let mut judged = judged.peekable();
    let (mut right, mut all) = (0usize, 0usize);
    let mut best: Option<Threshold> = None;
    while let Some(one) = judged.next() {
        all += 1;
        right += usize::from(one.right);
        // A threshold cannot part equal scores.
        if judged.peek().is_some_and(|next| next.score == one.score) || right == 0 {
            continue;
        }
        let f1 = 2.0 * right as f64 / (all + positives) as f64;
        if best.is_none_or(|b| f1 > b.f1) {
            best = Some(Threshold {
                score: one.score,
                f1,
                precision: right as f64 / all as f64,
                recall: right as f64 / positives as f64,
            });
        }
    }
    best
}
