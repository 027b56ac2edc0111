//! Two-dimensional convolution.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use opticus_kernels::engine;

use super::MaxPool2d;
use crate::nets::graph::{Graph, Value, Window};
use crate::nets::init::{Scope, WeightInit};

/// A convolution over the two image axes: input [n, c_in, h, w], output [n, c_out, h', w'] with
/// `h' = (h + 2·padding − dilation · (kernel − 1) − 1) / stride + 1`.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// Kernels [out, in / groups, kernel height, kernel width].
    pub weight: Param<Tensor<4>>,
    /// One number per output channel.
    pub bias: Option<Param<Tensor<1>>>,
    /// Steps between windows (vertical, horizontal).
    pub stride: [usize; 2],
    /// Zeros added on each side (vertical, horizontal).
    pub padding: [usize; 2],
    /// Distance between taps (vertical, horizontal); 1 is dense.
    pub dilation: [usize; 2],
    /// Input channels are split into this many groups that do not see each other.
    pub groups: usize,
}

/// What a [`Conv2d`] is made from. Defaults: stride 1, no padding, one group, a bias, PyTorch's initial values.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dConfig {
    channels: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    padding: [usize; 2],
    dilation: usize,
    groups: usize,
    bias: bool,
    init: WeightInit,
}

impl Conv2dConfig {
    /// A square `kernel` from `inputs` to `outputs` channels.
    pub const fn new(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self {
            channels: [inputs, outputs],
            kernel: [kernel; 2],
            stride: 1,
            padding: [0; 2],
            dilation: 1,
            groups: 1,
            bias: true,
            init: WeightInit::TorchDefault,
        }
    }

    /// The step between windows on both axes.
    pub const fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Zeros added on all four sides.
    pub const fn padding(self, padding: usize) -> Self {
        Self { padding: [padding; 2], ..self }
    }

    /// A kernel, and zeros added at each side, that differ between the axes: (vertical, horizontal) each.
    pub const fn oblong(self, kernel: [usize; 2], padding: [usize; 2]) -> Self {
        Self { kernel, padding, ..self }
    }

    /// The distance between the taps on both axes.
    pub const fn dilation(self, dilation: usize) -> Self {
        Self { dilation, ..self }
    }

    /// The number of groups; equal to the channels, it is a depthwise convolution.
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
    pub fn build(self, scope: &Scope) -> Conv2d {
        let [inputs, outputs] = self.channels;
        let [kernel_h, kernel_w] = self.kernel;
        let area = kernel_h * kernel_w;
        // PyTorch's fans: axis 1 of the weight for what enters, axis 0 for what leaves.
        let (fan_in, fan_out) = (inputs / self.groups * area, outputs * area);
        let shape = [outputs, inputs / self.groups, kernel_h, kernel_w];
        Conv2d {
            weight: scope.param("weight", shape, self.init.weight(fan_in, fan_out)),
            bias: self.bias.then(|| scope.param("bias", [outputs], self.init.bias(fan_in))),
            stride: [self.stride; 2],
            padding: self.padding,
            dilation: [self.dilation; 2],
            groups: self.groups,
        }
    }
}

impl Conv2d {
    /// Input [n, c_in, h, w], output [n, c_out, h', w'].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, false)
    }

    /// [`Self::forward`], then ReLU, in one pass over the output.
    pub fn forward_relu(&self, x: Tensor<4>) -> Tensor<4> {
        self.run(x, true)
    }

    /// [`Self::forward_relu`], then the pooling; what lies in between is never there for all pictures at once.
    pub fn forward_relu_pool(&self, x: Tensor<4>, pool: &MaxPool2d) -> Tensor<4> {
        let how = engine::WindowThenPool { window: self.window(), pool: pool.windows() };
        engine::conv2d_relu_max_pool2d(x, self.weight.val(), self.bias.as_ref().map(|bias| bias.val()), how)
    }

    fn run(&self, x: Tensor<4>, relu: bool) -> Tensor<4> {
        engine::conv2d(x, self.weight.val(), self.bias.as_ref().map(|bias| bias.val()), self.window(), relu)
    }

    fn window(&self) -> engine::Window {
        engine::Window {
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        }
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let [_, _, kernel_h, kernel_w] = self.weight.lazy_shape().dims();
        let window = Window::new([kernel_h, kernel_w], self.stride).padded(self.padding);
        let window = Window { dilation: self.dilation, ..window };
        graph.conv(x, &self.weight, self.bias.as_ref(), window, self.groups)
    }
}
