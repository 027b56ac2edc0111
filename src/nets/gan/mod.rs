//! Generators and discriminators. A kind of network is one file here, one variant of [`Generator`] and
//! [`Discriminator`], and one row of [`GanKind`].
//!
//! Every generator takes latent numbers [n, latent] and, where it has a condition, its embedding [n, condition]; every
//! discriminator gives the verdict ψ(φ(x)) + ⟨V e, φ(x)⟩ of a picture x and an embedding e: projection (Miyato and Koyama
//! 2018, "cGANs with Projection Discriminator", eq. 3).

mod attention;
mod config;
pub mod dcgan;
mod dense;
mod encoder;
mod matcher;
mod norm;
mod resnet;
mod spectral;

use burn::tensor::Tensor;

use super::init::Scope;
use super::layers::transparent_module;

pub use attention::SelfAttention;
pub use config::{GanConfig, GanKind};
pub use dense::{DenseDiscriminator, DenseGenerator};
pub use encoder::{ConditionEncoder, ConditionInput, EncoderConfig};
pub use matcher::{Matcher, MatcherConfig, same};
pub use norm::ModulatedNorm;
pub use resnet::{ResnetDiscriminator, ResnetGenerator};
pub use spectral::{SpectralConv2d, SpectralLinear};

/// Makes pictures from latent numbers.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub enum Generator {
    /// Of dense layers.
    Dense(DenseGenerator),
    /// DCGAN's.
    Dcgan(dcgan::Generator),
    /// Of residual blocks.
    Resnet(ResnetGenerator),
}

transparent_module!(Generator { Dense, Dcgan, Resnet });

impl Generator {
    /// The generator of a configuration, at this place.
    fn new(config: &GanConfig, scope: &Scope) -> Self {
        match config.name {
            GanKind::DenseGan => Self::Dense(DenseGenerator::new(config, scope)),
            GanKind::Dcgan => Self::Dcgan(dcgan::Generator::new(config, scope)),
            GanKind::ModulatedGan | GanKind::ResnetGan => Self::Resnet(ResnetGenerator::new(config, scope)),
        }
    }

    /// Latent numbers [n, latent], usually normal of deviation one, and a condition's embedding [n, condition] to pictures
    /// [n, channels, side, side] in [-1, 1].
    pub fn forward(&self, latent: Tensor<2>, condition: Option<Tensor<2>>) -> Tensor<4> {
        match self {
            Self::Dense(net) => net.forward(together(latent, condition)),
            Self::Dcgan(net) => net.forward(together(latent, condition)),
            Self::Resnet(net) => net.forward(together(latent, condition)),
        }
    }
}

/// Latent numbers and a condition's embedding, side by side.
fn together(latent: Tensor<2>, condition: Option<Tensor<2>>) -> Tensor<2> {
    match condition {
        Some(condition) => Tensor::cat(vec![latent, condition], 1),
        None => latent,
    }
}

/// Tells pictures of the data from pictures made.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub enum Discriminator {
    /// The article's.
    Dense(DenseDiscriminator),
    /// DCGAN's.
    Dcgan(dcgan::Discriminator),
    /// Of residual blocks.
    Resnet(ResnetDiscriminator),
}

transparent_module!(Discriminator { Dense, Dcgan, Resnet });

impl Discriminator {
    /// The discriminator of a configuration, at this place.
    fn new(config: &GanConfig, scope: &Scope) -> Self {
        match config.name {
            GanKind::DenseGan => Self::Dense(DenseDiscriminator::new(config, scope)),
            GanKind::Dcgan | GanKind::ModulatedGan => Self::Dcgan(dcgan::Discriminator::new(config, scope)),
            GanKind::ResnetGan => Self::Resnet(ResnetDiscriminator::new(config, scope)),
        }
    }

    /// Pictures [n, channels, side, side] in [-1, 1] and a condition's embedding [n, condition] to verdicts `[n]`, above zero
    /// for what looks real and fits.
    pub fn forward(&self, pictures: Tensor<4>, condition: Option<Tensor<2>>) -> Tensor<1> {
        self.look(pictures).verdict(condition)
    }

    /// What is seen in pictures [n, channels, side, side] before a condition is asked for.
    pub fn look(&self, pictures: Tensor<4>) -> Look {
        match self {
            Self::Dense(net) => net.look(pictures),
            Self::Dcgan(net) => net.look(pictures),
            Self::Resnet(net) => net.look(pictures),
        }
    }

    /// One step of power iteration for every layer whose weight is divided by its largest singular value; to be taken
    /// before each step of training.
    pub fn iterate(&self) {
        match self {
            Self::Dense(net) => net.iterate(),
            Self::Dcgan(net) => net.iterate(),
            Self::Resnet(net) => net.iterate(),
        }
    }
}

/// What a discriminator sees in pictures.
#[derive(Clone, Debug)]
pub struct Look {
    /// ψ(φ(x)), `[n]`: how real they look.
    real: Tensor<1>,
    /// φ(x), [n, features], maps summed over their places (Miyato and Koyama 2018, section 4).
    features: Tensor<2>,
    /// V.
    project: Option<SpectralLinear>,
}

impl Look {
    fn new(real: Tensor<1>, maps: Tensor<4>, project: Option<&SpectralLinear>) -> Self {
        Self { real, features: pooled(maps), project: project.cloned() }
    }

    /// The verdicts `[n]` where this [n, condition] is asked for.
    pub fn verdict(&self, condition: Option<Tensor<2>>) -> Tensor<1> {
        match (&self.project, condition) {
            (Some(by), Some(condition)) => {
                let n = self.real.dims()[0];
                self.real.clone() + (by.forward(condition) * self.features.clone()).sum_dim(1).reshape([n])
            }
            _ => self.real.clone(),
        }
    }
}

