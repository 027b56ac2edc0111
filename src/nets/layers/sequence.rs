//! Lists of layers, numbered as in PyTorch's `nn.Sequential`: layers without parameters count too.

use burn::tensor::Tensor;

use super::{
    Activation, ActivationKind, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, transparent_module,
};

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
}

/// Runs the layers one after another.
pub fn run(layers: &[Layer], x: Tensor<4>) -> Tensor<4> {
    layers.iter().fold(x, |x, layer| layer.forward(x))
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
}

/// Runs the dense layers one after another.
pub fn run_dense(layers: &[DenseLayer], x: Tensor<2>) -> Tensor<2> {
    layers.iter().fold(x, |x, layer| layer.forward(x))
}
