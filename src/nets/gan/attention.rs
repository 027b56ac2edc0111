//! Self-attention over the places of a feature map (Zhang, Goodfellow, Metaxas and Odena 2019, "Self-Attention
//! Generative Adversarial Networks", section 3), keys and values from maps of half the side (Brock et al. 2019).

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};
use opticus_kernels::{Pool2d, engine};

use super::spectral::{SpectralConv2d, SpectralConv2dConfig};
use crate::nets::init::{Init, Scope, WeightInit};

/// `x + γ · W o`, where `o` gathers from all places what resembles each place; γ begins at zero.
#[derive(Module, Debug)]
pub struct SelfAttention {
    query: SpectralConv2d,
    key: SpectralConv2d,
    value: SpectralConv2d,
    output: SpectralConv2d,
    gamma: Param<Tensor<1>>,
}

impl SelfAttention {
    /// A layer for maps of so many channels.
    pub fn new(scope: &Scope, channels: usize, spectral: bool) -> Self {
        let (narrow, wide) = ((channels / 8).max(1), (channels / 2).max(1));
        let pointwise = |name: &str, inputs, outputs| {
            let config = SpectralConv2dConfig {
                inputs,
                outputs,
                kernel: 1,
                stride: 1,
                padding: 0,
                bias: false,
                spectral,
                init: WeightInit::GlorotUniform,
            };
            config.build(&scope.at(name))
        };
        Self {
            query: pointwise("query", channels, narrow),
            key: pointwise("key", channels, narrow),
            value: pointwise("value", channels, wide),
            output: pointwise("output", wide, channels),
            gamma: scope.param("gamma", [1], Init::Constant(0.0)),
        }
    }

    /// Input and output [n, c, h, w].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, _, h, w] = x.dims();
        let flat = |maps: Tensor<4>| {
            let [n, c, h, w] = maps.dims();
            maps.reshape([n, c, h * w])
        };
        let halved = |maps: Tensor<4>| engine::max_pool2d(maps, Pool2d::new([2, 2]));
        let query = flat(self.query.forward(x.clone())); // [n, c / 8, h·w]
        let key = flat(halved(self.key.forward(x.clone()))); // [n, c / 8, h·w / 4]
        let value = flat(halved(self.value.forward(x.clone()))); // [n, c / 2, h·w / 4]
        let weights = activation::softmax(query.transpose().matmul(key), 2); // [n, h·w, h·w / 4]
        let gathered = value.matmul(weights.transpose()); // [n, c / 2, h·w]
        let wide = gathered.dims()[1];
        x + self.output.forward(gathered.reshape([n, wide, h, w])) * self.gamma.val().reshape([1, 1, 1, 1])
    }

    /// One step of power iteration.
    pub fn iterate(&self) {
        [&self.query, &self.key, &self.value, &self.output].into_iter().for_each(SpectralConv2d::iterate);
    }
}