/// Maps [n, c, h, w] summed over their places, [n, c].
fn pooled(x: Tensor<4>) -> Tensor<2> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).sum_dim(2).reshape([n, c])
}

/// The maps [n, c, h, w] with one more: how much the pictures of a group of four differ, over all features and places
/// (Karras et al. 2018, "Progressive Growing of GANs", section 3).
fn with_deviation(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let group = if n % 4 == 0 { 4 } else { n };
    let grouped = x.clone().reshape([group, n / group, c * h * w]);
    let centred = grouped.clone() - grouped.mean_dim(0);
    // The constant keeps the root's slope finite where pictures are alike.
    let deviation = (centred.square().mean_dim(0) + 1e-8).sqrt().mean_dim(2); // [1, n / group, 1]
    let map = deviation.expand([group, n / group, 1]).reshape([n, 1, 1, 1]).expand([n, 1, h, w]);
    Tensor::cat(vec![x, map], 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::module::Module;
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::nets::state::{self, host};

    fn tensor<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i as f32 * 0.7).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn small(name: GanKind, side: usize, channels: usize) -> GanConfig {
        GanConfig {
            latent: 6,
            generator_width: 4,
            discriminator_width: 4,
            condition: 5,
            attention: name == GanKind::ResnetGan,
            spectral_norm: true,
            minibatch_std: true,
            ..GanConfig::defaults(name, side, channels)
        }
    }

    #[test]
    fn every_kind_makes_and_judges_every_size() {
        let device = Device::flex();
        let scope = Scope::seeded(1, &device);
        for kind in GanKind::ALL {
            for (side, channels) in [(16, 1), (28, 1), (32, 4), (36, 3), (64, 3)] {
                for conditional in [true, false] {
                    let mut config = small(kind, side, channels);
                    config.condition = if conditional { 5 } else { 0 };
                    let condition = || conditional.then(|| tensor([4, 5], &device));
                    let pictures =
                        config.generator(&scope).unwrap().forward(tensor([4, 6], &device), condition());
                    assert_eq!(pictures.dims(), [4, channels, side, side], "{kind:?}");
                    assert!(host(pictures.clone()).iter().all(|v| v.abs() <= 1.0));
                    let judge = config.discriminator(&scope).unwrap();
                    judge.iterate();
                    let verdicts = host(judge.forward(pictures, condition()));
                    assert!(verdicts.len() == 4 && verdicts.iter().all(|v| v.is_finite()), "{kind:?}");
                }
            }
        }
    }

    /// The generator learns through the discriminator: its gradients are those of finite differences.
    #[test]
    fn gradients_pass_through_both_networks() {
        let device = Device::flex().autodiff();
        for kind in GanKind::ALL {
            let config = small(kind, 16, 1);
            let generator = config.generator(&Scope::seeded(2, &device)).unwrap();
            let judge = config.discriminator(&Scope::seeded(3, &device)).unwrap();
            judge.iterate();
            let e = tensor([4, 5], &device);
            let loss = |latent: Tensor<2>| {
                let pictures = generator.forward(latent, Some(e.clone()));
                judge.forward(pictures, Some(e.clone())).sum()
            };
            let latent = tensor([4, 6], &device).require_grad();
            let gradient = latent.grad(&loss(latent.clone()).backward()).unwrap();
            let gradient: Vec<f32> = gradient.into_data().iter().collect();
            let values: Vec<f32> = latent.into_data().iter().collect();
            let (mut apart, mut norm) = (0.0f64, 0.0f64);
            for (i, slope) in gradient.iter().enumerate() {
                let at = |h: f32| {
                    let mut moved = values.clone();
                    moved[i] += h;
                    f64::from(
                        loss(Tensor::from_data(TensorData::new(moved, [4, 6]), &device)).into_scalar::<f32>(),
                    )
                };
                let h = 5e-4;
                let expected = (at(h) - at(-h)) / (2.0 * f64::from(h));
                apart += (expected - f64::from(*slope)).powi(2);
                norm += expected.powi(2);
            }
            assert!(norm > 1e-6, "{kind:?}: no gradient at all");
            // Where a relu turns within the step, differences are off; they are few.
            assert!(apart < 0.01 * norm, "{kind:?}: {apart} of {norm}");
        }
    }

    #[test]
    fn the_condition_counts_and_the_state_comes_back() {
        let device = Device::flex();
        for kind in GanKind::ALL {
            let config = small(kind, 16, 3);
            let judge = config.discriminator(&Scope::seeded(3, &device)).unwrap();
            let pictures = tensor([4, 3, 16, 16], &device);
            let verdicts = |judge: &Discriminator, e: f32| {
                host(judge.forward(pictures.clone(), Some(tensor([4, 5], &device) * e)))
            };
            assert_ne!(verdicts(&judge, 1.0), verdicts(&judge, -1.0), "{kind:?}");
            judge.iterate();
            let blank = config.discriminator(&Scope::blank(&device)).unwrap();
            let loaded = state::load_map(blank, &state::to_map(&judge)).unwrap();
            assert_eq!(verdicts(&judge, 1.0), verdicts(&loaded, 1.0), "{kind:?}");
            assert!(loaded.num_params() > 0);
        }
    }

    #[test]
    fn deviation_is_over_groups() {
        let device = Device::flex();
        let x = tensor([8, 2, 3, 3], &device);
        let y = with_deviation(x.clone());
        assert_eq!(y.dims(), [8, 3, 3, 3]);
        let same = with_deviation(x.slice([0..1, 0..2, 0..3, 0..3]).expand([8, 2, 3, 3]));
        let map = host(same.slice([0..8, 2..3, 0..3, 0..3]));
        assert!(map.iter().all(|v| *v < 1e-3));
    }
}
