//! SGD with Nesterov momentum, Adam and AdamW, with PyTorch's formulas.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use opticus_kernels::{Adam, Parameter, Sgd, Update, sum_of_squares, update};
use serde::{Deserialize, Serialize};

use super::learner::LearnerState;
use super::names::Names;
use super::values::{self, Values};
use crate::error::{Error, Result};
use crate::tensors::HostTensor;

/// Which update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Stochastic gradient descent with momentum, weight decay added to the gradient (`torch.optim.SGD`).
    Sgd,
    /// Kingma and Ba 2015, weight decay added to the gradient (`torch.optim.Adam`).
    Adam,
    /// Loshchilov and Hutter 2019, weight decay apart from the gradient (`torch.optim.AdamW`).
    #[default]
    Adamw,
}

/// Configuration of an [`Optimizer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The update rule: `sgd`, `adam` or `adamw`.
    pub kind: Rule,
    /// Peak learning rate; the schedule says how much of it each step gets.
    pub lr: f64,
    /// Weight decay. Biases and norms (every parameter of at most one dimension) are left alone.
    pub weight_decay: f64,
    /// SGD: momentum, 0 to below 1.
    pub momentum: f64,
    /// SGD: look ahead along the momentum (Sutskever et al. 2013).
    pub nesterov: bool,
    /// Adam: decay of the mean of gradients.
    pub beta1: f64,
    /// Adam: decay of the mean of squared gradients.
    pub beta2: f64,
    /// Adam: added to the root of the second moment. PyTorch's default is 1e-8, Keras' 1e-7.
    pub epsilon: f64,
    /// Scale the gradients down to this norm over all parameters where they exceed it; 0 leaves them.
    pub clip_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: Rule::Adamw,
            lr: 2e-3,
            weight_decay: 0.02,
            momentum: 0.9,
            nesterov: true,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            clip_norm: 0.0,
        }
    }
}

