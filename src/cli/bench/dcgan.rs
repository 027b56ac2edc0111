//! Steps of training DCGAN, and pictures made by it.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor, TensorData};

use super::{BenchArgs, Work, noise, repeat};
use crate::error::{Error, Result};
use crate::nets::gan::{Discriminator, GanConfig, GanKind, Generator};
use crate::nets::init::Scope;
use crate::train::{Optimizer, OptimizerConfig, Rule};

/// What `--net` calls it.
pub const NAME: &str = "dcgan";

/// Milliseconds of each step of training, or of each batch of pictures made.
pub fn time(work: Work, args: &BenchArgs, device: &Device) -> Result<Vec<f64>> {
    let config = GanConfig::defaults(GanKind::Dcgan, args.image_size as usize, 3);
    match work {
        Work::Infer => infer(&config, args, device),
        Work::Train => train(&config, args, device),
    }
}

fn infer(config: &GanConfig, args: &BenchArgs, device: &Device) -> Result<Vec<f64>> {
    let generator = config.generator(&Scope::seeded(0, device))?;
    let latent = latent(config, args.batch_size as usize, device);
    repeat(args.iterations, || {
        let pictures: Vec<f32> = generator.forward(latent.clone(), None).into_data().iter().collect();
        finite(&pictures)
    })
}

fn train(config: &GanConfig, args: &BenchArgs, device: &Device) -> Result<Vec<f64>> {
    let device = device.clone().autodiff();
    let n = args.batch_size as usize;
    let shape = [n, config.channels, config.image_size, config.image_size];
    let real = noise(shape.iter().product());
    let mut pair = Some(Pair::new(config, &device)?);
    repeat(args.iterations, || {
        let real = Tensor::<4>::from_data(TensorData::new(real.clone(), shape), &device);
        let mut losses = [0.0; 3];
        pair = pair.take().map(|pair| {
            let (pair, of_step) = pair.step(real, latent(config, n, &device));
            losses = of_step.map(|loss| loss.into_scalar());
            pair
        });
        finite(&losses)
    })
}

fn latent(config: &GanConfig, n: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(noise(n * config.latent), [n, config.latent]), device)
}

fn finite(values: &[f32]) -> Result<()> {
    match values.iter().all(|v| v.is_finite()) {
        true => Ok(()),
        false => Err(Error::Device("the networks gave numbers that are not finite".to_owned())),
    }
}

/// Both networks and what their training remembers.
struct Pair {
    generator: Generator,
    discriminator: Discriminator,
    of_generator: Optimizer,
    of_discriminator: Optimizer,
}

impl Pair {
    fn new(config: &GanConfig, device: &Device) -> Result<Self> {
        let adam =
            OptimizerConfig { kind: Rule::Adam, weight_decay: 0.0, beta1: 0.5, ..OptimizerConfig::default() };
        let scope = Scope::seeded(0, device);
        Ok(Self {
            generator: config.generator(&scope.at("generator"))?,
            discriminator: config.discriminator(&scope.at("discriminator"))?,
            of_generator: Optimizer::new(adam.clone())?,
            of_discriminator: Optimizer::new(adam)?,
        })
    }

    /// As in PyTorch's example: the discriminator learns to tell real pictures from made ones, then the generator
    /// to be taken for real. The losses of the three passes.
    fn step(mut self, real: Tensor<4>, latent: Tensor<2>) -> (Self, [Tensor<1>; 3]) {
        // A rate so small that the weights stay sane however long the timing takes.
        const RATE: f64 = 1e-6;
        let on_real = loss(self.discriminator.forward(real, None), true);
        let made = self.generator.forward(latent, None);
        let on_made = loss(self.discriminator.forward(made.clone().detach(), None), false);
        let gradients = (on_real.clone() + on_made.clone()).backward();
        let gradients = GradientsParams::from_grads(gradients, &self.discriminator);
        self.discriminator = self.of_discriminator.step(self.discriminator, &gradients, RATE);
        drop(gradients);
        // The gradient passes through the discriminator, but its own weights' is not asked for.
        let judge = self.discriminator.no_grad();
        let fooled = loss(judge.forward(made, None), true);
        let gradients = GradientsParams::from_grads(fooled.backward(), &self.generator);
        self.generator = self.of_generator.step(self.generator, &gradients, RATE);
        self.discriminator = judge.unfreeze();
        (self, [on_real, on_made, fooled])
    }
}

/// Binary cross-entropy of the logits' sigmoid: `softplus(−logit)` for what should be real, else `softplus(logit)`.
fn loss(logits: Tensor<1>, real: bool) -> Tensor<1> {
    softplus(if real { logits.neg() } else { logits }, 1.0).mean()
}
