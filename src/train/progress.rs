//! What a run tells whoever watches it.

use std::path::Path;

use super::learner::Evaluation;

/// How far a run is, after a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// Epoch, from 1 as people count.
    pub epoch: u64,
    /// Epochs planned.
    pub epochs: u64,
    /// Batches done of this epoch.
    pub batch: usize,
    /// Batches of an epoch.
    pub batches: usize,
    /// Mean loss of this epoch so far.
    pub loss: f64,
    /// Mean of the job's figure of this epoch so far.
    pub figure: Option<f64>,
    /// Examples a second.
    pub rate: f64,
    /// Seconds left until the planned end: the last epoch or the minutes allowed, whichever comes first.
    pub seconds_left: f64,
}

/// Whoever watches a run. Every method may do nothing.
pub trait Progress {
    /// After a step.
    fn step(&mut self, position: &Position) {
        let _ = position;
    }

    /// After an epoch's evaluation.
    fn epoch(&mut self, position: &Position, evaluation: &Evaluation, best: bool) {
        let _ = (position, evaluation, best);
    }

    /// After a checkpoint.
    fn checkpoint(&mut self, path: &Path) {
        let _ = path;
    }

    /// Something to know: resumed, stopped early, left out.
    fn message(&mut self, text: &str) {
        let _ = text;
    }

    /// The run is over.
    fn finish(&mut self) {}
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