impl OptimizerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    pub fn validate(&self) -> Result<()> {
        let checks = [
            ("lr", self.lr, self.lr > 0.0, "above 0"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "0 or more"),
            ("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "0 to below 1"),
            ("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "0 to below 1"),
            ("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "0 to below 1"),
            ("epsilon", self.epsilon, self.epsilon > 0.0, "above 0"),
            ("clip_norm", self.clip_norm, self.clip_norm >= 0.0, "0 (off) or more"),
        ];
        match checks.into_iter().find(|(_, value, ok, _)| !ok || !value.is_finite()) {
            Some((name, value, _, range)) => {
                Err(Error::Config(format!("optimizer.{name} is {value}; it must be a number, {range}")))
            }
            None => Ok(()),
        }
    }
}

/// What is remembered of one parameter.
#[derive(Clone, Debug, Default, PartialEq)]
struct Moments {
    /// Updates of this parameter, for Adam's bias corrections.
    steps: u64,
    /// SGD's velocity or Adam's mean of gradients; empty before the first update.
    first: Vec<f32>,
    /// Adam's mean of squared gradients; empty for SGD.
    second: Vec<f32>,
}

/// Applies gradients to the parameters of any module. What it remembers is kept by parameter name.
#[derive(Clone, Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    moments: BTreeMap<String, Moments>,
}

/// What a name's second part says of a tensor in a checkpoint.
const FIRST: &str = "#first";
const SECOND: &str = "#second";

impl Optimizer {
    /// An optimiser that has not stepped yet.
    ///
    /// # Errors
    /// As [`OptimizerConfig::validate`].
    pub fn new(config: OptimizerConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, moments: BTreeMap::new() })
    }

    /// The module after one step with these gradients at this learning rate.
    ///
    /// Parameters without a gradient stay as they are and remember nothing, as in PyTorch. The weights are changed
    /// in place if no clone of the module shares them.
    pub fn step<M: Module>(&mut self, module: M, gradients: &GradientsParams, lr: f64) -> M {
        let scale = match self.config.clip_norm > 0.0 {
            // `clip_grad_norm_` divides by the norm + 1e-6 and never scales up.
            true => (self.config.clip_norm / (norm(&module, gradients) + 1e-6)).min(1.0),
            false => 1.0,
        };
        module.map(&mut Stepper { optimizer: self, gradients, lr, scale, names: Names::default() })
    }

    /// [`Self::step`] for a module that stands somewhere: its weights are changed in place.
    pub fn improve<M: Module>(&mut self, module: &mut M, gradients: &GradientsParams, lr: f64) {
        // A clone of the module to step with would share every weight, and so have each of them copied.
        let hollow = module.clone().map(&mut Hollow);
        let whole = std::mem::replace(module, hollow);
        *module = self.step(whole, gradients, lr);
    }

    /// What the next step needs of the steps before, by parameter name.
    pub fn state(&self) -> LearnerState {
        let mut state = LearnerState::default();
        for (name, moments) in &self.moments {
            state.numbers.insert(name.clone(), moments.steps);
            for (part, data) in [(FIRST, &moments.first), (SECOND, &moments.second)] {
                if !data.is_empty() {
                    let tensor = HostTensor { shape: vec![data.len()], data: data.clone() };
                    state.tensors.insert(format!("{name}{part}"), tensor);
                }
            }
        }
        state
    }

    /// Goes back to a state of an optimiser of the same module.
    ///
    /// # Errors
    /// [`Error::ModelFile`] naming a parameter that the module does not have, or has in another size.
    pub fn load_state<M: Module>(&mut self, module: &M, mut state: LearnerState) -> Result<()> {
        let sizes = sizes(module);
        let mut moments = BTreeMap::new();
        for (name, steps) in state.numbers {
            let mut part =
                |part: &str| state.tensors.remove(&format!("{name}{part}")).map(|tensor| tensor.data);
            let (first, second) = (part(FIRST).unwrap_or_default(), part(SECOND).unwrap_or_default());
            let expected = sizes.get(&name).copied();
            if [&first, &second].into_iter().any(|data| !data.is_empty() && Some(data.len()) != expected) {
                return Err(unfit(&name));
            }
            moments.insert(name, Moments { steps, first, second });
        }
        match state.tensors.into_keys().next() {
            Some(unknown) => Err(unfit(&unknown)),
            None => {
                self.moments = moments;
                Ok(())
            }
        }
    }

    /// Changes one parameter.
    fn update(&mut self, name: String, weights: &mut [f32], gradient: &[f32], with: With) {
        let OptimizerConfig { kind, momentum, nesterov, beta1, beta2, epsilon, .. } = self.config;
        let moments = self.moments.entry(name).or_default();
        moments.steps += 1;
        let scale = with.scale as f32;
        if kind == Rule::Sgd {
            let rule = Sgd {
                lr: with.lr as f32,
                decay: with.decay as f32,
                momentum: (momentum != 0.0).then_some(momentum as f32),
                nesterov,
                scale,
            };
            // PyTorch's first velocity is the first gradient: what zero gives too.
            let first = match rule.momentum {
                None => &mut [][..],
                Some(_) => {
                    moments.first.resize(weights.len(), 0.0);
                    &mut moments.first
                }
            };
            return update(Update::Sgd(rule), Parameter { weights, gradient, first, second: &mut [] });
        }
        moments.first.resize(weights.len(), 0.0);
        moments.second.resize(weights.len(), 0.0);
        let steps = moments.steps as f64;
        let (added, apart) = match kind {
            Rule::Adamw => (0.0, with.decay),
            _ => (with.decay, 0.0),
        };
        let rule = Adam {
            step_size: (with.lr / (1.0 - beta1.powf(steps))) as f32,
            decay: added as f32,
            shrink: (1.0 - with.lr * apart) as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            rest1: (1.0 - beta1) as f32,
            rest2: (1.0 - beta2) as f32,
            root_correction: (1.0 - beta2.powf(steps)).sqrt() as f32,
            epsilon: epsilon as f32,
            scale,
        };
        let Moments { first, second, .. } = moments;
        update(Update::Adam(rule), Parameter { weights, gradient, first, second });
    }
}

/// The numbers of one parameter's update.
#[derive(Clone, Copy, Debug)]
struct With {
    lr: f64,
    decay: f64,
    scale: f64,
}

/// Leaves a module without its values.
struct Hollow;

impl ModuleMapper for Hollow {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| Tensor::empty([0; D], &tensor.device()))
    }
}

struct Stepper<'a> {
    optimizer: &'a mut Optimizer,
    gradients: &'a GradientsParams,
    lr: f64,
    scale: f64,
    names: Names,
}

impl ModuleMapper for Stepper<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.names.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.get::<D>(param.id).map(Values::of) else { return param };
        let decay = if D > 1 { self.optimizer.config.weight_decay } else { 0.0 };
        let with = With { lr: self.lr, decay, scale: self.scale };
        let name = self.names.here();
        param.map(|tensor| {
            values::change(tensor, |weights| {
                self.optimizer.update(name, weights, gradient.as_slice(), with);
            })
        })
    }
}

