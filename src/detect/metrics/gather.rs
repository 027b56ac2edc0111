//! Objects by class and picture, in the order in which they were given.

use std::ops::Range;

use rayon::prelude::*;

use super::{Found, Truth};

/// What is known and what was found of one class in one picture, as ranges of [`Gathered`]'s orders.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub truth: Range<usize>,
    pub found: Range<usize>,
}

/// The objects of all pictures, brought together by class.
pub(super) struct Gathered<'a> {
    truth: &'a [Truth],
    found: &'a [Found],
    /// Indices by class, then picture, then order of input.
    truth_order: Vec<u32>,
    found_order: Vec<u32>,
    /// Of each class, its pictures in order; pictures without anything of the class are left out.
    pub classes: Vec<Vec<Span>>,
}

impl<'a> Gathered<'a> {
    /// Sorts into classes `0..classes`; objects of other classes are left out.
    pub fn new(classes: usize, truth: &'a [Truth], found: &'a [Found]) -> Self {
        let (truth_order, found_order) = rayon::join(
            || order(truth.len(), |i| (truth[i].class, truth[i].image)),
            || order(found.len(), |i| (found[i].class, found[i].image)),
        );
        let mut gathered = Self { truth, found, truth_order, found_order, classes: Vec::new() };
        let (mut t, mut f) = (0, 0);
        gathered.classes = (0..classes as u32)
            .map(|class| {
                let mut spans = Vec::new();
                loop {
                    let next_truth = gathered.truth_order.get(t).map(|&i| &truth[i as usize]);
                    let next_found = gathered.found_order.get(f).map(|&i| &found[i as usize]);
                    let image = [
                        next_truth.filter(|o| o.class == class).map(|o| o.image),
                        next_found.filter(|o| o.class == class).map(|o| o.image),
                    ];
                    let Some(image) = image.into_iter().flatten().min() else { break };
                    let (t0, f0) = (t, f);
                    let here = |c: u32, i: u32| c == class && i == image;
                    while gathered.truth(t).is_some_and(|o| here(o.class, o.image)) {
                        t += 1;
                    }
                    while gathered.found(f).is_some_and(|o| here(o.class, o.image)) {
                        f += 1;
                    }
                    spans.push(Span { truth: t0..t, found: f0..f });
                }
                spans
            })
            .collect();
        gathered
    }

    fn truth(&self, place: usize) -> Option<&'a Truth> {
        self.truth_order.get(place).map(|&i| &self.truth[i as usize])
    }

    fn found(&self, place: usize) -> Option<&'a Found> {
        self.found_order.get(place).map(|&i| &self.found[i as usize])
    }

    /// What is in the picture, in the order of input.
    pub fn truth_of(&self, span: &Span) -> impl ExactSizeIterator<Item = &'a Truth> + '_ {
        self.truth_order[span.truth.clone()].iter().map(|&i| &self.truth[i as usize])
    }

    /// What was found in the picture, in the order of input.
    pub fn found_of(&self, span: &Span) -> impl ExactSizeIterator<Item = &'a Found> + '_ {
        self.found_order[span.found.clone()].iter().map(|&i| &self.found[i as usize])
    }
}

/// Indices in the order of their keys; of equal keys, in their own order.
fn order(count: usize, key: impl Fn(usize) -> (u32, u32) + Sync) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.par_sort_by_key(|&i| key(i as usize));
    order
}

/// For sorting by score, the highest first. Scores are not NaN; 0 and -0 are equal.
pub(super) fn by_score(a: f64, b: f64) -> std::cmp::Ordering {
    b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal)
}
