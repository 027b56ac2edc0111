//! Averaged weights: an exponential moving average of a module's tensors.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::learner::LearnerState;
use super::names::Names;
use super::update;
use super::values::{self, Values};
use crate::error::{Error, Result};
use crate::tensors::{HostTensor, TensorMap};

/// Configuration of an [`Ema`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// Weight of the past at each step, 0 (off) to below 1. The average remembers about `1 / (1 - decay)` steps.
    pub decay: f64,
}

impl EmaConfig {
    /// Checks the decay.
    ///
    /// # Errors
    /// [`Error::Config`] if it is out of range.
    pub fn validate(&self) -> Result<()> {
        match (0.0..1.0).contains(&self.decay) {
            true => Ok(()),
            false => {
                Err(Error::Config(format!("ema.decay is {}; it must be 0 (off) to below 1", self.decay)))
            }
        }
    }
}

/// An exponential moving average over every tensor of a module (Polyak and Juditsky 1992, with forgetting).
///
/// Running statistics are averaged like weights, as torchvision's `ExponentialMovingAverage(use_buffers=True)`
/// does, so that they belong to the averaged weights and not to the newest. The decay ramps up as
/// `(1 + steps) / (10 + steps)`, the rule of TensorFlow's `ExponentialMovingAverage(num_updates)`, so that the
/// first, random weights are soon forgotten whatever the length of the run.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    steps: u64,
    averages: TensorMap,
}

/// The counter's name in a checkpoint.
const STEPS: &str = "steps";

impl Ema {
    /// An average that starts at the module's present tensors.
    pub fn new<M: Module>(config: &EmaConfig, module: &M) -> Self {
        let mut averages = TensorMap::new();
        visit(module, |name, shape, values| {
            averages.insert(name, HostTensor { shape: shape.to_vec(), data: values.to_vec() });
        });
        Self { decay: config.decay, steps: 0, averages }
    }

    /// Takes the module's present tensors into the average.
    pub fn update<M: Module>(&mut self, module: &M) {
        self.steps += 1;
        let steps = self.steps as f64;
        let keep = self.decay.min((1.0 + steps) / (10.0 + steps));
        visit(module, |name, _, values| {
            if let Some(average) = self.averages.get_mut(&name) {
                update::average(&mut average.data, values.as_slice(), keep);
            }
        });
    }

    /// The module with its tensors replaced by their averages.
    pub fn apply<M: Module>(&self, module: M) -> M {
        module.map(&mut Replace { averages: &self.averages, names: Names::default() })
    }

    /// Everything that [`Self::load_state`] needs.
    pub fn state(&self) -> LearnerState {
        let numbers = BTreeMap::from([(STEPS.to_string(), self.steps)]);
        LearnerState { tensors: self.averages.clone(), numbers }
    }

    /// Goes back to a state of an average of the same module.
    ///
    /// # Errors
    /// [`Error::ModelFile`] if names or shapes are not this module's.
    pub fn load_state(&mut self, state: LearnerState) -> Result<()> {
        let LearnerState { tensors, numbers } = state;
        let alike = |a: &TensorMap, b: &TensorMap| {
            a.len() == b.len() && a.iter().zip(b).all(|((n, x), (m, y))| n == m && x.shape == y.shape)
        };
        let (true, Some(steps)) = (alike(&tensors, &self.averages), numbers.get(STEPS)) else {
            return Err(Error::ModelFile(
                "the checkpoint's averaged weights are those of another network; start anew with --overwrite"
                    .into(),
            ));
        };
        (self.averages, self.steps) = (tensors, *steps);
        Ok(())
    }
}

/// Calls with the name, shape and values of every tensor of a module.
fn visit<M: Module>(module: &M, visit: impl FnMut(String, &[usize], Values)) {
    struct Tensors<F>(Names, F);
    impl<F: FnMut(String, &[usize], Values)> ModuleVisitor for Tensors<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.base();
            let shape = tensor.dims();
            (self.1)(self.0.here(), &shape, Values::of(tensor));
        }
    }
    module.visit(&mut Tensors(Names::default(), visit));
}

struct Replace<'a> {
    averages: &'a TensorMap,
    names: Names,
}

impl ModuleMapper for Replace<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.names.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.averages.get(&self.names.here()) {
            Some(average) => param.map(|tensor| values::replace(tensor, &average.data)),
            None => param,
        }
    }
}
