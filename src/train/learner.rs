//! What a job gives the loop.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Result;
use crate::tensors::TensorMap;
use crate::tensors::file::all_finite;

/// Named figures in the order in which they are shown and logged. Names are column titles: lower case, no commas.
pub type Figures = Vec<(&'static str, f64)>;

/// Where in the run a step stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepContext {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Steps before this one, over all epochs.
    pub step: u64,
    /// Learning rate of this step. A learner with several optimisers scales it for each.
    pub lr: f64,
    /// Seed of this step's randomness, the same whenever this step of this run is taken. A learner whose networks
    /// draw from the device (dropout) begins its step with `device.seed(context.seed)`.
    pub seed: u64,
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// Mean loss over the batch.
    pub loss: f64,
    /// Examples in the batch: the weight of this report in the epoch's means.
    pub examples: usize,
    /// Means over the batch of the job's own figures: the same names in the same order at every step. The first is
    /// shown while training.
    pub figures: Figures,
    /// What the user should know at once.
    pub notes: Vec<String>,
}

/// What an evaluation found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The figure by which the best model is chosen: higher is better.
    pub score: f64,
    /// Named figures for the log and the model's card: the same names in the same order at every evaluation.
    pub figures: Figures,
}

/// Everything a learner needs to go on as if it had never stopped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LearnerState {
    /// Weights, running statistics, optimiser moments, averages, by name.
    pub tensors: TensorMap,
    /// Counters by name. A floating-point number is kept by its bits.
    pub numbers: BTreeMap<String, u64>,
}

impl LearnerState {
    /// Adds the state of one part of the learner (`net`, `optimizer`, `discriminator`) under its name.
    pub fn put(&mut self, part: &str, state: Self) {
        self.tensors.extend(state.tensors.into_iter().map(|(name, t)| (format!("{part}/{name}"), t)));
        self.numbers.extend(state.numbers.into_iter().map(|(name, n)| (format!("{part}/{name}"), n)));
    }

    /// Takes out what [`Self::put`] put in under this name; empty if nothing was.
    pub fn take(&mut self, part: &str) -> Self {
        Self { tensors: take(&mut self.tensors, part), numbers: take(&mut self.numbers, part) }
    }

    /// The first tensor with a value that is not a number.
    pub fn first_not_finite(&self) -> Option<&str> {
        self.tensors.iter().find(|(_, tensor)| !all_finite(&tensor.data)).map(|(name, _)| name.as_str())
    }
}

impl From<TensorMap> for LearnerState {
    fn from(tensors: TensorMap) -> Self {
        Self { tensors, numbers: BTreeMap::new() }
    }
}

fn take<V>(map: &mut BTreeMap<String, V>, part: &str) -> BTreeMap<String, V> {
    let prefix = format!("{part}/");
    let mut from = map.split_off(&prefix);
    // The names of the part follow one another; what comes after them goes back.
    let after = from.keys().find(|name| !name.starts_with(&prefix)).cloned();
    if let Some(after) = after {
        map.append(&mut from.split_off(&after));
    }
    from.into_iter().map(|(name, value)| (name[prefix.len()..].to_string(), value)).collect()
}

/// Something that learns from batches. It owns its networks and optimisers, one or several.
pub trait Learner {
    /// What a step learns from.
    type Batch;

    /// Learns from one batch: one update of the weights.
    ///
    /// Must depend on the state, the batch and the context alone.
    fn step(&mut self, batch: Self::Batch, context: &StepContext) -> Result<StepReport>;

    /// Measures on what was set aside, through the job's own prediction path. Must not change the state.
    fn evaluate(&mut self) -> Result<Evaluation>;

    /// Everything that [`Learner::load_state`] needs.
    fn state(&self) -> Result<LearnerState>;

    /// Goes back to a state of the same run.
    ///
    /// # Errors
    /// [`Error::ModelFile`](crate::Error::ModelFile) if the state is not of this learner's kind.
    fn load_state(&mut self, state: LearnerState) -> Result<()>;

    /// Writes a model file of the present weights, with these figures in its card.
    fn write_model(&self, path: &Path, evaluation: &Evaluation) -> Result<()>;
}

/// The batches that a learner learns from: a pure function of (epoch, batch), so that a run can resume anywhere.
pub trait BatchSource {
    /// What a step learns from.
    type Batch;

    /// Batches of every epoch; at least 1.
    fn batches(&self) -> usize;

    /// The batches of epoch `epoch`, from 0, from batch `from` on.
    fn epoch(&self, epoch: u64, from: usize) -> Box<dyn Iterator<Item = Result<Self::Batch>> + '_>;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::tensors::HostTensor;

    fn state(name: &str, value: f32) -> LearnerState {
        let mut state = LearnerState::from(TensorMap::from([(
            name.to_string(),
            HostTensor { shape: vec![1], data: vec![value] },
        )]));
        state.numbers.insert("steps".into(), 3);
        state
    }

    #[test]
    fn parts_come_out_as_they_went_in() {
        // Names around "net/" in the order of bytes: '.' < '/' < '0'.
        let parts = ["a", "net", "net.old", "net0", "z"];
        let mut all = LearnerState::default();
        for (i, part) in parts.iter().enumerate() {
            all.put(part, state("w", i as f32));
        }
        for (i, part) in parts.iter().enumerate() {
            assert_eq!(all.take(part), state("w", i as f32), "{part}");
        }
        assert_eq!(all, LearnerState::default());
        assert_eq!(all.take("net"), LearnerState::default());
    }

    #[test]
    fn a_value_that_is_not_a_number_is_named() {
        let mut all = LearnerState::default();
        all.put("net", state("w", 1.0));
        assert_eq!(all.first_not_finite(), None);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            all.put("optimizer", state("w#first", bad));
            assert_eq!(all.first_not_finite(), Some("optimizer/w#first"));
        }
    }
}
