//! Residual networks of the class of SNGAN (Miyato et al. 2018), projection discriminators (Miyato and Koyama 2018) and
//! BigGAN (Brock et al. 2019), made for CPUs: sides are doubled and halved by convolutions of stride 2 inside the blocks,
//! where those papers resize and then convolve at the larger side, at more than twice the cost.

use burn::module::Module;
use burn::tensor::Tensor;
use opticus_kernels::{Function, engine};

use super::norm::ModulatedNorm;
use super::spectral::{SpectralConv2d, SpectralConv2dConfig, SpectralLinear};
use super::{GanConfig, Look, SelfAttention, pooled, with_deviation};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{
    BatchNorm2d, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, Linear,
};

/// Sides of the feature maps that attention is paid to.
const ATTENDED: std::ops::RangeInclusive<usize> = 8..=18;
const INIT: WeightInit = WeightInit::GlorotUniform;

/// Doubles the side: norm, ReLU, convolution to twice the side, norm, ReLU, convolution; beside it one transposed
/// convolution. Norms are modulated by the latent numbers and the condition together.
#[derive(Module, Debug)]
struct UpBlock {
    norm1: ModulatedNorm,
    up: ConvTranspose2d,
    norm2: ModulatedNorm,
    conv: Conv2d,
    skip: ConvTranspose2d,
    attention: Option<SelfAttention>,
}

impl UpBlock {
    fn new(scope: &Scope, [inputs, outputs]: [usize; 2], numbers: usize, attention: bool) -> Self {
        let up = ConvTranspose2dConfig::new(inputs, outputs, 4).stride(2).padding(1).no_bias().init(INIT);
        let skip = ConvTranspose2dConfig::new(inputs, outputs, 2).stride(2).no_bias().init(INIT);
        let conv = Conv2dConfig::new(outputs, outputs, 3).padding(1).init(INIT);
        Self {
            norm1: ModulatedNorm::new(&scope.at("norm1"), inputs, numbers),
            up: up.build(&scope.at("up")),
            norm2: ModulatedNorm::new(&scope.at("norm2"), outputs, numbers),
            conv: conv.build(&scope.at("conv")),
            skip: skip.build(&scope.at("skip")),
            attention: attention.then(|| SelfAttention::new(&scope.at("attention"), outputs, false)),
        }
    }

    fn forward(&self, x: Tensor<4>, latent: &Tensor<2>) -> Tensor<4> {
        let inner = self.up.forward(self.norm1.forward_relu(x.clone(), latent));
        let inner = self.conv.forward(self.norm2.forward_relu(inner, latent));
        let y = inner + self.skip.forward(x); // [n, outputs, 2h, 2w]
        match &self.attention {
            Some(attention) => attention.forward(y),
            None => y,
        }
    }
}

/// Makes pictures.
#[derive(Module, Debug)]
pub struct ResnetGenerator {
    seed: Linear,
    blocks: Vec<UpBlock>,
    norm: BatchNorm2d,
    output: Conv2d,
    side: usize,
}

impl ResnetGenerator {
    pub(super) fn new(config: &GanConfig, scope: &Scope) -> Self {
        let numbers = config.latent + config.condition;
        let widths = config.widths(config.generator_width);
        let (side, doublings) = config.seed();
        let deepest = widths[doublings];
        let mut blocks = Vec::new();
        for depth in (0..doublings).rev() {
            let attended = config.attention && ATTENDED.contains(&(config.image_size >> depth));
            let place = scope.at("blocks").at(blocks.len());
            blocks.push(UpBlock::new(&place, [widths[depth + 1], widths[depth]], numbers, attended));
        }
        Self {
            seed: Linear::new(&scope.at("seed"), numbers, deepest * side * side, INIT),
            blocks,
            norm: BatchNorm2d::new(&scope.at("norm"), widths[0]),
            output: Conv2dConfig::new(widths[0], config.channels, 3)
                .padding(1)
                .init(INIT)
                .build(&scope.at("output")),
            side,
        }
    }

    /// Latent numbers with the condition [n, latent + condition] to pictures [n, channels, side, side].
    pub fn forward(&self, latent: Tensor<2>) -> Tensor<4> {
        let n = latent.dims()[0];
        let x = self.seed.forward(latent.clone());
        let channels = x.dims()[1] / (self.side * self.side);
        let mut x = x.reshape([n, channels, self.side, self.side]);
        for block in &self.blocks {
            x = block.forward(x, &latent);
        }
        engine::activate(self.output.forward(self.norm.forward_relu(x)), Function::Tanh)
    }
}

