//! A network that fuses pictures: an encoder that sees one picture, a decoder that sees features which were merged in
//! between. The layout is DenseFuse's (Li and Wu, 2019, "DenseFuse: A Fusion Approach to Infrared and Visible
//! Images", section III-A): a convolution and a dense block, then convolutions back to one plane. Here a last
//! convolution of the encoder gives features of either sign, like the coefficients of a transform: of two pictures'
//! rectified features, a rising edge of one and a falling edge of the other would both be kept.
//!
//! Every convolution is 3×3 with zeros around the picture, so that a value depends on the pixels at most [`REACH`]
//! away: callers add as many mirrored pixels and cut them off again. None has a bias: the network is homogeneous, so that
//! what it makes of faint detail is what it makes of strong detail, only fainter, and of none it makes none.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::init::{Scope, WeightInit};
use super::layers::{Conv2d, Conv2dConfig};
use crate::{Error, Result};

/// Convolutions of the dense block behind the first.
const DENSE: usize = 3;
/// How far a value sees: five convolutions of the encoder, three of the decoder.
pub const REACH: usize = 2 + DENSE + 3;
/// A bound that keeps a hostile card from asking for absurd memory.
const MAX_WIDTH: usize = 256;

/// Everything that fixes the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FusionNetConfig {
    /// Channels that each convolution of the dense block gives; there are twice as many features.
    pub width: usize,
}

impl Default for FusionNetConfig {
    fn default() -> Self {
        Self { width: 16 }
    }
}

impl FusionNetConfig {
    /// # Errors
    /// [`Error::Config`] for a width of nothing or beyond reason.
    pub fn validate(&self) -> Result<()> {
        match (2..=MAX_WIDTH).contains(&self.width) && self.width.is_multiple_of(2) {
            true => Ok(()),
            false => Err(Error::Config(format!(
                "net.width is {}; give an even number of 2 to {MAX_WIDTH}",
                self.width
            ))),
        }
    }

    /// The network at this place.
    pub fn build(&self, scope: &Scope) -> FusionNet {
        let conv = |inputs, outputs, place: Scope| {
            Conv2dConfig::new(inputs, outputs, 3)
                .padding(1)
                .no_bias()
                .init(WeightInit::KaimingNormalFanIn)
                .build(&place)
        };
        let width = self.width;
        let widths = [2 * width, 2 * width, width];
        FusionNet {
            first: conv(1, width, scope.at("first")),
            dense: (0..DENSE).map(|i| conv(width * (i + 1), width, scope.at("dense").at(i))).collect(),
            features: conv(width * (1 + DENSE), 2 * width, scope.at("features")),
            decoder: widths
                .windows(2)
                .enumerate()
                .map(|(i, pair)| conv(pair[0], pair[1], scope.at("decoder").at(i)))
                .collect(),
            last: conv(width, 1, scope.at("last")),
        }
    }
}

/// The encoder and the decoder.
#[derive(Module, Debug)]
pub struct FusionNet {
    first: Conv2d,
    dense: Vec<Conv2d>,
    features: Conv2d,
    decoder: Vec<Conv2d>,
    last: Conv2d,
}

impl FusionNet {
    /// Detail [n, 1, h, w] to features [n, 2·width, h, w].
    pub fn encode(&self, x: Tensor<4>) -> Tensor<4> {
        let mut seen = self.first.forward_relu(x); // [n, width, h, w]
        for conv in &self.dense {
            let new = conv.forward_relu(seen.clone());
            seen = Tensor::cat(vec![seen, new], 1); // [n, width more, h, w]
        }
        self.features.forward(seen) // [n, 2·width, h, w]
    }

    /// Features [n, 2·width, h, w] to detail [n, 1, h, w].
    pub fn decode(&self, features: Tensor<4>) -> Tensor<4> {
        let x = self.decoder.iter().fold(features, |x, conv| conv.forward_relu(x)); // [n, width, h, w]
        self.last.forward(x) // [n, 1, h, w]
    }
}
