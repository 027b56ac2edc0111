//! DCGAN's two networks (Radford, Metz and Chintala, 2016, "Unsupervised Representation Learning with Deep
//! Convolutional Generative Adversarial Networks", section 3), with the layers, initial values and names of
//! PyTorch's example (`main.0.weight`, …).
//!
//! Pictures of 64 pixels have five layers in each network; each doubling of the side adds one at the deep end, with
//! twice the channels of its neighbour.

use burn::module::Module;
use burn::tensor::Tensor;
use opticus_kernels::{Function, engine};
use serde::{Deserialize, Serialize};

use super::init::{Init, Scope, WeightInit};
use super::layers::{
    BatchNorm2d, Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig, transparent_module,
};
use crate::{Error, Result};

/// Side of the deepest feature maps, and of all windows.
const SEED: usize = 4;
const SMALLEST: usize = 16;
const LARGEST: usize = 128;
/// Bounds that keep a hostile card from asking for absurd memory.
const MAX_LATENT: usize = 4096;
const MAX_WIDTH: usize = 1024;
/// Standard deviation of the initial weights; section 4.
const DEVIATION: f64 = 0.02;
/// Slope of the discriminator's LeakyReLU below zero; section 4.
const SLOPE: f32 = 0.2;

/// Everything that fixes the layers of both networks. Defaults: those of PyTorch's example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DcganConfig {
    /// Width and height of the pictures: 16, 32, 64 or 128.
    pub image_size: usize,
    /// Channels of the pictures: 1 for grey, 3 for colour, 4 with alpha.
    pub channels: usize,
    /// Numbers that a picture is made from.
    pub latent: usize,
    /// Channels of the generator's last feature map.
    pub generator_width: usize,
    /// Channels of the discriminator's first feature map.
    pub discriminator_width: usize,
}

impl Default for DcganConfig {
    fn default() -> Self {
        Self { image_size: 64, channels: 3, latent: 100, generator_width: 64, discriminator_width: 64 }
    }
}

impl DcganConfig {
    /// Checks that the networks can be built.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        let Self { image_size, channels, latent, generator_width, discriminator_width } = *self;
        let refuse = |what: String| Err(Error::Config(format!("dcgan: {what}")));
        if !image_size.is_power_of_two() || !(SMALLEST..=LARGEST).contains(&image_size) {
            return refuse(format!("image_size {image_size}; give 16, 32, 64 or 128"));
        }
        if ![1, 3, 4].contains(&channels) {
            return refuse(format!("{channels} channels; give 1 for grey, 3 for colour, 4 with alpha"));
        }
        if !(1..=MAX_LATENT).contains(&latent) {
            return refuse(format!("latent {latent}; give 1 to {MAX_LATENT}"));
        }
        for (name, width) in
            [("generator_width", generator_width), ("discriminator_width", discriminator_width)]
        {
            if !(1..=MAX_WIDTH).contains(&width) {
                return refuse(format!("{name} {width}; give 1 to {MAX_WIDTH}"));
            }
        }
        Ok(())
    }

    /// The generator at this place.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn generator(&self, scope: &Scope) -> Result<Generator> {
        self.validate()?;
        let mut main = Stack::new(scope);
        // Section 3: norm and ReLU everywhere but behind the last layer, which gives pictures by Tanh.
        let widths = self.widths(self.generator_width);
        let up = |inputs, outputs| {
            ConvTranspose2dConfig::new(inputs, outputs, SEED).no_bias().init(WeightInit::Normal(DEVIATION))
        };
        let mut inputs = self.latent;
        for (depth, &outputs) in widths.iter().rev().enumerate() {
            let layer = up(inputs, outputs);
            main.add(|scope| {
                Layer::Up(if depth == 0 { layer } else { layer.stride(2).padding(1) }.build(scope))
            });
            main.norm(outputs);
            main.function(Function::Relu);
            inputs = outputs;
        }
        main.add(|scope| Layer::Up(up(inputs, self.channels).stride(2).padding(1).build(scope)));
        main.function(Function::Tanh);
        Ok(Generator { main: main.layers })
    }

    /// The discriminator at this place.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn discriminator(&self, scope: &Scope) -> Result<Discriminator> {
        self.validate()?;
        let mut main = Stack::new(scope);
        // Section 3: LeakyReLU everywhere, norm everywhere but around the pictures and the verdict.
        let down = |inputs, outputs| {
            Conv2dConfig::new(inputs, outputs, SEED).no_bias().init(WeightInit::Normal(DEVIATION))
        };
        let mut inputs = self.channels;
        for (depth, outputs) in self.widths(self.discriminator_width).into_iter().enumerate() {
            main.add(|scope| Layer::Down(down(inputs, outputs).stride(2).padding(1).build(scope)));
            if depth > 0 {
                main.norm(outputs);
            }
            main.function(Function::LeakyRelu(SLOPE));
            inputs = outputs;
        }
        main.add(|scope| Layer::Down(down(inputs, 1).build(scope)));
        Ok(Discriminator { main: main.layers })
    }

    /// Channels of the feature maps, from the side of half a picture down to [`SEED`].
    fn widths(&self, first: usize) -> Vec<usize> {
        let maps = (self.image_size / SEED).trailing_zeros();
        (0..maps).map(|depth| first << depth).collect()
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
}

impl Discriminator {
    /// Pictures [n, channels, side, side] in [-1, 1] to logits `[n]`, above zero for what looks real. PyTorch's
    /// example ends in a sigmoid; here that belongs to the loss, which is exact at both ends then.
    pub fn forward(&self, pictures: Tensor<4>) -> Tensor<1> {
        let [n, _c, _h, _w] = pictures.dims();
        run(&self.main, pictures).reshape([n]) // [n]
    }
}

/// One entry of `main`.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lists are short and built once")]
enum Layer {
    Up(ConvTranspose2d),
    Down(Conv2d),
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
