//! Soft suppression (Bodla, Singh, Chellappa, Davis: "Soft-NMS: Improving Object Detection With One Line of Code",
//! ICCV 2017).

use super::{Candidate, by_class, ranked};

/// How a score falls with the overlap with a better candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// `score · (1 − IoU)` from an IoU of `iou` on; below it nothing (equation 1 of section 3).
    Linear {
        /// The least IoU that matters, 0..=1.
        iou: f64,
    },
    /// `score · exp(−IoU² / sigma)` (equation 2); the paper uses 0.5.
    Gaussian {
        /// Larger is gentler; more than 0.
        sigma: f64,
    },
}

impl Decay {
    fn factor(self, overlap: f64) -> f64 {
        match self {
            Self::Linear { iou } if overlap >= iou => 1.0 - overlap,
            Self::Linear { .. } => 1.0,
            Self::Gaussian { sigma } => (-overlap * overlap / sigma).exp(),
        }
    }
}

/// Settings of [`soft_nms`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftNms {
    /// How scores fall.
    pub decay: Decay,
    /// Candidates are given up once their score is below this; the paper's code uses 0.001.
    pub min_score: f64,
}

impl Default for SoftNms {
    fn default() -> Self {
        Self { decay: Decay::Gaussian { sigma: 0.5 }, min_score: 0.001 }
    }
}

/// Soft non-maximum suppression: time and again the best candidate left is taken, and the scores of all others of
/// its class fall by their overlap with it (figure 2 of the paper). Takes n·kept steps.
///
/// Gives the candidates kept with their new scores, best first; with equal scores, in the order given.
pub fn soft_nms(candidates: &[Candidate], settings: &SoftNms) -> Vec<Candidate> {
    let good_enough = |c: &Candidate| c.score >= settings.min_score;
    let mut kept = Vec::new();
    for class in by_class(candidates, ranked(candidates)) {
        let mut left: Vec<(usize, Candidate)> = class.into_iter().map(|i| (i, candidates[i])).collect();
        left.retain(|(_, c)| good_enough(c));
        while let Some(best) = best_of(&left) {
            let (index, best) = left.swap_remove(best);
            for (_, other) in &mut left {
                other.score *= settings.decay.factor(best.bounds.iou(other.bounds));
            }
            left.retain(|(_, c)| good_enough(c));
            kept.push((index, best));
        }
    }
    kept.sort_by(|(i, a), (j, b)| b.score.total_cmp(&a.score).then(i.cmp(j)));
    kept.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Position of the best score; of equal ones that given first.
fn best_of(left: &[(usize, Candidate)]) -> Option<usize> {
    let better =
        |(i, a): &(usize, Candidate), (j, b): &(usize, Candidate)| a.score.total_cmp(&b.score).then(j.cmp(i));
    (0..left.len()).max_by(|p, q| better(&left[*p], &left[*q]))
}
