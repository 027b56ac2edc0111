//! Fusing the boxes of several detectors (Solovyev, Wang, Gabruseva: "Weighted boxes fusion: Ensembling boxes from
//! different object detection models", Image and Vision Computing 107, 2021).

use super::{Candidate, by_class, ranked};
use crate::geometry::Box2d;

/// What one detector found in a picture (or one view of it: mirrored, of another scale).
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its boxes.
    pub candidates: &'a [Candidate],
    /// How much it is believed, against the others; more than 0.
    pub weight: f64,
}

/// Settings of [`fuse_weighted`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fusion {
    /// Boxes whose IoU is larger are taken for one object; the paper recommends 0.55.
    pub iou: f64,
    /// Candidates with a lower score are left out.
    pub min_score: f64,
}

impl Default for Fusion {
    fn default() -> Self {
        Self { iou: 0.55, min_score: 0.0 }
    }
}

/// Weighted boxes fusion: boxes of one class that overlap become one, whose edges are the means weighted by score,
/// and whose score is the mean score, lowered where fewer detectors than there are agree (section 3, equations 1 to
/// 4 and 6).
///
/// Scores are multiplied by their source's weight first, and the fused ones divided by the mean weight, as the
/// authors' program does. Gives the fused boxes, best first.
pub fn fuse_weighted(sources: &[Source], settings: &Fusion) -> Vec<Candidate> {
    let pool: Vec<Candidate> = sources
        .iter()
        .filter(|source| source.weight > 0.0 && source.weight.is_finite())
        .flat_map(|source| {
            let usable =
                source.candidates.iter().filter(|c| c.score >= settings.min_score && c.score.is_finite());
            usable.map(|c| Candidate { score: c.score * source.weight, ..*c })
        })
        .collect();
    let weights: f64 = sources.iter().map(|s| s.weight).filter(|w| *w > 0.0 && w.is_finite()).sum();
    let mut fused = Vec::new();
    for class in by_class(&pool, ranked(&pool)) {
        let mut clusters: Vec<Cluster> = Vec::new();
        for index in class {
            let candidate = pool[index];
            match closest(&clusters, candidate.bounds, settings.iou) {
                Some(at) => clusters[at].add(candidate),
                None => clusters.push(Cluster::new(candidate)),
            }
        }
        fused.extend(clusters.iter().map(|cluster| {
            let agreeing = cluster.members.min(sources.len()) as f64;
            Candidate { score: cluster.fused.score * agreeing / weights, ..cluster.fused }
        }));
    }
    ranked(&fused).into_iter().map(|index| fused[index]).collect()
}

/// The cluster whose fused box overlaps most, if by more than `iou`; of equal ones the first.
fn closest(clusters: &[Cluster], bounds: Box2d, iou: f64) -> Option<usize> {
    let mut best = (None, iou);
    for (at, cluster) in clusters.iter().enumerate() {
        let overlap = cluster.fused.bounds.iou(bounds);
        if overlap > best.1 {
            best = (Some(at), overlap);
        }
    }
    best.0
}

struct Cluster {
    fused: Candidate,
    members: usize,
    /// Sum of the scores, and of the edges times the scores.
    scores: f64,
    edges: [f64; 4],
}

impl Cluster {
    fn new(first: Candidate) -> Self {
        let edges = first.bounds.to_corners().map(|edge| edge * first.score);
        Self { fused: first, members: 1, scores: first.score, edges }
    }

    fn add(&mut self, candidate: Candidate) {
        self.members += 1;
        self.scores += candidate.score;
        for (sum, edge) in self.edges.iter_mut().zip(candidate.bounds.to_corners()) {
            *sum += edge * candidate.score;
        }
        self.fused.score = self.scores / self.members as f64;
        // Without any belief in them the boxes stay as the first said.
        if self.scores > 0.0 {
            self.fused.bounds = self.edges.map(|sum| sum / self.scores).into();
        }
    }
}
