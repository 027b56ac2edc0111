//! Lists of layers, numbered as in PyTorch's `nn.Sequential`: layers without parameters count too.

use burn::tensor::Tensor;

use super::{
    Activation, ActivationKind, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, transparent_module,
};
use crate::nets::graph::{Graph, Value};

/// One entry of a list that works on feature maps.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lists are short and built once")]
pub enum Layer {
    /// Convolution.
    Conv2d(Conv2d),
    /// Batch normalisation.
    BatchNorm2d(BatchNorm2d),
    /// A function of single values.
    Activation(Activation),
    /// Max-pooling.
    MaxPool2d(MaxPool2d),
}

transparent_module!(Layer { Conv2d, BatchNorm2d, Activation, MaxPool2d });

impl Layer {
    /// This function of single values.
    pub const fn activation(kind: ActivationKind) -> Self {
        Self::Activation(Activation { kind })
    }

    /// Input [n, c, h, w], output [n, c', h', w'].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv2d(layer) => layer.forward(x),
            Self::BatchNorm2d(layer) => layer.forward(x),
            Self::Activation(layer) => layer.kind.apply(x),
            Self::MaxPool2d(layer) => layer.forward(x),
        }
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        match self {
            Self::Conv2d(layer) => layer.describe(graph, x),
            Self::BatchNorm2d(layer) => layer.describe(graph, x),
            Self::Activation(layer) => layer.kind.describe(graph, x),
            Self::MaxPool2d(layer) => layer.describe(graph, x),
        }
    }
}

/// Runs the layers one after another; ReLU in the pass of the layer before it.
pub fn run(layers: &[Layer], mut x: Tensor<4>) -> Tensor<4> {
    let mut rest = layers;
    while let [layer, then @ ..] = rest {
        (x, rest) = match (layer, then) {
            (Layer::Conv2d(conv), [Layer::Activation(next), then @ ..])
                if next.kind == ActivationKind::Relu =>
            {
                (conv.forward_relu(x), then)
            }
            (Layer::BatchNorm2d(norm), [Layer::Activation(next), then @ ..])
                if next.kind == ActivationKind::Relu =>
            {
                (norm.forward_relu(x), then)
            }
            _ => (layer.forward(x), then),
        };
    }
    x
}

/// [`run`] written down.
pub fn describe(layers: &[Layer], graph: &mut Graph, x: &Value) -> Value {
    layers.iter().fold(x.clone(), |x, layer| layer.describe(graph, &x))
}

/// One entry of a list that works on vectors: a classifier of several dense layers.
#[derive(Clone, Debug)]
pub enum DenseLayer {
    /// Dense layer.
    Linear(Linear),
    /// A function of single values.
    Activation(Activation),
    /// Dropout.
    Dropout(Dropout),
}

transparent_module!(DenseLayer { Linear, Activation, Dropout });

impl DenseLayer {
    /// This function of single values.
    pub const fn activation(kind: ActivationKind) -> Self {
        Self::Activation(Activation { kind })
    }

    /// Input [n, c], output [n, c'].
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear(layer) => layer.forward(x),
            Self::Activation(layer) => layer.kind.apply(x),
            Self::Dropout(layer) => layer.forward(x),
        }
    }

    /// [`Self::forward`] written down; dropout does nothing at inference.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        match self {
            Self::Linear(layer) => layer.describe(graph, x),
            Self::Activation(layer) => layer.kind.describe(graph, x),
            Self::Dropout(_) => x.clone(),
        }
    }
}

/// Runs the dense layers one after another.
pub fn run_dense(layers: &[DenseLayer], x: Tensor<2>) -> Tensor<2> {
    layers.iter().fold(x, |x, layer| layer.forward(x))
}

/// [`run_dense`] written down.
pub fn describe_dense(layers: &[DenseLayer], graph: &mut Graph, x: &Value) -> Value {
    layers.iter().fold(x.clone(), |x, layer| layer.describe(graph, &x))
}
