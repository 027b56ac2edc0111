//! Averaged weights: an exponential moving average of a module's tensors.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use opticus_kernels::update_average;
use serde::{Deserialize, Serialize};

use super::learner::LearnerState;
use super::names::Names;
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
                update_average(&mut average.data, values.as_slice(), keep);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[derive(Module, Debug)]
    struct Layer {
        weight: Param<Tensor<2>>,
        bias: Param<Tensor<1>>,
    }

    fn layer(value: f32) -> Layer {
        let device = Device::flex().autodiff();
        Layer {
            weight: Param::from_data(TensorData::new(vec![value; 4], [2, 2]), &device),
            bias: Param::from_data(TensorData::new(vec![-value; 2], [2]), &device),
        }
    }

    #[test]
    fn the_average_follows_its_formula_and_applies_to_a_module() {
        let mut ema = Ema::new(&EmaConfig { decay: 0.3 }, &layer(1.0));
        // (1 + n) / (10 + n) for n = 1..4 is 2/11, 3/12, 4/13, 5/14; the decay bounds it from the third on.
        let mut expected = 1.0;
        for (value, keep) in [(2.0, 2.0 / 11.0), (5.0, 0.25), (-1.0, 0.3), (0.5, 0.3)] {
            ema.update(&layer(value));
            expected = keep * expected + (1.0 - keep) * f64::from(value);
        }
        let averaged = ema.apply(layer(9.0));
        let (weight, bias) = (Values::of(averaged.weight.val()), Values::of(averaged.bias.val()));
        let near = |value: &f32, expected: f64| (f64::from(*value) - expected).abs() < 1e-6;
        assert!(
            weight.as_slice().iter().all(|v| near(v, expected)),
            "{:?}, not {expected}",
            weight.as_slice()
        );
        assert!(bias.as_slice().iter().all(|v| near(v, -expected)));
        assert!(averaged.weight.is_require_grad());
        // The same for a module without autodiff, as evaluation uses it.
        let plain = ema.apply(layer(9.0).valid());
        assert!(!plain.weight.val().is_autodiff());
        assert_eq!(Values::of(plain.weight.val()).as_slice(), weight.as_slice());
    }

    #[test]
    fn going_on_from_a_state_changes_no_bit() {
        let config = EmaConfig { decay: 0.99 };
        let mut whole = Ema::new(&config, &layer(0.1));
        let mut resumed = whole.clone();
        for value in [0.7, -3.3, 0.01] {
            whole.update(&layer(value));
            let state = resumed.state();
            resumed = Ema::new(&config, &layer(42.0));
            resumed.load_state(state).unwrap();
            resumed.update(&layer(value));
        }
        assert_eq!(resumed.state(), whole.state());
    }

    #[test]
    fn a_state_of_another_network_is_refused() {
        let mut ema = Ema::new(&EmaConfig { decay: 0.9 }, &layer(1.0));
        let mut reshaped = ema.state();
        reshaped.tensors.get_mut("weight").unwrap().shape = vec![4];
        let mut uncounted = ema.state();
        uncounted.numbers.clear();
        for state in [LearnerState::default(), reshaped, uncounted] {
            assert!(matches!(ema.load_state(state), Err(Error::ModelFile(_))));
        }
        assert!(EmaConfig { decay: 1.0 }.validate().is_err() && EmaConfig { decay: 0.0 }.validate().is_ok());
    }
}
