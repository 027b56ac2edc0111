//! Functions of a single value.

use burn::module::Module;
use burn::tensor::Tensor;
use opticus_kernels::{Function, engine};

use crate::nets::graph::{Graph, Value};

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationKind {
    /// `max(x, 0)`.
    Relu,
    /// `clamp(x, 0, 6)`.
    Relu6,
    /// `x · hardsigmoid(x)` (Howard et al., 2019).
    HardSwish,
    /// `clamp(x / 6 + 1 / 2, 0, 1)`.
    HardSigmoid,
}

/// An activation as a layer, for places in a list of layers.
#[derive(Module, Debug)]
pub struct Activation {
    /// Which function.
    #[module(skip)]
    pub kind: ActivationKind,
}

impl ActivationKind {
    /// Any shape.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        let function = match self {
            Self::Relu => Function::Relu,
            Self::Relu6 => Function::Relu6,
            Self::HardSwish => Function::HardSwish,
            Self::HardSigmoid => Function::HardSigmoid,
        };
        engine::activate(x, function)
    }

    /// [`Self::apply`] written down.
    pub fn describe(self, graph: &mut Graph, x: &Value) -> Value {
        graph.activation(x, self)
    }
}
