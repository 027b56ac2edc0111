//! Pooling.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::adaptive_avg_pool2d;
use opticus_kernels::{Pool2d, engine};

use crate::nets::graph::{Graph, Value, Window};

/// The largest value of every square window.
#[derive(Module, Debug)]
pub struct MaxPool2d {
    /// Side of the window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Border on each side that never wins.
    pub padding: usize,
    /// Also keep windows that reach over the far border, if they begin inside (PyTorch's rule).
    pub ceil_mode: bool,
}

impl MaxPool2d {
    /// Windows of `kernel`², `stride` apart, without padding, inside the picture only.
    pub const fn new(kernel: usize, stride: usize) -> Self {
        Self { kernel, stride, padding: 0, ceil_mode: false }
    }

    /// Input [n, c, h, w], output [n, c, h', w'].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        engine::max_pool2d(x, self.windows())
    }

    /// The pooling as the kernels know it.
    pub fn windows(&self) -> Pool2d {
        Pool2d {
            stride: [self.stride; 2],
            padding: [self.padding; 2],
            ceil: self.ceil_mode,
            ..Pool2d::new([self.kernel; 2])
        }
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let window = Window::new([self.kernel; 2], [self.stride; 2]).padded([self.padding; 2]);
        graph.max_pool(x, Window { ceil: self.ceil_mode, ..window })
    }
}

/// Averages to a fixed number of rows and columns, whatever comes in.
#[derive(Module, Debug)]
pub struct AdaptiveAvgPool2d {
    /// Rows and columns of the output.
    pub side: usize,
}

impl AdaptiveAvgPool2d {
    /// Input [n, c, h, w], output [n, c, side, side].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        if [h, w] == [self.side; 2] { x } else { adaptive_avg_pool2d(x, [self.side; 2]) }
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        graph.adaptive_average_pool(x, [self.side; 2])
    }
}

/// The mean of every channel: input [n, c, h, w], output [n, c].
pub fn global_avg_pool(x: Tensor<4>) -> Tensor<2> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c])
}
