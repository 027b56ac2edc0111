//! Which description belongs to which picture: two encoders into one space, learnt from pairs (Radford et al. 2021,
//! "Learning Transferable Visual Models From Natural Language Supervision", figure 3, on a small scale). A judge of text to
//! picture that no generator was trained against.

use burn::module::Module;
use burn::tensor::{Int, Tensor, activation};

use super::{ConditionEncoder, ConditionInput, EncoderConfig};
use crate::error::Result;
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{BatchNorm2d, Conv2d, Conv2dConfig, Linear};

/// What fixes a [`Matcher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatcherConfig {
    /// Width and height of the pictures.
    pub image_size: usize,
    /// Their channels.
    pub channels: usize,
    /// Channels of the first feature map.
    pub width: usize,
    /// Numbers of the common space.
    pub space: usize,
    /// What takes in the descriptions.
    pub encoder: EncoderConfig,
}

/// Two encoders into one space.
#[derive(Module, Debug)]
pub struct Matcher {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm2d>,
    output: Linear,
    encoder: ConditionEncoder,
}

impl MatcherConfig {
    /// The network at this place.
    ///
    /// # Errors
    /// As [`EncoderConfig::build`].
    pub fn build(self, scope: &Scope) -> Result<Matcher> {
        let (mut convs, mut norms) = (Vec::new(), Vec::new());
        let (mut inputs, mut side) = (self.channels, self.image_size);
        while side > 4 || convs.is_empty() {
            let depth = convs.len();
            let outputs = self.width << depth.min(3);
            let conv = Conv2dConfig::new(inputs, outputs, 4).stride(2).padding(1).no_bias();
            convs.push(conv.init(WeightInit::KaimingNormalFanIn).build(&scope.at("convs").at(depth)));
            norms.push(BatchNorm2d::new(&scope.at("norms").at(depth), outputs));
            (inputs, side) = (outputs, side / 2);
        }
        Ok(Matcher {
            convs,
            norms,
            output: Linear::new(
                &scope.at("output"),
                inputs * side * side,
                self.space,
                WeightInit::TorchDefault,
            ),
            encoder: self.encoder.build(self.space, &scope.at("encoder"))?,
        })
    }
}

impl Matcher {
    /// Features of pictures [n, channels, side, side], by which sets of pictures are compared: the last feature maps,
    /// [n, width of them].
    pub fn features(&self, pictures: Tensor<4>) -> Tensor<2> {
        let x = self.maps(pictures);
        let [n, c, h, w] = x.dims();
        x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c])
    }

    /// Pictures as vectors of length one, [n, space].
    pub fn pictures(&self, pictures: Tensor<4>) -> Tensor<2> {
        let x = self.maps(pictures);
        let [n, c, h, w] = x.dims();
        unit(self.output.forward(x.reshape([n, c * h * w])))
    }

    /// Descriptions as vectors of length one, [n, space].
    pub fn descriptions(&self, input: &ConditionInput) -> Tensor<2> {
        unit(self.encoder.forward(input))
    }

    /// How wrongly a batch's pictures and descriptions are paired: the mean cross-entropy of finding each picture's
    /// description and each description's picture among all of the batch. Descriptions that say the same count alike:
    /// `same` is [n, n], 1 where they do.
    pub fn loss(&self, pictures: Tensor<4>, input: &ConditionInput, same: Tensor<2>) -> Tensor<1> {
        /// Inverse of the temperature; Radford et al. clip theirs at 100.
        const SCALE: f32 = 12.0;
        let similar = self.pictures(pictures).matmul(self.descriptions(input).transpose()) * SCALE; // [n, n]
        let target = same.clone() / same.sum_dim(1);
        let entropy =
            |logits: Tensor<2>| -(activation::log_softmax(logits, 1) * target.clone()).sum_dim(1).mean();
        (entropy(similar.clone()) + entropy(similar.transpose())) * 0.5
    }

    fn maps(&self, pictures: Tensor<4>) -> Tensor<4> {
        self.convs
            .iter()
            .zip(&self.norms)
            .fold(pictures, |x, (conv, norm)| norm.forward_relu(conv.forward(x)))
    }
}

/// Rows of length one.
fn unit(x: Tensor<2>) -> Tensor<2> {
    let length = (x.clone().square().sum_dim(1) + 1e-12).sqrt();
    x / length
}

/// Which of a batch's descriptions say the same, [n, n], from tokens [n, length].
pub fn same(tokens: &Tensor<2, Int>) -> Tensor<2> {
    let [n, length] = tokens.dims();
    let across = tokens.clone().reshape([n, 1, length]).expand([n, n, length]);
    let down = tokens.clone().reshape([1, n, length]).expand([n, n, length]);
    let equal = across.equal(down).float().sum_dim(2).reshape([n, n]);
    equal.equal_elem(length as f32).float()
}
