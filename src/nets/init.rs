//! Initial weights: a pure function of (seed, parameter name), the same on every device and thread count.
//!
//! A [`Scope`] walks down the tree of names while a network is built, so a parameter's path at construction is
//! its path in the state, and adding a layer does not disturb the draws of the others.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Where in the network we are, and how its parameters come to be.
#[derive(Clone, Debug)]
pub struct Scope {
    path: String,
    seed: Option<u64>,
    device: Device,
}

impl Scope {
    /// The root of a network whose parameters are drawn from `seed`.
    pub fn seeded(seed: u64, device: &Device) -> Self {
        Self { path: String::new(), seed: Some(seed), device: device.clone() }
    }

    /// The root of a network whose parameters are all zero, to be loaded afterwards.
    pub fn blank(device: &Device) -> Self {
        Self { path: String::new(), seed: None, device: device.clone() }
    }

    /// The scope of the child called `name` (a field, or an index in a list).
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { path, ..self.clone() }
    }

    /// The device the parameters are made on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A trainable parameter called `name` in this scope.
    pub fn param<const D: usize>(&self, name: &str, shape: [usize; D], init: Init) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let values = match self.seed {
            None => vec![0.0; count],
            Some(seed) => init.values(seed, &self.at(name).path, count),
        };
        Param::from_data(TensorData::new(values, shape), &self.device)
    }
}

/// A distribution of initial values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every value the same.
    Constant(f32),
    /// Uniform in `[-bound, bound)`.
    Uniform(f64),
    /// Normal with mean zero and this standard deviation.
    Normal(f64),
    /// Normal with mean one and this standard deviation.
    NormalAroundOne(f64),
}

/// Values drawn from one stream of the generator. Streams make large tensors quick to fill on many threads
/// without the result depending on their number.
const CHUNK: usize = 1 << 15;

impl Init {
    fn values(self, seed: u64, name: &str, count: usize) -> Vec<f32> {
        if let Self::Constant(value) = self {
            return vec![value; count];
        }
        let rng = rng_for(seed, name);
        let mut values = vec![0.0; count];
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(stream, chunk)| {
            let mut rng = rng.clone();
            rng.set_stream(stream as u64);
            self.fill(chunk, &mut rng);
        });
        values
    }

    fn fill(self, values: &mut [f32], rng: &mut ChaCha8Rng) {
        match self {
            Self::Constant(value) => values.fill(value),
            Self::Uniform(bound) => {
                values.iter_mut().for_each(|value| *value = ((2.0 * unit(rng) - 1.0) * bound) as f32);
            }
            Self::NormalAroundOne(deviation) => {
                Self::Normal(deviation).fill(values, rng);
                values.iter_mut().for_each(|value| *value += 1.0);
            }
            Self::Normal(deviation) => {
                for pair in values.chunks_mut(2) {
                    // Box–Muller: `1 - u` keeps the logarithm's argument in (0, 1].
                    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt() * deviation;
                    let (sin, cos) = (std::f64::consts::TAU * unit(rng)).sin_cos();
                    pair.iter_mut().zip([cos, sin]).for_each(|(value, part)| *value = (radius * part) as f32);
                }
            }
        }
    }
}

/// How the weights of a convolution or a dense layer are drawn, from the number of values that enter (`fan_in`)
/// and leave (`fan_out`) one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightInit {
    /// Glorot and Bengio (2010): uniform within √(6 / (fan_in + fan_out)); Keras' default. Biases zero.
    GlorotUniform,
    /// He et al. (2015) for ReLU: normal with deviation √(2 / fan_out). Biases zero.
    KaimingNormalFanOut,
    /// He et al. (2015) for ReLU: normal with deviation √(2 / fan_in). Biases zero.
    KaimingNormalFanIn,
    /// He et al. (2015) for ReLU: uniform within √(6 / fan_in). Biases zero.
    KaimingUniformFanIn,
    /// LeCun et al. (1998) for no function at all: uniform within √(3 / fan_in). Biases zero.
    LecunUniform,
    /// Normal with this deviation. Biases zero.
    Normal(f64),
    /// What PyTorch's layers do when told nothing: weights and biases uniform within 1 / √fan_in.
    TorchDefault,
}

