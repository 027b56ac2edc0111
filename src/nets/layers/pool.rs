//! Pooling.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::{adaptive_avg_pool2d, avg_pool2d};
use burn::tensor::ops::AvgPoolOptions;
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

/// The mean, or the largest value, of the 3×3 window around each position: the map keeps its size.
#[derive(Module, Debug)]
pub struct SmoothPool2d {
    /// The largest value instead of the mean.
    pub greatest: bool,
    /// Whether zeros beyond the edge count in the mean, as PyTorch has it; TensorFlow leaves them out.
    pub count_padding: bool,
}

impl SmoothPool2d {
    /// Input and output [n, c, h, w].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if self.greatest {
            return engine::max_pool2d(x, Pool2d { stride: [1; 2], padding: [1; 2], ..Pool2d::new([3; 2]) });
        }
        let options = AvgPoolOptions::new([3; 2]).with_stride([1; 2]).with_padding([1; 2]);
        avg_pool2d(x, options.with_count_include_pad(self.count_padding))
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let window = Window::new([3; 2], [1; 2]).padded([1; 2]);
        if self.greatest {
            graph.max_pool(x, window)
        } else {
            graph.average_pool(x, window, self.count_padding)
        }
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