/// Halves the side: ReLU (but for the pictures themselves), convolution, ReLU, convolution of stride 2; beside it one
/// convolution of stride 2.
#[derive(Module, Debug)]
struct DownBlock {
    conv: SpectralConv2d,
    down: SpectralConv2d,
    skip: SpectralConv2d,
    attention: Option<SelfAttention>,
    first: bool,
}

impl DownBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let inner = if self.first { x.clone() } else { engine::activate(x.clone(), Function::Relu) };
        let inner = self.down.forward(self.conv.forward_relu(inner));
        let y = inner + self.skip.forward(x); // [n, outputs, h / 2, w / 2]
        match &self.attention {
            Some(attention) => attention.forward(y),
            None => y,
        }
    }

    fn iterate(&self) {
        [&self.conv, &self.down, &self.skip].into_iter().for_each(SpectralConv2d::iterate);
        self.attention.iter().for_each(SelfAttention::iterate);
    }
}

/// Judges pictures.
#[derive(Module, Debug)]
pub struct ResnetDiscriminator {
    blocks: Vec<DownBlock>,
    last1: SpectralConv2d,
    last2: SpectralConv2d,
    verdict: SpectralLinear,
    project: Option<SpectralLinear>,
    minibatch_std: bool,
}

impl ResnetDiscriminator {
    pub(super) fn new(config: &GanConfig, scope: &Scope) -> Self {
        let spectral = config.spectral_norm;
        let conv = |scope: Scope, [inputs, outputs]: [usize; 2], kernel: usize, stride: usize| {
            let padding = (kernel - stride).div_ceil(2);
            let config = SpectralConv2dConfig {
                inputs,
                outputs,
                kernel,
                stride,
                padding,
                bias: true,
                spectral,
                init: INIT,
            };
            config.build(&scope)
        };
        let widths = config.widths(config.discriminator_width);
        let doublings = config.seed().1;
        let mut blocks = Vec::new();
        for depth in 0..doublings {
            let place = scope.at("blocks").at(depth);
            let first = depth == 0;
            let (inputs, outputs) = (if first { config.channels } else { widths[depth] }, widths[depth + 1]);
            let attended = config.attention && ATTENDED.contains(&(config.image_size >> (depth + 1)));
            blocks.push(DownBlock {
                conv: conv(place.at("conv"), [inputs, widths[depth]], 3, 1),
                down: conv(place.at("down"), [widths[depth], outputs], 4, 2),
                skip: conv(place.at("skip"), [inputs, outputs], 2, 2),
                attention: attended.then(|| SelfAttention::new(&place.at("attention"), outputs, spectral)),
                first,
            });
        }
        let deepest = widths[doublings];
        let dense =
            |name: &str, shape, bias| SpectralLinear::new(&scope.at(name), shape, bias, spectral, INIT);
        Self {
            blocks,
            last1: conv(scope.at("last1"), [deepest + usize::from(config.minibatch_std), deepest], 3, 1),
            last2: conv(scope.at("last2"), [deepest, deepest], 3, 1),
            verdict: dense("verdict", [deepest, 1], true),
            project: (config.condition > 0).then(|| dense("project", [config.condition, deepest], false)),
            minibatch_std: config.minibatch_std,
        }
    }

    pub(super) fn look(&self, pictures: Tensor<4>) -> Look {
        let n = pictures.dims()[0];
        let mut x = pictures;
        for block in &self.blocks {
            x = block.forward(x);
        }
        let inner = if self.minibatch_std { with_deviation(x.clone()) } else { x.clone() };
        let inner = self.last1.forward_relu(engine::activate(inner, Function::Relu));
        let maps = engine::activate(self.last2.forward(inner) + x, Function::Relu);
        let real = self.verdict.forward(pooled(maps.clone())).reshape([n]);
        Look::new(real, maps, self.project.as_ref())
    }

    pub(super) fn iterate(&self) {
        self.blocks.iter().for_each(DownBlock::iterate);
        [&self.last1, &self.last2].into_iter().for_each(SpectralConv2d::iterate);
        self.verdict.iterate();
        self.project.iter().for_each(SpectralLinear::iterate);
    }
}