impl WeightInit {
    /// The distribution of the weights.
    pub fn weight(self, fan_in: usize, fan_out: usize) -> Init {
        let (fan_in, fan_out) = (fan_in as f64, fan_out as f64);
        match self {
            Self::GlorotUniform => Init::Uniform((6.0 / (fan_in + fan_out)).sqrt()),
            Self::KaimingNormalFanOut => Init::Normal((2.0 / fan_out).sqrt()),
            Self::KaimingNormalFanIn => Init::Normal((2.0 / fan_in).sqrt()),
            Self::KaimingUniformFanIn => Init::Uniform((6.0 / fan_in).sqrt()),
            Self::LecunUniform => Init::Uniform((3.0 / fan_in).sqrt()),
            Self::Normal(deviation) => Init::Normal(deviation),
            Self::TorchDefault => Init::Uniform((1.0 / fan_in).sqrt()),
        }
    }

    /// The distribution of the biases.
    pub fn bias(self, fan_in: usize) -> Init {
        match self {
            Self::TorchDefault => Init::Uniform((1.0 / fan_in as f64).sqrt()),
            _ => Init::Constant(0.0),
        }
    }
}

fn rng_for(seed: u64, name: &str) -> ChaCha8Rng {
    let key = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name).finalize();
    ChaCha8Rng::from_seed(key.into())
}

/// Uniform in [0, 1), with 32 bits of resolution.
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) * (1.0 / 4_294_967_296.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn draws_have_the_moments_and_bounds_they_claim() {
        let uniform = Init::Uniform(0.3).values(1, "w", 3 * CHUNK + 1);
        let (mean, deviation) = moments(&uniform);
        assert!(mean.abs() < 2e-3 && (deviation - 0.3 / 3f64.sqrt()).abs() < 1e-3, "{mean} {deviation}");
        assert!(uniform.iter().all(|v| v.abs() <= 0.3));
        let (mean, deviation) = moments(&Init::Normal(0.02).values(1, "w", 3 * CHUNK + 1));
        assert!(mean.abs() < 2e-4 && (deviation - 0.02).abs() < 2e-4, "{mean} {deviation}");
        let (mean, deviation) = moments(&Init::NormalAroundOne(0.02).values(1, "w", 3 * CHUNK + 1));
        assert!((mean - 1.0).abs() < 2e-4 && (deviation - 0.02).abs() < 2e-4, "{mean} {deviation}");
    }

    #[test]
    fn draws_depend_on_seed_and_name_only() {
        let draw = |seed, name| Init::Normal(1.0).values(seed, name, 9);
        assert_eq!(draw(7, "a"), draw(7, "a"));
        assert_ne!(draw(7, "a"), draw(8, "a"));
        assert_ne!(draw(7, "a"), draw(7, "b"));
        // A shorter draw is a prefix of a longer one: the stream does not depend on the shape.
        assert_eq!(Init::Normal(1.0).values(7, "a", 3), draw(7, "a")[..3]);
    }

    #[test]
    fn fan_rules_follow_their_papers() {
        assert_eq!(WeightInit::GlorotUniform.weight(27, 288), Init::Uniform((6.0f64 / 315.0).sqrt()));
        assert_eq!(WeightInit::KaimingNormalFanOut.weight(27, 288), Init::Normal((2.0f64 / 288.0).sqrt()));
        assert_eq!(WeightInit::TorchDefault.bias(25), Init::Uniform(0.2));
        assert_eq!(WeightInit::Normal(0.01).bias(25), Init::Constant(0.0));
    }
}
