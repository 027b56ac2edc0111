//! Averaged weights: an exponential moving average of a module's tensors.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tensors::{HostTensor, TensorMap};

/// Configuration of an [`Ema`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// Weight of the past at each step, 0 (off) to below 1.
    pub decay: f64,
}

impl EmaConfig {
    /// # Errors
    /// [`Error::Config`] for a decay out of range.
    pub fn validate(&self) -> Result<()> {
        match (0.0..1.0).contains(&self.decay) {
            true => Ok(()),
            false => {
                Err(Error::Config(format!("ema.decay is {}; it must be 0 (off) to below 1", self.decay)))
            }
        }
    }
}

/// An exponential moving average over every tensor of a module, running statistics included (as torchvision's
/// `ExponentialMovingAverage(use_buffers=True)`).
///
/// The decay ramps up as `(1 + step) / (10 + step)` (TensorFlow's `num_updates` rule), so that the first,
/// random weights are soon forgotten.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    steps: u64,
    values: BTreeMap<String, Tensor<1>>,
}

impl Ema {
    /// An average that starts at the module's present tensors.
    pub fn new<M: Module>(config: &EmaConfig, module: &M) -> Self {
        Self { decay: config.decay, steps: 0, values: flat(module) }
    }

    /// Takes the module's present tensors into the average.
    pub fn update<M: Module>(&mut self, module: &M) {
        self.steps += 1;
        let steps = self.steps as f64;
        let keep = self.decay.min((1.0 + steps) / (10.0 + steps));
        for (name, value) in flat(module) {
            if let Some(average) = self.values.remove(&name) {
                self.values.insert(name, average * keep + value * (1.0 - keep));
            }
        }
    }

    /// The module with its tensors replaced by their averages.
    pub fn apply<M: Module>(&self, module: M) -> M {
        module.map(&mut Replace { values: &self.values, path: Vec::new() })
    }

    /// The averages, for a checkpoint.
    pub fn state(&self) -> (TensorMap, u64) {
        let host = |tensor: &Tensor<1>| {
            let data: Vec<f32> = tensor.to_data().to_vec().unwrap_or_default();
            HostTensor { shape: vec![data.len()], data }
        };
        (self.values.iter().map(|(name, value)| (name.clone(), host(value))).collect(), self.steps)
    }

    /// Goes back to a state of the same average.
    ///
    /// # Errors
    /// [`Error::ModelFile`] if the names or lengths are not this module's.
    pub fn load_state(&mut self, tensors: TensorMap, steps: u64, device: &Device) -> Result<()> {
        let fits = tensors.len() == self.values.len()
            && tensors.iter().all(|(n, t)| self.values.get(n).is_some_and(|v| v.dims() == [t.data.len()]));
        if !fits {
            return Err(Error::ModelFile(
                "the checkpoint's averaged weights are those of another network".into(),
            ));
        }
        let upload = |HostTensor { data, .. }: HostTensor| {
            let length = data.len();
            Tensor::<1>::from_data(TensorData::new(data, [length]), device)
        };
        self.values = tensors.into_iter().map(|(name, tensor)| (name, upload(tensor))).collect();
        self.steps = steps;
        Ok(())
    }
}

/// Every tensor of a module by name, flat and outside autodiff.
fn flat<M: Module>(module: &M) -> BTreeMap<String, Tensor<1>> {
    #[derive(Default)]
    struct Collect(Vec<String>, BTreeMap<String, Tensor<1>>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.0.push(name.to_string());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val().inner();
            let length: usize = value.dims().iter().product();
            self.1.insert(self.0.join("."), value.reshape([length]));
        }
    }
    let mut collect = Collect::default();
    module.visit(&mut collect);
    collect.1
}

struct Replace<'a> {
    values: &'a BTreeMap<String, Tensor<1>>,
    path: Vec<String>,
}

impl ModuleMapper for Replace<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(average) = self.values.get(&self.path.join(".")).cloned() else { return param };
        param.map(|value| {
            let (shape, trained, tracked) = (value.dims(), value.is_require_grad(), value.is_autodiff());
            let average = average.reshape(shape);
            if tracked { Tensor::from_inner(average).set_require_grad(trained) } else { average }
        })
    }
}
