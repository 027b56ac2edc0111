//! Batch normalisation (Ioffe and Szegedy, 2015) and the running statistics it keeps.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{
    Content, Devices, Flag, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::activation::relu;
use burn::tensor::module::batch_norm;
use burn::tensor::{Device, Tensor, TensorData};
use opticus_kernels::engine;

use crate::nets::graph::{Graph, Norm, Value};
use crate::nets::init::{Init, Scope};

/// A vector that belongs to the state but is set by the forward pass, not by an optimiser.
///
/// Unlike the engine's `RunningState`, a clone owns its value (so the averaged copy of a network kept during
/// training is not written to by the original), and an update is visible at once to whoever visits the module.
#[derive(Debug)]
pub struct RunningStat {
    id: ParamId,
    value: Mutex<Tensor<1>>,
}

impl RunningStat {
    /// A statistic that starts with this value.
    pub fn new(value: Tensor<1>) -> Self {
        Self { id: ParamId::new(), value: Mutex::new(value.detach()) }
    }

    /// `length` times the same value, on the device of this place of the network.
    pub fn filled(scope: &Scope, length: usize, value: f32) -> Self {
        Self::new(Tensor::from_data(TensorData::new(vec![value; length], [length]), scope.device()))
    }

    /// The present value.
    pub fn get(&self) -> Tensor<1> {
        self.lock().clone()
    }

    /// Moves the value towards `sample`: `value ← (1 − momentum) · value + momentum · sample`.
    pub fn move_towards(&self, sample: Tensor<1>, momentum: f64) {
        let mut value = self.lock();
        *value = (value.clone().mul_scalar(1.0 - momentum) + sample.detach().mul_scalar(momentum)).detach();
    }

    fn lock(&self) -> MutexGuard<'_, Tensor<1>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, change: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        Self { id: self.id, value: Mutex::new(change(self.get())) }
    }
}

impl Clone for RunningStat {
    fn clone(&self) -> Self {
        self.with(|value| value)
    }
}

impl Module for RunningStat {
    fn collect_devices(&self, mut devices: Devices) -> Devices {
        let device = self.get().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn to_device(self, device: &Device) -> Self {
        self.with(|value| value.to_device(device).detach())
    }

    fn train(self) -> Self {
        self.with(Tensor::from_inner)
    }

    fn valid(&self) -> Self {
        self.with(Tensor::without_autodiff)
    }

    fn materialize(self) -> Self {
        self
    }

    fn num_params(&self) -> usize {
        0
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.get()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let mapped = mapper.map_float(Param::initialized(self.id, self.get()));
        let (_, value, _) = mapped.consume();
        // A mapper may change the value, but must not make it an optimiser's target.
        Self { id: self.id, value: Mutex::new(value.set_require_grad(false)) }
    }
}

impl ModuleDisplayDefault for RunningStat {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&"RunningStat").optional()
    }
}

impl ModuleDisplay for RunningStat {}

/// With every batch norm of `module` frozen, weights and statistics, as torchvision's `FrozenBatchNorm2d`: the
/// statistics of a few pictures are worse than those that an imported backbone brings along.
pub fn freeze_norms<M: Module>(module: M) -> M {
    module.map(&mut NormFreezer::default())
}

/// Knows for every module that it is in whether that is a batch norm.
#[derive(Default)]
struct NormFreezer(Vec<bool>);

impl NormFreezer {
    fn in_norm(&self) -> bool {
        self.0.last().copied().unwrap_or_default()
    }
}

impl ModuleMapper for NormFreezer {
    fn enter_module(&mut self, _name: &str, container_type: &str) {
        self.0.push(container_type == "Struct:BatchNorm2d");
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.in_norm() { param.set_require_grad(false) } else { param }
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        if self.in_norm() { flag.with_value(false) } else { flag }
    }
}

/// Normalises every channel: by the batch's mean and variance in training, by their running averages otherwise.
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// Scale per channel.
    pub weight: Param<Tensor<1>>,
    /// Shift per channel.
    pub bias: Param<Tensor<1>>,
    /// Running average of the batch means.
    pub running_mean: RunningStat,
    /// Running average of the unbiased batch variances.
    pub running_var: RunningStat,
    /// Off when the layer is frozen or under validation.
    pub training: Param<Flag>,
    /// Added to the variance before the root.
    pub eps: f64,
    /// Share of the newest batch in the running averages.
    pub momentum: f64,
}

impl BatchNorm2d {
    /// PyTorch's defaults: ε 1e-5, momentum 0.1.
    pub fn new(scope: &Scope, channels: usize) -> Self {
        Self::with_constants(scope, channels, 1e-5, 0.1)
    }

    /// A layer with its own ε and momentum.
    pub fn with_constants(scope: &Scope, channels: usize, eps: f64, momentum: f64) -> Self {
        Self {
            weight: scope.param("weight", [channels], Init::Constant(1.0)),
            bias: scope.param("bias", [channels], Init::Constant(0.0)),
            running_mean: RunningStat::filled(scope, channels, 0.0),
            running_var: RunningStat::filled(scope, channels, 1.0),
            training: Param::from_bool(true),
            eps,
            momentum,
        }
    }

    /// PyTorch's defaults, with the scales drawn.
    pub fn drawn(scope: &Scope, channels: usize, weight: Init) -> Self {
        Self { weight: scope.param("weight", [channels], weight), ..Self::new(scope, channels) }
    }

    /// Input and output [n, c, h, w].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, None, false)
    }

    /// [`Self::forward`], then ReLU.
    pub fn forward_relu(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, None, true)
    }

    /// [`Self::forward`], plus a residual, then ReLU.
    pub fn forward_add_relu(&self, x: Tensor<4>, residual: Tensor<4>) -> Tensor<4> {
        self.run(x, Some(residual), true)
    }

    fn run(&self, x: Tensor<4>, residual: Option<Tensor<4>>, rectify: bool) -> Tensor<4> {
        if x.device().is_autodiff() && self.training.is_enabled() {
            return self.train_on(x, residual, rectify);
        }
        let (mean, variance) = (self.running_mean.get(), self.running_var.get());
        let y = batch_norm(x, self.weight.val(), self.bias.val(), mean, variance, self.eps);
        let y = match residual {
            Some(residual) => y + residual,
            None => y,
        };
        if rectify { relu(y) } else { y }
    }

    /// [`Self::forward`] by the running averages, written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        graph.batch_norm(
            x,
            Norm {
                weight: self.weight.clone(),
                bias: self.bias.clone(),
                running_mean: self.running_mean.get(),
                running_var: self.running_var.get(),
                epsilon: self.eps,
            },
        )
    }

    fn train_on(&self, x: Tensor<4>, residual: Option<Tensor<4>>, relu: bool) -> Tensor<4> {
        let [n, _, h, w] = x.dims();
        let then = engine::Then { epsilon: self.eps, residual, relu };
        let batch = engine::batch_norm(x, self.weight.val(), self.bias.val(), then);
        // Normalisation uses the biased variance, the running average the unbiased one (as PyTorch). A single
        // value has no unbiased variance; then the biased one, zero, is the only finite choice.
        let count = (n * h * w) as f64;
        let unbiased = batch.variance.mul_scalar(count / (count - 1.0).max(1.0));
        self.running_mean.move_towards(batch.mean, self.momentum);
        self.running_var.move_towards(unbiased, self.momentum);
        batch.out
    }
}
