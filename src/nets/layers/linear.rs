//! The dense layer.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use opticus_kernels::engine;

use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};

/// `y = x · weightᵀ + bias`, with the weight stored [out, in] as PyTorch does.
#[derive(Module, Debug)]
pub struct Linear {
    /// [out, in].
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer with a bias from `inputs` to `outputs` values at this place of the network.
    pub fn new(scope: &Scope, inputs: usize, outputs: usize, init: WeightInit) -> Self {
        Self {
            weight: scope.param("weight", [outputs, inputs], init.weight(inputs, outputs)),
            bias: Some(scope.param("bias", [outputs], init.bias(inputs))),
        }
    }

    /// Input [n, in], output [n, out].
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.run(x, false)
    }

    /// [`Self::forward`], then ReLU.
    pub fn forward_relu(&self, x: Tensor<2>) -> Tensor<2> {
        self.run(x, true)
    }

    fn run(&self, x: Tensor<2>, relu: bool) -> Tensor<2> {
        engine::dense(x, self.weight.val(), self.bias.as_ref().map(|bias| bias.val()), relu)
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        graph.linear(x, &self.weight, self.bias.as_ref())
    }
}
