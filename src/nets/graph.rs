//! A network written down: its operations, each after what it reads, with the parameters that they use.
//!
//! Each layer and backbone has a `describe` beside its `forward` that calls these methods in the same order. An ONNX
//! file ([`super::onnx`]) and the program that predicts on a CPU ([`super::program`]) are made from it. Values know
//! their shape for one picture, without the batch.

use burn::module::Param;
use burn::tensor::Tensor;

use super::layers::ActivationKind;

/// What an operation gives: its number, and its shape for one picture (`[C, H, W]` or `[features]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub(super) index: usize,
    shape: Vec<usize>,
}

impl Value {
    /// The shape for one picture, without the batch.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Channels, height and width; what is missing counts as 1.
    pub fn map(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.shape.get(axis).copied().unwrap_or(1))
    }
}

/// How a convolution or pooling window moves: `[vertical, horizontal]` each, padding on both sides alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Rows and columns added at each side.
    pub padding: [usize; 2],
    /// Distance between the taps; 1 is dense.
    pub dilation: [usize; 2],
    /// Whether a last, partly outside window counts (pooling only).
    pub ceil: bool,
}

impl Window {
    /// A dense window without padding.
    pub fn new(kernel: [usize; 2], stride: [usize; 2]) -> Self {
        Self { kernel, stride, padding: [0, 0], dilation: [1, 1], ceil: false }
    }

    /// With `padding` rows and columns at each side.
    pub fn padded(self, padding: [usize; 2]) -> Self {
        Self { padding, ..self }
    }

    /// Output length along one axis (0 vertical).
    pub fn output(&self, axis: usize, input: usize) -> usize {
        let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        let room = (input + 2 * self.padding[axis]).saturating_sub(reach);
        if !self.ceil {
            return room / self.stride[axis] + 1;
        }
        let last = room.div_ceil(self.stride[axis]);
        // PyTorch's rule: a window must start inside the picture or its leading padding.
        if last * self.stride[axis] >= input + self.padding[axis] { last } else { last + 1 }
    }
}

/// A batch normalisation at inference.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Scale, one a channel.
    pub weight: Param<Tensor<1>>,
    /// Shift, one a channel.
    pub bias: Param<Tensor<1>>,
    /// Mean seen in training, one a channel.
    pub running_mean: Tensor<1>,
    /// Variance seen in training, one a channel.
    pub running_var: Tensor<1>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// An operation with what it reads.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as the methods of `Graph`")]
pub enum Operation {
    /// The batch of pictures.
    Input,
    /// See [`Graph::conv`].
    Conv { x: Value, weight: Param<Tensor<4>>, bias: Option<Param<Tensor<1>>>, window: Window, groups: usize },
    /// See [`Graph::linear`].
    Linear { x: Value, weight: Param<Tensor<2>>, bias: Option<Param<Tensor<1>>> },
    /// See [`Graph::batch_norm`].
    BatchNorm { x: Value, norm: Box<Norm> },
    /// See [`Graph::activation`].
    Activation { x: Value, kind: ActivationKind },
    /// See [`Graph::softmax`].
    Softmax { x: Value },
    /// See [`Graph::max_pool`].
    MaxPool { x: Value, window: Window },
    /// See [`Graph::average_pool`].
    AveragePool { x: Value, window: Window, count_padding: bool },
    /// See [`Graph::adaptive_average_pool`].
    AdaptiveAveragePool { x: Value, size: [usize; 2] },
    /// See [`Graph::flatten`].
    Flatten { x: Value },
    /// See [`Graph::add`].
    Add { a: Value, b: Value },
    /// See [`Graph::mul`].
    Mul { a: Value, b: Value },
    /// See [`Graph::concat`].
    Concat { values: Vec<Value> },
    /// See [`Graph::every`].
    Every { x: Value, step: [usize; 2] },
    /// See [`Graph::nearest`].
    Nearest { x: Value, like: Value },
    /// See [`Graph::normalize`].
    Normalize { x: Value, scale: Param<Tensor<1>> },
    /// See [`Graph::pad_channels`].
    PadChannels { x: Value, before: usize, after: usize },
}

/// A network being written down.
#[derive(Debug)]
pub struct Graph {
    input: Value,
    operations: Vec<Operation>,
}

impl Graph {
    /// A network whose input is a batch of pictures of `[channels, height, width]`.
    pub fn new(input: [usize; 3]) -> Self {
        let input = Value { index: 0, shape: input.to_vec() };
        Self { input, operations: vec![Operation::Input] }
    }

    /// The batch of pictures.
    pub fn input(&self) -> Value {
        self.input.clone()
    }

