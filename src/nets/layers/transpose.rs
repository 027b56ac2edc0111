//! Two-dimensional transposed convolution.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use opticus_kernels::engine;

use crate::nets::init::{Scope, WeightInit};

/// A transposed convolution over the two image axes: input [n, c_in, h, w], output [n, c_out, h', w'] with
/// `h' = (h − 1) · stride − 2 · padding + kernel + output_padding`.
#[derive(Module, Debug)]
pub struct ConvTranspose2d {
    /// Kernels [in, out / groups, kernel height, kernel width].
    pub weight: Param<Tensor<4>>,
    /// One number per output channel.
    pub bias: Option<Param<Tensor<1>>>,
    /// Output steps between neighbours of the input (vertical, horizontal).
    pub stride: [usize; 2],
    /// Output pixels cut off on each side (vertical, horizontal).
    pub padding: [usize; 2],
    /// Output pixels added at the bottom and the right.
    pub output_padding: [usize; 2],
    /// Channels are split into this many groups that do not see each other.
    pub groups: usize,
}

/// What a [`ConvTranspose2d`] is made from. Defaults: stride 1, no padding, one group, a bias, PyTorch's initial
/// values.
#[derive(Clone, Copy, Debug)]
pub struct ConvTranspose2dConfig {
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: usize,
    output_padding: usize,
    groups: usize,
    bias: bool,
    init: WeightInit,
}

impl ConvTranspose2dConfig {
    /// A square `kernel` from `inputs` to `outputs` channels.
    pub const fn new(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self {
            channels: [inputs, outputs],
            kernel,
            stride: 1,
            padding: 0,
            output_padding: 0,
            groups: 1,
            bias: true,
            init: WeightInit::TorchDefault,
        }
    }

    /// The output step on both axes.
    pub const fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Output pixels cut off on all four sides.
    pub const fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// Output pixels added at the bottom and the right; less than the stride.
    pub const fn output_padding(self, output_padding: usize) -> Self {
        Self { output_padding, ..self }
    }

    /// The number of groups.
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Leaves the bias out, where a normalisation follows.
    pub const fn no_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// How the weights are drawn.
    pub const fn init(self, init: WeightInit) -> Self {
        Self { init, ..self }
    }

    /// Makes the layer at this place of the network.
    pub fn build(self, scope: &Scope) -> ConvTranspose2d {
        let [inputs, outputs] = self.channels;
        let area = self.kernel * self.kernel;
        // PyTorch's fans are those of the convolution that is transposed: axis 1 of the weight for what enters.
        let (fan_in, fan_out) = (outputs / self.groups * area, inputs * area);
        let shape = [inputs, outputs / self.groups, self.kernel, self.kernel];
        ConvTranspose2d {
            weight: scope.param("weight", shape, self.init.weight(fan_in, fan_out)),
            bias: self.bias.then(|| scope.param("bias", [outputs], self.init.bias(fan_in))),
            stride: [self.stride; 2],
            padding: [self.padding; 2],
            output_padding: [self.output_padding; 2],
            groups: self.groups,
        }
    }
}

impl ConvTranspose2d {
    /// Input [n, c_in, h, w], output [n, c_out, h', w'].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let window = engine::TransposedWindow {
            stride: self.stride,
            padding: self.padding,
            output_padding: self.output_padding,
            dilation: [1, 1],
            groups: self.groups,
        };
        engine::conv_transpose2d(x, self.weight.val(), self.bias.as_ref().map(|bias| bias.val()), window)
    }
}
