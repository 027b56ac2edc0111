//! What a run tells whoever watches it.

use std::path::Path;

use super::fit::Fitted;
use super::learner::Evaluation;

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Epoch, from 1 as people count.
    pub epoch: u64,
    /// Epochs planned.
    pub epochs: u64,
    /// Batches done of this epoch.
    pub batch: usize,
    /// Batches of an epoch.
    pub batches: usize,
    /// Steps done over all epochs, of [`Self::steps`].
    pub step: u64,
    /// Steps until the planned end: the last epoch or the minutes allowed, whichever comes first.
    pub steps: u64,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Mean loss of this epoch so far; not a number before the first step.
    pub loss: f64,
    /// Means of the job's figures of this epoch so far; the first is the one to show.
    pub figures: Vec<(String, f64)>,
    /// Examples a second over the last half minute or so, evaluations left out.
    pub rate: f64,
    /// Seconds left until the planned end; `None` while there is nothing to judge by.
    pub seconds_left: Option<f64>,
}

impl Position {
    /// The job's first figure: accuracy, say.
    pub fn figure(&self) -> Option<f64> {
        self.figures.first().map(|(_, value)| *value)
    }
}

/// Whoever watches a run. Every method may do nothing.
pub trait Progress {
    /// Before the first step; a resumed run stands where it stopped.
    fn start(&mut self, position: &Position) {
        let _ = position;
    }

    /// After a step.
    fn step(&mut self, position: &Position) {
        let _ = position;
    }

    /// Before an epoch's evaluation, which may take a while.
    fn evaluating(&mut self, position: &Position) {
        let _ = position;
    }

    /// After an epoch's evaluation; `best` if none before was better.
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

    /// The run is over. Not called when it ends in an error.
    fn finish(&mut self, fitted: &Fitted) {
        let _ = fitted;
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
