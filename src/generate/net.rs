//! The two players, each with an encoder of its own for what pictures are asked by.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use crate::error::Result;
use crate::nets::gan::{self, ConditionEncoder, ConditionInput, GanConfig};
use crate::nets::init::Scope;

/// What pictures are, to a model: stored in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pictures {
    /// What they are asked by.
    pub condition: Condition,
    /// How samples become the network's values.
    pub values: Values,
}

/// How samples of 8 bits become the network's values, and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Values {
    /// `v / 127.5 − 1`; with alpha, colour is multiplied by it first, so that what cannot be seen need not be
    /// learnt.
    #[default]
    Symmetric,
}

/// Draws.
#[derive(Module, Debug)]
pub struct Artist {
    /// The network.
    pub generator: gan::Generator,
    /// What takes in the condition.
    pub encoder: Option<ConditionEncoder>,
}

impl Artist {
    /// An artist at this place.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for layers that make no sense.
    pub fn new(config: &GanConfig, condition: &Condition, scope: &Scope) -> Result<Self> {
        let encoder =
            condition.encoder().map(|e| e.build(config.condition, &scope.at("encoder"))).transpose()?;
        Ok(Self { generator: config.generator(&scope.at("generator"))?, encoder })
    }

    /// Latent numbers [n, latent] to pictures [n, c, h, w] in [-1, 1].
    pub fn forward(&self, latent: Tensor<2>, input: Option<&ConditionInput>) -> Tensor<4> {
        self.generator.forward(latent, encode(self.encoder.as_ref(), input))
    }
}

/// Judges.
#[derive(Module, Debug)]
pub struct Critic {
    /// The network.
    pub discriminator: gan::Discriminator,
    /// What takes in the condition.
    pub encoder: Option<ConditionEncoder>,
}

impl Critic {
    /// A critic at this place.
    ///
    /// # Errors
    /// As [`Artist::new`].
    pub fn new(config: &GanConfig, condition: &Condition, scope: &Scope) -> Result<Self> {
        let encoder =
            condition.encoder().map(|e| e.build(config.condition, &scope.at("encoder"))).transpose()?;
        Ok(Self { discriminator: config.discriminator(&scope.at("discriminator"))?, encoder })
    }

    /// What is asked for, as vectors [n, condition].
    pub fn encode(&self, input: Option<&ConditionInput>) -> Option<Tensor<2>> {
        encode(self.encoder.as_ref(), input)
    }
}

fn encode(encoder: Option<&ConditionEncoder>, input: Option<&ConditionInput>) -> Option<Tensor<2>> {
    Some(encoder?.forward(input?))
}

/// Latent numbers of several pictures as a tensor [n, latent].
pub fn latents(numbers: Vec<f32>, latent: usize, device: &burn::tensor::Device) -> Tensor<2> {
    let n = numbers.len() / latent.max(1);
    Tensor::from_data(TensorData::new(numbers, [n, latent]), device)
}
