//! DCGAN's two networks (Radford, Metz and Chintala, 2016, "Unsupervised Representation Learning with Deep
//! Convolutional Generative Adversarial Networks", section 3), with the layers, initial values and names of
//! PyTorch's example (`main.0.weight`, …).
//!
//! Pictures of 64 pixels have five layers in each network; each doubling of the side adds one at the deep end, with
//! twice the channels of its neighbour. Sides that are no powers of two (28, 36, …) have deepest maps of 5, 6, 7 or 9 pixels.

use burn::module::Module;
use burn::tensor::Tensor;
use opticus_kernels::{Function, engine};

use super::spectral::{SpectralConv2d, SpectralConv2dConfig, SpectralLinear};
use super::{GanConfig, Look, with_deviation};
use crate::nets::init::{Init, Scope, WeightInit};
use crate::nets::layers::{BatchNorm2d, ConvTranspose2d, ConvTranspose2dConfig, transparent_module};

/// Side of all windows but the deepest.
const WINDOW: usize = 4;
/// Standard deviation of the initial weights; section 4.
const DEVIATION: f64 = 0.02;
/// Slope of the discriminator's LeakyReLU below zero; section 4.
const SLOPE: f32 = 0.2;

/// Channels of the feature maps, from the side of half a picture down to the deepest.
fn widths(config: &GanConfig, first: usize) -> Vec<usize> {
    (0..config.seed().1).map(|depth| first << depth).collect()
}

impl Generator {
    /// Section 3: norm and ReLU everywhere but behind the last layer, which gives pictures by Tanh.
    pub(super) fn new(config: &GanConfig, scope: &Scope) -> Self {
        let mut main = Stack::new(scope);
        let up = |inputs, outputs, window| {
            ConvTranspose2dConfig::new(inputs, outputs, window).no_bias().init(WeightInit::Normal(DEVIATION))
        };
        let mut inputs = config.latent + config.condition;
        for (depth, &outputs) in widths(config, config.generator_width).iter().rev().enumerate() {
            let layer = match depth {
                0 => up(inputs, outputs, config.seed().0),
                _ => up(inputs, outputs, WINDOW).stride(2).padding(1),
            };
            main.add(|scope| Layer::Up(layer.build(scope)));
            main.norm(outputs);
            main.function(Function::Relu);
            inputs = outputs;
        }
        main.add(|scope| Layer::Up(up(inputs, config.channels, WINDOW).stride(2).padding(1).build(scope)));
        main.function(Function::Tanh);
        Self { main: main.layers }
    }
}

impl Discriminator {
    /// Section 3: LeakyReLU everywhere, norm everywhere but around the pictures and the verdict; no norm with spectral
    /// normalisation.
    pub(super) fn new(config: &GanConfig, scope: &Scope) -> Self {
        let spectral = config.spectral_norm;
        let mut main = Stack::new(scope);
        let down = |inputs, outputs, kernel, stride, padding| SpectralConv2dConfig {
            inputs,
            outputs,
            kernel,
            stride,
            padding,
            bias: spectral,
            spectral,
            init: WeightInit::Normal(DEVIATION),
        };
        let mut inputs = config.channels;
        for (depth, outputs) in widths(config, config.discriminator_width).into_iter().enumerate() {
            main.add(|scope| Layer::Down(down(inputs, outputs, WINDOW, 2, 1).build(scope)));
            if depth > 0 && !spectral {
                main.norm(outputs);
            }
            main.function(Function::LeakyRelu(SLOPE));
            inputs = outputs;
        }
        inputs += usize::from(config.minibatch_std);
        main.add(|scope| Layer::Down(down(inputs, 1, config.seed().0, 1, 0).build(scope)));
        let project = |scope: &Scope| {
            SpectralLinear::new(
                scope,
                [config.condition, inputs],
                false,
                spectral,
                WeightInit::Normal(DEVIATION),
            )
        };
        Self {
            main: main.layers,
            project: (config.condition > 0).then(|| project(&scope.at("project"))),
            minibatch_std: config.minibatch_std,
        }
    }
}

/// Makes pictures from noise.
#[derive(Module, Debug)]
pub struct Generator {
    main: Vec<Layer>,
}

impl Generator {
    /// Latent numbers [n, latent], usually normal with deviation one, to pictures [n, channels, side, side] in
    /// [-1, 1].
    pub fn forward(&self, latent: Tensor<2>) -> Tensor<4> {
        let [n, numbers] = latent.dims();
        run(&self.main, latent.reshape([n, numbers, 1, 1])) // [n, channels, side, side]
    }
}

/// Tells pictures of the data from pictures made.
#[derive(Module, Debug)]
pub struct Discriminator {
    main: Vec<Layer>,
    project: Option<SpectralLinear>,
    minibatch_std: bool,
}

impl Discriminator {
    /// Verdicts are logits: PyTorch's example ends in a sigmoid; here that belongs to the loss, which is exact at both
    /// ends then.
    pub(super) fn look(&self, pictures: Tensor<4>) -> Look {
        let n = pictures.dims()[0];
        let (before, verdict) = self.main.split_at(self.main.len().saturating_sub(1));
        let mut x = run(before, pictures);
        if self.minibatch_std {
            x = with_deviation(x);
        }
        let real = run(verdict, x.clone()).reshape([n]);
        Look::new(real, x, self.project.as_ref())
    }

    pub(super) fn iterate(&self) {
        for layer in &self.main {
            if let Layer::Down(conv) = layer {
                conv.iterate();
            }
        }
        self.project.iter().for_each(SpectralLinear::iterate);
    }
}

/// One entry of `main`.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lists are short and built once")]
enum Layer {
    Up(ConvTranspose2d),
    Down(SpectralConv2d),
    Norm(BatchNorm2d),
    Each(Each),
}

transparent_module!(Layer { Up, Down, Norm, Each });

/// A function of each value, which has a number in PyTorch's list but no parameters.
#[derive(Module, Debug)]
struct Each {
    #[module(skip)]
    function: Function,
}

/// Runs the layers one after another; ReLU in the pass of the norm before it.
fn run(layers: &[Layer], mut x: Tensor<4>) -> Tensor<4> {
    let mut rest = layers;
    while let [layer, then @ ..] = rest {
        (x, rest) = match (layer, then) {
            (Layer::Norm(norm), [Layer::Each(Each { function: Function::Relu }), then @ ..]) => {
                (norm.forward_relu(x), then)
            }
            (Layer::Up(up), _) => (up.forward(x), then),
            (Layer::Down(down), _) => (down.forward(x), then),
            (Layer::Norm(norm), _) => (norm.forward(x), then),
            (Layer::Each(each), _) => (engine::activate(x, each.function), then),
        };
    }
    x
}

/// A list that numbers its layers as it grows.
struct Stack {
    scope: Scope,
    layers: Vec<Layer>,
}

impl Stack {
    fn new(scope: &Scope) -> Self {
        Self { scope: scope.at("main"), layers: Vec::new() }
    }

    fn add(&mut self, layer: impl FnOnce(&Scope) -> Layer) {
        self.layers.push(layer(&self.scope.at(self.layers.len())));
    }

    fn norm(&mut self, channels: usize) {
        self.add(|scope| Layer::Norm(BatchNorm2d::drawn(scope, channels, Init::NormalAroundOne(DEVIATION))));
    }

    fn function(&mut self, function: Function) {
        self.add(|_| Layer::Each(Each { function }));
    }
}
