//! One box for each object: what detectors do with many boxes for the same thing.
//!
//! | function | what becomes of a box that overlaps a better one |
//! |---|---|
//! | [`nms`], [`nms_per_class`] | dropped |
//! | [`soft_nms`] | its score falls |
//! | [`fuse_weighted`] | averaged with it |
//!
//! Candidates whose box is not [valid](Box2d::valid) or whose score is NaN are passed over everywhere: a network
//! that has gone wrong gives fewer boxes, not wrong ones.

mod fusion;
mod greedy;
mod soft;

pub use fusion::{Fusion, Source, fuse_weighted};
pub use greedy::{nms, nms_per_class};
pub use soft::{Decay, SoftNms, soft_nms};

use crate::geometry::Box2d;

/// A box that may hold an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Where.
    pub bounds: Box2d,
    /// How surely; larger is better.
    pub score: f64,
    /// Of which kind: an index of a class, or of whatever keeps boxes apart (a level of a pyramid).
    pub class: usize,
}

/// The usable candidates' indices, best score first, equal scores in the order given.
fn ranked(candidates: &[Candidate]) -> Vec<usize> {
    let usable = |c: &Candidate| c.bounds.valid() && !c.score.is_nan();
    let mut order: Vec<usize> = (0..candidates.len()).filter(|i| usable(&candidates[*i])).collect();
    order.sort_by(|a, b| candidates[*b].score.total_cmp(&candidates[*a].score));
    order
}

/// Ranked indices, class by class; within a class the order stays.
fn by_class(candidates: &[Candidate], mut ranked: Vec<usize>) -> Vec<Vec<usize>> {
    ranked.sort_by_key(|i| candidates[*i].class);
    ranked.chunk_by(|a, b| candidates[*a].class == candidates[*b].class).map(<[usize]>::to_vec).collect()
}
