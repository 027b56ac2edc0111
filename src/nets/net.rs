//! One type for all networks.

use burn::module::Module;
use burn::tensor::Tensor;

use super::backbone::resnet::Resnet;
use super::backbone::simple_cnn::SimpleCnn;
use super::layers::transparent_module;

/// A map of features and how many input pixels apart its positions are.
#[derive(Clone, Debug)]
pub struct FeatureMap {
    /// [n, c, h, w].
    pub map: Tensor<4>,
    /// Input pixels per position, on both axes.
    pub stride: usize,
}

/// What every architecture offers. The input is [n, in_channels, height, width], preprocessed.
pub trait Backbone: Module {
    /// The last feature map of the convolutions, where class activation maps are taken.
    fn trunk(&self, x: Tensor<4>) -> Tensor<4>;

    /// From the trunk's feature map to logits [n, classes].
    fn head(&self, map: Tensor<4>) -> Tensor<2>;

    /// Feature maps from fine to coarse, for detectors.
    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap>;

    /// Logits [n, classes], before softmax.
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.head(self.trunk(x))
    }
}

/// A network of any architecture, made by [`NetConfig::init`](super::NetConfig::init).
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a process holds a few networks, not many")]
pub enum Net {
    /// `simple-cnn`.
    SimpleCnn(SimpleCnn),
    /// `resnet18` to `resnet101`.
    Resnet(Resnet),
}

transparent_module!(Net { SimpleCnn, Resnet });

macro_rules! each {
    ($net:expr, $inner:ident => $call:expr) => {
        match $net {
            Net::SimpleCnn($inner) => $call,
            Net::Resnet($inner) => $call,
        }
    };
}

impl Backbone for Net {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        each!(self, net => net.trunk(x))
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        each!(self, net => net.head(map))
    }

    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        each!(self, net => net.features(x))
    }
}
