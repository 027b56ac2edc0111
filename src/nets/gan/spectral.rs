//! Spectral normalisation (Miyato, Kataoka, Koyama and Yoshida 2018, "Spectral Normalization for Generative Adversarial
//! Networks"): a weight divided by its largest singular value, which bounds the slope of the layer.
//!
//! σ = uᵀ W v is differentiable in W, with u and v held fixed; u is kept in the state (PyTorch's `weight_u`) and improved
//! by a step of power iteration before each step of training ([`SpectralConv2d::iterate`]), while forward only reads it.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use opticus_kernels::engine;

use crate::nets::init::{Init, Scope, WeightInit};
use crate::nets::layers::RunningStat;

/// Keeps a vector of zeros from being divided by zero.
const EPSILON: f32 = 1e-12;

fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let norm = x.clone().square().sum().sqrt() + EPSILON;
    x / norm.reshape([1; D])
}

fn start(scope: &Scope, outputs: usize, spectral: bool) -> Option<RunningStat> {
    spectral.then(|| RunningStat::new(unit(scope.param("weight_u", [outputs], Init::Normal(1.0)).val())))
}

/// The right singular vector that belongs to u: Wᵀ u, of length one, [inputs, 1]; no gradient goes through it.
fn right(weight: &Tensor<2>, u: &RunningStat) -> Tensor<2> {
    let outputs = weight.dims()[0];
    unit(weight.clone().detach().transpose().matmul(u.get().reshape([outputs, 1]))).detach()
}

fn improve(weight: Tensor<2>, u: &RunningStat) {
    let outputs = weight.dims()[0];
    let weight = weight.detach();
    let v = right(&weight, u);
    u.move_towards(unit(weight.matmul(v)).reshape([outputs]), 1.0);
}

/// W / σ.
fn normalized(weight: Tensor<2>, u: &RunningStat) -> Tensor<2> {
    let outputs = weight.dims()[0];
    let v = right(&weight, u);
    let sigma = (weight.clone().matmul(v) * u.get().reshape([outputs, 1])).sum() + EPSILON;
    weight / sigma.reshape([1, 1])
}

/// A convolution whose weight may be normalised.
#[derive(Module, Debug)]
pub struct SpectralConv2d {
    /// Kernels [out, in, kernel, kernel].
    pub weight: Param<Tensor<4>>,
    /// One number per output channel.
    pub bias: Option<Param<Tensor<1>>>,
    /// The left singular vector; `None` for a plain convolution.
    pub weight_u: Option<RunningStat>,
    stride: usize,
    padding: usize,
}

/// What a [`SpectralConv2d`] is made from.
#[derive(Clone, Copy, Debug)]
pub struct SpectralConv2dConfig {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Side of the square kernels.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Whether each output channel has a number added.
    pub bias: bool,
    /// Whether the weight is normalised.
    pub spectral: bool,
    /// How the weights are drawn.
    pub init: WeightInit,
}

impl SpectralConv2dConfig {
    /// Makes the layer at this place of the network.
    pub fn build(self, scope: &Scope) -> SpectralConv2d {
        let Self { inputs, outputs, kernel, .. } = self;
        let area = kernel * kernel;
        let weight = self.init.weight(inputs * area, outputs * area);
        SpectralConv2d {
            weight: scope.param("weight", [outputs, inputs, kernel, kernel], weight),
            bias: self.bias.then(|| scope.param("bias", [outputs], self.init.bias(inputs * area))),
            weight_u: start(scope, outputs, self.spectral),
            stride: self.stride,
            padding: self.padding,
        }
    }
}

