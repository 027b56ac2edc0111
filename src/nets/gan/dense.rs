//! The first generator that most people meet: dense layers that widen from the latent numbers to all samples of the
//! picture, against a discriminator of convolutions.
//!
//! The recipe is often printed with faults, which are mended here:
//!
//! | as printed | here |
//! |---|---|
//! | the discriminator's dense layer expects a size that its convolutions do not give | convolutions of stride 2 that work for any side, and the dense layer takes what they give |
//! | its last activation is a sigmoid, whose logarithm overflows | verdicts are logits; the sigmoid is in the loss |
//! | the generator is trained against targets of its own, never through the discriminator | its gradient passes through the discriminator, whose weights stand still meanwhile |
//! | norms in the last layer of the generator and the first of the discriminator | none there (Radford et al. 2016, section 3) |

use burn::module::Module;
use burn::tensor::Tensor;
use opticus_kernels::{Function, engine};

use super::spectral::{SpectralConv2d, SpectralConv2dConfig, SpectralLinear};
use super::{GanConfig, Look, with_deviation};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{BatchNorm2d, Linear};

/// Slope of LeakyReLU below zero.
const SLOPE: f32 = 0.2;

/// Dense layers of `w`, `2w` and `4w` values, each with norm and ReLU, then one to all samples of the picture and Tanh.
#[derive(Module, Debug)]
pub struct DenseGenerator {
    layers: Vec<Linear>,
    norms: Vec<BatchNorm2d>,
    output: Linear,
    channels: usize,
    side: usize,
}

impl DenseGenerator {
    pub(super) fn new(config: &GanConfig, scope: &Scope) -> Self {
        let (channels, side) = (config.channels, config.image_size);
        let mut inputs = config.latent + config.condition;
        let (mut layers, mut norms) = (Vec::new(), Vec::new());
        for depth in 0..3 {
            let outputs = config.generator_width << depth;
            layers.push(Linear::new(
                &scope.at("layers").at(depth),
                inputs,
                outputs,
                WeightInit::GlorotUniform,
            ));
            norms.push(BatchNorm2d::new(&scope.at("norms").at(depth), outputs));
            inputs = outputs;
        }
        let output =
            Linear::new(&scope.at("output"), inputs, channels * side * side, WeightInit::GlorotUniform);
        Self { layers, norms, output, channels, side }
    }

    /// Latent numbers with the condition [n, latent + condition] to pictures [n, channels, side, side].
    pub fn forward(&self, latent: Tensor<2>) -> Tensor<4> {
        let n = latent.dims()[0];
        let mut x = latent;
        for (layer, norm) in self.layers.iter().zip(&self.norms) {
            x = layer.forward(x);
            let values = x.dims()[1];
            x = norm.forward_relu(x.reshape([n, values, 1, 1])).reshape([n, values]);
        }
        let pictures = engine::activate(self.output.forward(x), Function::Tanh);
        pictures.reshape([n, self.channels, self.side, self.side])
    }
}

/// Four convolutions of stride 2 with `w`, `2w`, `4w` and `8w` channels and LeakyReLU, then a dense layer.
#[derive(Module, Debug)]
pub struct DenseDiscriminator {
    layers: Vec<SpectralConv2d>,
    verdict: SpectralLinear,
    project: Option<SpectralLinear>,
    minibatch_std: bool,
}

impl DenseDiscriminator {
    pub(super) fn new(config: &GanConfig, scope: &Scope) -> Self {
        let spectral = config.spectral_norm;
        let mut layers = Vec::new();
        let (mut inputs, mut side) = (config.channels, config.image_size);
        for depth in 0..4 {
            let outputs = config.discriminator_width << depth;
            let layer = SpectralConv2dConfig {
                inputs,
                outputs,
                kernel: 3,
                stride: 2,
                padding: 1,
                bias: true,
                spectral,
                init: WeightInit::GlorotUniform,
            };
            layers.push(layer.build(&scope.at("layers").at(depth)));
            (inputs, side) = (outputs, side.div_ceil(2));
        }
        let maps = inputs + usize::from(config.minibatch_std);
        let dense = |name: &str, shape, bias| {
            SpectralLinear::new(&scope.at(name), shape, bias, spectral, WeightInit::GlorotUniform)
        };
        Self {
            layers,
            verdict: dense("verdict", [maps * side * side, 1], true),
            project: (config.condition > 0).then(|| dense("project", [config.condition, maps], false)),
            minibatch_std: config.minibatch_std,
        }
    }

    pub(super) fn look(&self, pictures: Tensor<4>) -> Look {
        let n = pictures.dims()[0];
        let mut x = pictures;
        for layer in &self.layers {
            x = engine::activate(layer.forward(x), Function::LeakyRelu(SLOPE));
        }
        if self.minibatch_std {
            x = with_deviation(x);
        }
        let [_, c, h, w] = x.dims();
        let real = self.verdict.forward(x.clone().reshape([n, c * h * w])).reshape([n]);
        Look::new(real, x, self.project.as_ref())
    }

    pub(super) fn iterate(&self) {
        self.layers.iter().for_each(SpectralConv2d::iterate);
        self.verdict.iterate();
        self.project.iter().for_each(SpectralLinear::iterate);
    }
}
