//! Lists of layers, numbered as in PyTorch's `nn.Sequential`: layers without parameters count too.

use burn::tensor::Tensor;

use super::{Activation, ActivationKind, BatchNorm2d, Conv2d, MaxPool2d, transparent_module};

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
    /// A ReLU.
    pub const fn relu() -> Self {
        Self::Activation(Activation { kind: ActivationKind::Relu })
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
