//! One type for all networks.

use burn::module::Module;
use burn::tensor::Tensor;

use super::backbone::cifar_resnet::CifarResnet;
use super::backbone::inception_v3::InceptionV3;
use super::backbone::mobilenet_v3::MobilenetV3;
use super::backbone::resnet::Resnet;
use super::backbone::simple_cnn::SimpleCnn;
use super::backbone::small_cnn::SmallCnn;
use super::backbone::squeezenet::Squeezenet;
use super::backbone::vgg::Vgg;
use super::graph::{Graph, Value};
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

    /// [`Self::forward`] written down: from the pictures to the logits.
    fn describe(&self, graph: &mut Graph, x: &Value) -> Value;

    /// Logits [n, classes], before softmax.
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.head(self.trunk(x))
    }
}

/// A network of any architecture, made by [`NetConfig::init`](super::NetConfig::init).
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub enum Net {
    /// `simple-cnn`.
    SimpleCnn(SimpleCnn),
    /// `small-cnn`.
    SmallCnn(SmallCnn),
    /// `resnet18` to `resnet101`.
    Resnet(Resnet),
    /// `resnet20` and `resnet56`.
    CifarResnet(CifarResnet),
    /// `vgg16` and `vgg16_bn`.
    Vgg(Vgg),
    /// `squeezenet1_0`.
    Squeezenet(Squeezenet),
    /// `mobilenet_v3_small` and `mobilenet_v3_large`.
    MobilenetV3(MobilenetV3),
    /// `inception_v3`.
    InceptionV3(InceptionV3),
}

transparent_module!(Net {
    SimpleCnn,
    SmallCnn,
    Resnet,
    CifarResnet,
    Vgg,
    Squeezenet,
    MobilenetV3,
    InceptionV3
});

macro_rules! each {
    ($net:expr, $inner:ident => $call:expr) => {
        match $net {
            Net::SimpleCnn($inner) => $call,
            Net::SmallCnn($inner) => $call,
            Net::Resnet($inner) => $call,
            Net::CifarResnet($inner) => $call,
            Net::Vgg($inner) => $call,
            Net::Squeezenet($inner) => $call,
            Net::MobilenetV3($inner) => $call,
            Net::InceptionV3($inner) => $call,
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

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        each!(self, net => net.describe(graph, x))
    }
}
