//! SGD with Nesterov momentum, Adam and AdamW, with PyTorch's formulas.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tensors::{HostTensor, TensorMap};

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
    /// The update rule.
    pub kind: Rule,
    /// Peak learning rate; the schedule says how much of it each step gets.
    pub lr: f64,
    /// Weight decay. Biases and norms (every parameter of one dimension) are left alone.
    pub weight_decay: f64,
    /// SGD: momentum, 0 to below 1.
    pub momentum: f64,
    /// SGD: look ahead along the momentum (Sutskever et al. 2013).
    pub nesterov: bool,
    /// Adam: decay of the mean of gradients.
    pub beta1: f64,
    /// Adam: decay of the mean of squared gradients.
    pub beta2: f64,
    /// Adam: added to the root of the second moment.
    pub epsilon: f64,
    /// Scale gradients down to this global norm where they exceed it; 0 leaves them.
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

/// Moments of one parameter, flat: momentum for SGD, first and second for Adam.
type Moments = Vec<Tensor<1>>;

/// Applies gradients to the parameters of any module. Its state is kept by parameter name.
#[derive(Clone, Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    steps: u64,
    moments: BTreeMap<String, Moments>,
}

impl Optimizer {
    /// An optimiser that has not stepped yet.
    ///
    /// # Errors
    /// As [`OptimizerConfig::validate`].
    pub fn new(config: OptimizerConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, steps: 0, moments: BTreeMap::new() })
    }

    /// The module after one step with these gradients. Parameters without a gradient stay as they are.
    pub fn step<M: Module>(&mut self, module: M, gradients: &GradientsParams, lr: f64) -> M {
        self.steps += 1;
        let scale = match self.config.clip_norm > 0.0 {
            // PyTorch's clip_grad_norm_ divides by norm + 1e-6 and never scales up.
            true => (self.config.clip_norm / (gradient_norm(&module, gradients) + 1e-6)).min(1.0),
            false => 1.0,
        };
        module.map(&mut Stepper { optimizer: self, gradients, lr, scale, path: Vec::new() })
    }

    /// Moments by parameter name, for a checkpoint.
    pub fn state(&self) -> (TensorMap, u64) {
        let mut tensors = TensorMap::new();
        for (name, moments) in &self.moments {
            for (i, moment) in moments.iter().enumerate() {
                let data: Vec<f32> = moment.to_data().to_vec().unwrap_or_default();
                tensors.insert(format!("{name}#{i}"), HostTensor { shape: vec![data.len()], data });
            }
        }
        (tensors, self.steps)
    }

    /// Goes back to a state of the same optimiser.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a name this optimiser did not write.
    pub fn load_state(&mut self, tensors: TensorMap, steps: u64, device: &Device) -> Result<()> {
        let mut moments: BTreeMap<String, Moments> = BTreeMap::new();
        // The map is sorted, so that `name#0` comes before `name#1`.
        for (key, HostTensor { data, .. }) in tensors {
            let name = key.rsplit_once('#').map(|(name, _)| name.to_string()).ok_or_else(|| {
                Error::ModelFile(format!("the checkpoint's optimiser state has an unknown tensor `{key}`"))
            })?;
            let length = data.len();
            let moment = Tensor::<1>::from_data(TensorData::new(data, [length]), device);
            moments.entry(name).or_default().push(moment);
        }
        (self.moments, self.steps) = (moments, steps);
        Ok(())
    }

    /// The new value of one parameter; all tensors flat and outside autodiff.
    fn update(
        &mut self,
        name: &str,
        value: Tensor<1>,
        gradient: Tensor<1>,
        decayed: bool,
        lr: f64,
    ) -> Tensor<1> {
        let OptimizerConfig { kind, weight_decay, momentum, nesterov, beta1, beta2, epsilon, .. } =
            self.config;
        let decay = if decayed { weight_decay } else { 0.0 };
        let gradient = match kind {
            Rule::Sgd | Rule::Adam if decay > 0.0 => gradient + value.clone() * decay,
            _ => gradient,
        };
        let moments = self.moments.entry(name.to_string()).or_default();
        let mut take = || (!moments.is_empty()).then(|| moments.remove(0));
        match kind {
            Rule::Sgd if momentum == 0.0 => value - gradient * lr,
            Rule::Sgd => {
                let velocity = match take() {
                    Some(v) => v * momentum + gradient.clone(),
                    None => gradient.clone(),
                };
                moments.push(velocity.clone());
                let direction = if nesterov { gradient + velocity * momentum } else { velocity };
                value - direction * lr
            }
            Rule::Adam | Rule::Adamw => {
                let (first, second) = (take(), take());
                let square = gradient.clone() * gradient.clone() * (1.0 - beta2);
                let gradient = gradient * (1.0 - beta1);
                let first = first.map_or(gradient.clone(), |m| m * beta1 + gradient);
                let second = second.map_or(square.clone(), |v| v * beta2 + square);
                moments.extend([first.clone(), second.clone()]);
                let steps = self.steps as f64;
                let (bias1, bias2) = (1.0 - beta1.powf(steps), 1.0 - beta2.powf(steps));
                let root = second.sqrt() * (1.0 / bias2.sqrt()) + epsilon;
                let value =
                    if kind == Rule::Adamw && decay > 0.0 { value * (1.0 - lr * decay) } else { value };
                value - first / root * (lr / bias1)
            }
        }
    }
}

struct Stepper<'a> {
    optimizer: &'a mut Optimizer,
    gradients: &'a GradientsParams,
    lr: f64,
    scale: f64,
    path: Vec<String>,
}

impl ModuleMapper for Stepper<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return param };
        let name = self.path.join(".");
        param.map(|value| {
            let shape = value.dims();
            let trained = value.is_require_grad();
            let length: usize = shape.iter().product();
            let gradient = gradient.inner().reshape([length]);
            let gradient = if self.scale < 1.0 { gradient * self.scale } else { gradient };
            let flat = value.inner().reshape([length]);
            let updated = self.optimizer.update(&name, flat, gradient, D > 1, self.lr);
            Tensor::from_inner(updated.reshape(shape)).set_require_grad(trained)
        })
    }
}

/// The root of the sum of squares of all gradients.
fn gradient_norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    struct Norm<'a>(&'a GradientsParams, f64);
    impl ModuleVisitor for Norm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                let gradient = gradient.inner();
                self.1 += f64::from((gradient.clone() * gradient).sum().into_scalar::<f32>());
            }
        }
    }
    let mut norm = Norm(gradients, 0.0);
    module.visit(&mut norm);
    norm.1.sqrt()
}