/// The root of the sum of squares of all gradients of the module.
fn norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    struct Norm<'a>(&'a GradientsParams, f64);
    impl ModuleVisitor for Norm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1 += sum_of_squares(Values::of(gradient).as_slice());
            }
        }
    }
    let mut norm = Norm(gradients, 0.0);
    module.visit(&mut norm);
    norm.1.sqrt()
}

/// The number of values of every floating-point tensor of a module.
fn sizes<M: Module>(module: &M) -> BTreeMap<String, usize> {
    #[derive(Default)]
    struct Sizes(Names, BTreeMap<String, usize>);
    impl ModuleVisitor for Sizes {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.insert(self.0.here(), param.lazy_shape().num_elements());
        }
    }
    let mut sizes = Sizes::default();
    module.visit(&mut sizes);
    sizes.1
}

fn unfit(name: &str) -> Error {
    Error::ModelFile(format!(
        "the optimiser's state of `{name}` does not fit this network; the checkpoint is of another run. Start anew \
         with --overwrite"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use burn::module::{Module, Param};
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// What `tools/reference/optim.py` steps on.
    #[derive(Module, Debug)]
    struct Layer {
        weight: Param<Tensor<2>>,
        bias: Param<Tensor<1>>,
    }

    impl Layer {
        fn new(device: &Device) -> Self {
            let weight: Vec<f32> = (0..12u8).map(|i| f32::from(i) / 8.0 - 0.7).collect();
            let bias = vec![0.5f32, -0.25, 0.0, 1.0];
            Self {
                weight: Param::from_data(TensorData::new(weight, [3, 4]), device),
                bias: Param::from_data(TensorData::new(bias, [4]), device),
            }
        }

        fn values(&self) -> Vec<f32> {
            let (weight, bias) = (Values::of(self.weight.val()), Values::of(self.bias.val()));
            [weight.as_slice(), bias.as_slice()].concat()
        }

        /// The reference's gradients of a step. The weight's comes transposed and turned back, as layers give them.
        fn gradients(&self, step: usize) -> GradientsParams {
            let value = |index: usize, scale: f32| {
                (((step * 7919 + index * 104_729 + 17) % 2003) as f32 - 1001.0) / 512.0 * scale
            };
            let transposed: Vec<f32> = (0..12).map(|i| value(i % 3 * 4 + i / 3, 1.0)).collect();
            let bias: Vec<f32> = (0..4).map(|i| value(100 + i, 0.25)).collect();
            let device = Device::flex();
            let mut gradients = GradientsParams::new();
            let weight = Tensor::<2>::from_data(TensorData::new(transposed, [4, 3]), &device).transpose();
            gradients.register(self.weight.id, weight);
            if ![3, 4].contains(&step) {
                gradients.register(self.bias.id, Tensor::<1>::from_data(TensorData::new(bias, [4]), &device));
            }
            gradients
        }
    }

    #[derive(Deserialize)]
    struct Golden {
        rates: Vec<f64>,
        optimisers: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        config: OptimizerConfig,
        values: Vec<Vec<f64>>,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../../tests/golden/optim.json")).unwrap()
    }

    #[test]
    fn ten_steps_of_every_rule_equal_pytorchs() {
        let Golden { rates, optimisers } = golden();
        assert!(optimisers.len() >= 10);
        for Case { config, values } in optimisers {
            let mut optimizer = Optimizer::new(config.clone()).unwrap();
            let mut layer = Layer::new(&Device::flex().autodiff());
            for (step, (lr, expected)) in rates.iter().zip(&values).enumerate() {
                let gradients = layer.gradients(step);
                layer = optimizer.step(layer, &gradients, *lr);
                for (i, (ours, theirs)) in layer.values().iter().zip(expected).enumerate() {
                    let error = (f64::from(*ours) - theirs).abs() / theirs.abs().max(1.0);
                    assert!(error <= 1e-6, "{config:?}: step {step}, value {i}: {ours}, not {theirs}");
                }
            }
            assert!(layer.weight.is_require_grad() && layer.weight.val().is_autodiff());
        }
    }

    #[test]
    fn going_on_from_a_state_changes_no_bit() {
        let Golden { rates, optimisers } = golden();
        for Case { config, .. } in optimisers {
            let device = Device::flex().autodiff();
            let run = |stop: Option<usize>| {
                let mut optimizer = Optimizer::new(config.clone()).unwrap();
                let mut layer = Layer::new(&device);
                for (step, lr) in rates.iter().enumerate() {
                    if stop == Some(step) {
                        let state = optimizer.state();
                        optimizer = Optimizer::new(config.clone()).unwrap();
                        optimizer.load_state(&layer, state).unwrap();
                    }
                    let gradients = layer.gradients(step);
                    layer = optimizer.step(layer, &gradients, *lr);
                }
                (layer.values(), optimizer.state())
            };
            let whole = run(None);
            (0..rates.len())
                .for_each(|stop| assert_eq!(run(Some(stop)), whole, "{config:?} stopped at {stop}"));
        }
    }

    #[test]
    fn weights_that_nobody_shares_are_changed_in_place() {
        let layer = Layer::new(&Device::flex().autodiff());
        let address = |layer: &Layer| Values::of(layer.weight.val()).as_slice().as_ptr();
        let (before, gradients) = (address(&layer), layer.gradients(0));
        let mut optimizer = Optimizer::new(OptimizerConfig::default()).unwrap();
        let mut layer = optimizer.step(layer, &gradients, 0.1);
        assert_eq!(address(&layer), before);
        optimizer.improve(&mut layer, &gradients, 0.1);
        assert_eq!(address(&layer), before);
        assert!(layer.weight.is_require_grad() && layer.weight.val().is_autodiff());
    }

    #[test]
    fn a_clone_of_the_module_keeps_its_weights() {
        let layer = Layer::new(&Device::flex().autodiff());
        let before = layer.values();
        let mut optimizer = Optimizer::new(OptimizerConfig::default()).unwrap();
        let stepped = optimizer.step(layer.clone(), &layer.gradients(0), 0.1);
        assert_eq!(layer.values(), before);
        assert_ne!(stepped.values(), before);
    }

    #[test]
    fn a_state_of_another_network_is_refused_by_name() {
        let layer = Layer::new(&Device::flex().autodiff());
        let mut optimizer = Optimizer::new(OptimizerConfig::default()).unwrap();
        let _ = optimizer.step(layer.clone(), &layer.gradients(0), 0.1);
        let state = optimizer.state();
        let mut longer = state.clone();
        longer.tensors.get_mut("weight#first").unwrap().data.push(0.0);
        let mut stranger = state.clone();
        let moment = stranger.tensors.remove("bias#second").unwrap();
        stranger.tensors.insert("head#second".into(), moment);
        for (state, name) in [(longer, "weight"), (stranger, "head#second")] {
            let message = optimizer.load_state(&layer, state).unwrap_err().to_string();
            assert!(message.contains(&format!("`{name}`")), "{message}");
        }
        assert_eq!(optimizer.state(), state, "a refused state changes nothing");
    }

    #[test]
    fn large_parameters_are_updated_as_small_ones_are() {
        #[derive(Module, Debug)]
        struct Wide {
            weight: Param<Tensor<1>>,
        }
        const LENGTH: usize = 100_003;
        let device = Device::flex().autodiff();
        let repeat = |length: usize, scale: f32| -> TensorData {
            let data: Vec<f32> = (0..length).map(|i| (i % 7) as f32 * scale - 0.2).collect();
            TensorData::new(data, [length])
        };
        for kind in [Rule::Sgd, Rule::Adam, Rule::Adamw] {
            let config = OptimizerConfig { kind, ..OptimizerConfig::default() };
            let step = |length: usize| -> Vec<f32> {
                let wide = Wide { weight: Param::from_data(repeat(length, 0.1), &device) };
                let mut gradients = GradientsParams::new();
                gradients
                    .register(wide.weight.id, Tensor::<1>::from_data(repeat(length, 0.03), &Device::flex()));
                let mut optimizer = Optimizer::new(config.clone()).unwrap();
                let wide = optimizer.step(wide, &gradients, 0.1);
                Values::of(optimizer.step(wide, &gradients, 0.1).weight.val()).to_vec()
            };
            let (small, large) = (step(7), step(LENGTH));
            assert!(large.iter().enumerate().all(|(i, value)| *value == small[i % 7]), "{kind:?}");
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        type Change = fn(&mut OptimizerConfig);
        let cases: [(&str, Change); 5] = [
            ("optimizer.lr", |c| c.lr = 0.0),
            ("optimizer.weight_decay", |c| c.weight_decay = -1.0),
            ("optimizer.momentum", |c| c.momentum = 1.0),
            ("optimizer.beta2", |c| c.beta2 = f64::NAN),
            ("optimizer.clip_norm", |c| c.clip_norm = f64::INFINITY),
        ];
        for (name, change) in cases {
            let mut config = OptimizerConfig::default();
            change(&mut config);
            let error = Optimizer::new(config).unwrap_err();
            assert!(matches!(error, Error::Config(_)) && error.to_string().starts_with(name), "{error}");
        }
    }
}