impl SpectralConv2d {
    /// Input [n, in, h, w], output [n, out, h', w'].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, false)
    }

    /// [`Self::forward`], then ReLU, in one pass over the output.
    pub fn forward_relu(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, true)
    }

    fn run(&self, x: Tensor<4>, relu: bool) -> Tensor<4> {
        let window = engine::Window {
            stride: [self.stride; 2],
            padding: [self.padding; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let weight = match &self.weight_u {
            Some(u) => normalized(self.flat(), u).reshape(self.weight.dims()),
            None => self.weight.val(),
        };
        engine::conv2d(x, weight, self.bias.as_ref().map(|bias| bias.val()), window, relu)
    }

    /// One step of power iteration.
    pub fn iterate(&self) {
        if let Some(u) = &self.weight_u {
            improve(self.flat(), u);
        }
    }

    fn flat(&self) -> Tensor<2> {
        let [outputs, inputs, h, w] = self.weight.dims();
        self.weight.val().reshape([outputs, inputs * h * w])
    }
}

/// A dense layer whose weight may be normalised.
#[derive(Module, Debug)]
pub struct SpectralLinear {
    /// [out, in].
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The left singular vector; `None` for a plain layer.
    pub weight_u: Option<RunningStat>,
}

impl SpectralLinear {
    /// A layer from `inputs` to `outputs` numbers at this place of the network.
    pub fn new(
        scope: &Scope,
        [inputs, outputs]: [usize; 2],
        bias: bool,
        spectral: bool,
        init: WeightInit,
    ) -> Self {
        Self {
            weight: scope.param("weight", [outputs, inputs], init.weight(inputs, outputs)),
            bias: bias.then(|| scope.param("bias", [outputs], init.bias(inputs))),
            weight_u: start(scope, outputs, spectral),
        }
    }

    /// Input [n, in], output [n, out].
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = match &self.weight_u {
            Some(u) => normalized(self.weight.val(), u),
            None => self.weight.val(),
        };
        engine::dense(x, weight, self.bias.as_ref().map(|bias| bias.val()), false)
    }

    /// One step of power iteration.
    pub fn iterate(&self) {
        if let Some(u) = &self.weight_u {
            improve(self.weight.val(), u);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nets::state::host;
    use burn::tensor::{Device, TensorData};

    /// Diag(3, 2) turned: its singular values are known.
    #[test]
    fn the_largest_singular_value_becomes_one() {
        let device = Device::flex();
        let scope = Scope::seeded(0, &device);
        let mut layer = SpectralLinear::new(&scope, [2, 2], false, true, WeightInit::TorchDefault);
        let (c, s) = (0.6f32, 0.8f32);
        let values = vec![3.0 * c, 3.0 * s, -2.0 * s, 2.0 * c];
        layer.weight = Param::from_data(TensorData::new(values, [2, 2]), &device);
        for _ in 0..60 {
            layer.iterate();
        }
        // (c, s) is the right vector of 3, (−s, c) that of 2.
        let x = Tensor::<2>::from_floats([[c, s], [-s, c]], &device);
        let y = host(layer.forward(x));
        let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-4, "{y:?}");
        close(y[0].hypot(y[1]), 1.0);
        close(y[2].hypot(y[3]), 2.0 / 3.0);
    }

    /// d(W/σ) against finite differences, σ taken anew at each with u and v fixed.
    #[test]
    fn gradients_know_of_sigma() {
        let device = Device::flex().autodiff();
        let scope = Scope::seeded(4, &device);
        let mut layer = SpectralLinear::new(&scope, [3, 2], false, true, WeightInit::TorchDefault);
        for _ in 0..200 {
            layer.iterate();
        }
        let x = Tensor::<2>::from_floats([[1.0, -2.0, 0.5]], &device);
        let y = layer.forward(x.clone());
        let loss = (y.clone() * y).sum();
        let gradient = layer.weight.val().grad(&loss.backward());
        let gradient: Vec<f32> = gradient.map(|g| g.into_data().iter().collect()).unwrap_or_default();
        let values: Vec<f32> = host(layer.weight.val());
        for i in 0..6 {
            let mut at = |h: f32| {
                let mut moved = values.clone();
                moved[i] += h;
                layer.weight = Param::from_data(TensorData::new(moved, [2, 3]), &device);
                let y = host(layer.forward(x.clone()));
                y.iter().map(|v| v * v).sum::<f32>()
            };
            let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
            assert!((slope - gradient[i]).abs() < 2e-2, "{i}: {slope} {}", gradient[i]);
        }
    }
}