    /// All operations, each after what it reads; the number of a value is that of its operation.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    fn push(&mut self, operation: Operation, shape: Vec<usize>) -> Value {
        self.operations.push(operation);
        Value { index: self.operations.len() - 1, shape }
    }

    /// Convolution with weights `[out, in / groups, kernel_h, kernel_w]`.
    pub fn conv(
        &mut self,
        x: &Value,
        weight: &Param<Tensor<4>>,
        bias: Option<&Param<Tensor<1>>>,
        window: Window,
        groups: usize,
    ) -> Value {
        let [out, ..] = weight.lazy_shape().dims::<4>();
        let [_, h, w] = x.map();
        let shape = vec![out, window.output(0, h), window.output(1, w)];
        let (x, weight, bias) = (x.clone(), weight.clone(), bias.cloned());
        self.push(Operation::Conv { x, weight, bias, window, groups }, shape)
    }

    /// Fully connected layer with weights `[out, in]`, as PyTorch keeps them.
    pub fn linear(&mut self, x: &Value, weight: &Param<Tensor<2>>, bias: Option<&Param<Tensor<1>>>) -> Value {
        let [out, _] = weight.lazy_shape().dims();
        let (x, weight, bias) = (x.clone(), weight.clone(), bias.cloned());
        self.push(Operation::Linear { x, weight, bias }, vec![out])
    }

    /// Batch normalisation with the running statistics.
    pub fn batch_norm(&mut self, x: &Value, norm: Norm) -> Value {
        self.push(Operation::BatchNorm { x: x.clone(), norm: Box::new(norm) }, x.shape.clone())
    }

    /// A function of each value.
    pub fn activation(&mut self, x: &Value, kind: ActivationKind) -> Value {
        self.push(Operation::Activation { x: x.clone(), kind }, x.shape.clone())
    }

    /// max(x, 0).
    pub fn relu(&mut self, x: &Value) -> Value {
        self.activation(x, ActivationKind::Relu)
    }

    /// relu6(x + 3) / 6.
    pub fn hard_sigmoid(&mut self, x: &Value) -> Value {
        self.activation(x, ActivationKind::HardSigmoid)
    }

    /// Probabilities over the last axis.
    pub fn softmax(&mut self, x: &Value) -> Value {
        self.push(Operation::Softmax { x: x.clone() }, x.shape.clone())
    }

    /// The greatest value in each window.
    pub fn max_pool(&mut self, x: &Value, window: Window) -> Value {
        let [c, h, w] = x.map();
        let shape = vec![c, window.output(0, h), window.output(1, w)];
        self.push(Operation::MaxPool { x: x.clone(), window }, shape)
    }

    /// The mean of each window; padding counts as zeros when `count_padding`, as PyTorch does by default.
    pub fn average_pool(&mut self, x: &Value, window: Window, count_padding: bool) -> Value {
        let [c, h, w] = x.map();
        let shape = vec![c, window.output(0, h), window.output(1, w)];
        self.push(Operation::AveragePool { x: x.clone(), window, count_padding }, shape)
    }

    /// The mean of each channel: `[C, H, W]` to `[C, 1, 1]`.
    pub fn global_average_pool(&mut self, x: &Value) -> Value {
        self.adaptive_average_pool(x, [1, 1])
    }

    /// Means of windows that share the plane out evenly to a fixed `[height, width]`.
    pub fn adaptive_average_pool(&mut self, x: &Value, size: [usize; 2]) -> Value {
        let [c, ..] = x.map();
        let shape = vec![c, size[0], size[1]];
        self.push(Operation::AdaptiveAveragePool { x: x.clone(), size }, shape)
    }

    /// `[C, H, W]` to `[C · H · W]`, in that order.
    pub fn flatten(&mut self, x: &Value) -> Value {
        let shape = vec![x.shape.iter().product()];
        self.push(Operation::Flatten { x: x.clone() }, shape)
    }

    /// Sum of two values of one shape.
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.push(Operation::Add { a: a.clone(), b: b.clone() }, a.shape.clone())
    }

    /// Product; `b` may have a height and width of 1 and is then spread over `a`'s.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.push(Operation::Mul { a: a.clone(), b: b.clone() }, a.shape.clone())
    }

    /// Maps one after another along the channels.
    pub fn concat(&mut self, values: &[&Value]) -> Value {
        let mut shape = values.first().map_or_else(Vec::new, |first| first.shape.clone());
        if let Some(channels) = shape.first_mut() {
            *channels = values.iter().map(|value| value.map()[0]).sum();
        }
        self.push(Operation::Concat { values: values.iter().copied().cloned().collect() }, shape)
    }

    /// Every `step[0]`-th row and every `step[1]`-th column, from the first on.
    pub fn every(&mut self, x: &Value, step: [usize; 2]) -> Value {
        let [c, h, w] = x.map();
        let shape = vec![c, h.div_ceil(step[0]), w.div_ceil(step[1])];
        self.push(Operation::Every { x: x.clone(), step }, shape)
    }

    /// The map at the height and width of `like`, each position from the nearest one: row `y` of `n` comes from row
    /// `⌊y · rows / n⌋`.
    pub fn nearest(&mut self, x: &Value, like: &Value) -> Value {
        let ([c, ..], [_, h, w]) = (x.map(), like.map());
        self.push(Operation::Nearest { x: x.clone(), like: like.clone() }, vec![c, h, w])
    }

    /// Each position's values over all channels divided by their length, times a scale for each channel.
    pub fn normalize(&mut self, x: &Value, scale: &Param<Tensor<1>>) -> Value {
        self.push(Operation::Normalize { x: x.clone(), scale: scale.clone() }, x.shape.clone())
    }

    /// Channels of zeros before and after the map's own.
    pub fn pad_channels(&mut self, x: &Value, before: usize, after: usize) -> Value {
        let [c, h, w] = x.map();
        self.push(Operation::PadChannels { x: x.clone(), before, after }, vec![before + c + after, h, w])
    }
}
