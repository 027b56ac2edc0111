//! Functions of a single value.

use burn::module::Module;
use burn::tensor::{Tensor, activation};

use crate::nets::graph::{Graph, Value};

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationKind {
    /// `max(x, 0)`.
    Relu,
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
        match self {
            Self::Relu => activation::relu(x),
            Self::HardSwish => activation::hard_swish(x),
            Self::HardSigmoid => activation::hard_sigmoid(x, 1.0 / 6.0, 0.5),
        }
    }

    /// [`Self::apply`] written down.
    pub fn describe(self, graph: &mut Graph, x: &Value) -> Value {
        graph.activation(x, self)
    }
}
