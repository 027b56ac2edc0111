//! What a job gives the loop.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Result;
use crate::tensors::TensorMap;

/// Where in the run a step stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepContext {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Steps before this one, over all epochs.
    pub step: u64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Seed of this step's randomness, the same whenever this step of this run is taken.
    pub seed: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepReport {
    /// Mean loss over the batch.
    pub loss: f64,
    /// Examples in the batch.
    pub examples: usize,
    /// Mean of the job's own figure over the batch (accuracy, say), 0 to 1.
    pub figure: Option<f64>,
}

/// What an evaluation found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The figure by which the best model is chosen; higher is better.
    pub score: f64,
    /// Named figures for the log, in a stable order.
    pub figures: Vec<(&'static str, f64)>,
}

/// Everything a learner needs to go on as if it had never stopped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LearnerState {
    /// Weights, running statistics, optimiser moments, averages, by name.
    pub tensors: TensorMap,
    /// Counters, by name.
    pub numbers: BTreeMap<String, u64>,
}

/// Something that learns from batches: it owns its networks and optimisers, one or several.
pub trait Learner {
    /// What a step learns from.
    type Batch;

    /// Learns from one batch.
    fn step(&mut self, batch: Self::Batch, context: &StepContext) -> Result<StepReport>;

    /// Measures on what was set aside, through the job's own prediction path.
    fn evaluate(&mut self) -> Result<Evaluation>;

    /// Everything that [`Learner::load_state`] needs.
    fn state(&self) -> Result<LearnerState>;

    /// Goes back to a state of the same run.
    fn load_state(&mut self, state: LearnerState) -> Result<()>;

    /// Writes a model file of the present weights, with these figures in its card.
    fn write_model(&self, path: &Path, evaluation: &Evaluation) -> Result<()>;
}

/// The batches that a learner learns from; a pure function of (epoch, batch), so that a run can resume anywhere.
pub trait BatchSource {
    /// What a step learns from.
    type Batch;

    /// Batches in every epoch; never 0.
    fn batches(&self) -> usize;

    /// The batches of epoch `epoch` from batch `from` on.
    fn epoch(&self, epoch: u64, from: usize) -> Box<dyn Iterator<Item = Result<Self::Batch>> + '_>;
}
