//! Where the maps of one-stage detectors come from.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::body::freeze_first;
use super::ssd::LITE_EXTRA;
use super::{Body, Fpn};
use crate::nets::NetKind;
use crate::nets::backbone::mobilenet_v3::{self, MobilenetV3, Norms};
use crate::nets::backbone::vgg::Vgg;
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Init, Scope, WeightInit};
use crate::nets::layers::{
    ActivationKind, BatchNorm2d, Conv2dConfig, Layer, MaxPool2d, describe, run, transparent_module,
};
use crate::{Error, Result};

/// What makes the maps.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has one")]
pub enum Trunk {
    /// Of `ssd300-vgg16`.
    Vgg(VggTrunk),
    /// Of `ssdlite320-mobilenet-v3`.
    Mobile(MobileTrunk),
    /// Of `ssd-lite`.
    Lite(LiteTrunk),
}

transparent_module!(Trunk { Vgg, Mobile, Lite });

impl Trunk {
    /// Maps [n, c, h, w] from fine to coarse; `numbers` are the body's maps of `ssd-lite`.
    pub fn maps(&self, x: Tensor<4>, numbers: &[usize]) -> Vec<Tensor<4>> {
        match self {
            Self::Vgg(trunk) => trunk.maps(x),
            Self::Mobile(trunk) => trunk.maps(x),
            Self::Lite(trunk) => trunk.maps(x, numbers),
        }
    }

    /// [`Self::maps`] written down.
    pub fn describe_maps(&self, graph: &mut Graph, x: &Value, numbers: &[usize]) -> Vec<Value> {
        match self {
            Self::Vgg(trunk) => trunk.describe_maps(graph, x),
            Self::Mobile(trunk) => trunk.describe_maps(graph, x),
            Self::Lite(trunk) => trunk.describe_maps(graph, x, numbers),
        }
    }

    /// With the first parts frozen.
    pub fn freeze_first(self, parts: usize) -> Self {
        match self {
            Self::Vgg(mut trunk) => {
                trunk.features = freeze_first(trunk.features, parts);
                Self::Vgg(trunk)
            }
            Self::Mobile(mut trunk) => {
                trunk.features.0 = freeze_first(trunk.features.0, parts);
                Self::Mobile(trunk)
            }
            Self::Lite(mut trunk) => {
                trunk.body = trunk.body.freeze_first(parts);
                Self::Lite(trunk)
            }
        }
    }
}

/// Of SSDLite's norms.
const NORMS: Norms = Norms { epsilon: 1e-3, momentum: 0.03 };

/// Convolution, norm and ReLU6, at indices 0, 1 and 2.
pub(super) fn conv_norm6(scope: &Scope, conv: Conv2dConfig, outputs: usize) -> Vec<Layer> {
    vec![
        Layer::Conv2d(conv.no_bias().build(&scope.at(0))),
        Layer::BatchNorm2d(BatchNorm2d::with_constants(&scope.at(1), outputs, NORMS.epsilon, NORMS.momentum)),
        Layer::activation(ActivationKind::Relu6),
    ]
}

/// VGG-16 with its dense layers as convolutions, and four more stages.
#[derive(Module, Debug)]
pub struct VggTrunk {
    features: Vec<Layer>,
    scale_weight: Param<Tensor<1>>,
    extra: Vec<Vec<Entry>>,
}

/// One entry of a stage.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lists are short and built once")]
pub enum Entry {
    /// A layer.
    Layer(Layer),
    /// Layers that are numbered by themselves.
    Nested(Vec<Layer>),
}

transparent_module!(Entry { Layer, Nested });

/// Added to a length before dividing by it (PyTorch's `normalize`).
const LEAST_LENGTH: f32 = 1e-12;
/// What the scale of the first map begins with (Liu et al. 2016, section 3.1).
const SCALE: f32 = 20.0;

impl VggTrunk {
    /// Channels of the maps.
    pub const CHANNELS: [usize; 6] = [512, 1024, 512, 256, 256, 256];

    /// The trunk at this place.
    pub fn new(scope: &Scope) -> Self {
        let (features, fifth) = Vgg::for_ssd(&scope.at("features"), &scope.at("extra").at(0));
        let xavier = |inputs, outputs, kernel| {
            Conv2dConfig::new(inputs, outputs, kernel).init(WeightInit::GlorotUniform)
        };
        let relu = || Layer::activation(ActivationKind::Relu);
        let dense = scope.at("extra").at(0).at(fifth.len());
        let pool = MaxPool2d { padding: 1, ..MaxPool2d::new(3, 1) };
        let dense = vec![
            Layer::MaxPool2d(pool),
            Layer::Conv2d(xavier(512, 1024, 3).padding(6).dilation(6).build(&dense.at(1))),
            relu(),
            Layer::Conv2d(xavier(1024, 1024, 1).build(&dense.at(3))),
            relu(),
        ];
        let mut first: Vec<Entry> = fifth.into_iter().map(Entry::Layer).collect();
        first.push(Entry::Nested(dense));
        let mut extra = vec![first];
        for (inputs, outputs, stride, padding) in
            [(1024, 512, 2, 1), (512, 256, 2, 1), (256, 256, 1, 0), (256, 256, 1, 0)]
        {
            let place = scope.at("extra").at(extra.len());
            let between = outputs / 2;
            let widen = xavier(between, outputs, 3).stride(stride).padding(padding);
            let layers = [
                Layer::Conv2d(xavier(inputs, between, 1).build(&place.at(0))),
                relu(),
                Layer::Conv2d(widen.build(&place.at(2))),
                relu(),
            ];
            extra.push(layers.into_iter().map(Entry::Layer).collect());
        }
        let scale_weight = scope.param("scale_weight", [512], Init::Constant(SCALE));
        Self { features, scale_weight, extra }
    }

    fn maps(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = run(&self.features, x);
        // Each position's values over all channels get the same length (Liu et al. 2016, section 3.1).
        let length = x.clone().powi_scalar(2).sum_dim(1).sqrt().clamp_min(LEAST_LENGTH);
        let scale = self.scale_weight.val().reshape([1, -1, 1, 1]);
        let mut maps = vec![x.clone() / length * scale];
        for stage in &self.extra {
            x = stage.iter().fold(x, |x, entry| match entry {
                Entry::Layer(layer) => layer.forward(x),
                Entry::Nested(layers) => run(layers, x),
            });
            maps.push(x.clone());
        }
        maps
    }

    fn describe_maps(&self, graph: &mut Graph, x: &Value) -> Vec<Value> {
        let mut x = describe(&self.features, graph, x);
        let mut maps = vec![graph.normalize(&x, &self.scale_weight)];
        for stage in &self.extra {
            x = stage.iter().fold(x, |x, entry| match entry {
                Entry::Layer(layer) => layer.describe(graph, &x),
                Entry::Nested(layers) => describe(layers, graph, &x),
            });
            maps.push(x.clone());
        }
        maps
    }
}

/// MobileNetV3-large with half the channels at its end, and four separable stages.
#[derive(Module, Debug)]
pub struct MobileTrunk {
    features: (Vec<mobilenet_v3::Stage>, Vec<mobilenet_v3::Stage>),
    extra: Vec<Vec<Vec<Layer>>>,
}

impl MobileTrunk {
    /// Channels of the maps.
    pub const CHANNELS: [usize; 6] = [672, 480, 512, 256, 256, 128];

    /// The trunk at this place.
    pub fn new(scope: &Scope) -> Self {
        let features = MobilenetV3::for_ssd(&scope.at("features"), NORMS);
        let inputs = Self::CHANNELS[1..5].iter();
        let extra = inputs.zip(&Self::CHANNELS[2..]).enumerate();
        let extra =
            extra.map(|(i, (&inputs, &outputs))| separable(&scope.at("extra").at(i), inputs, outputs));
        Self { features, extra: extra.collect() }
    }

    fn maps(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let through = |stages: &[mobilenet_v3::Stage], x| stages.iter().fold(x, |x, stage| stage.forward(x));
        let first = through(&self.features.0, x);
        let mut maps = vec![first.clone(), through(&self.features.1, first)];
        follow(&mut maps, &self.extra, run);
        maps
    }

    fn describe_maps(&self, graph: &mut Graph, x: &Value) -> Vec<Value> {
        let mut through = |stages: &[mobilenet_v3::Stage], x: Value| {
            stages.iter().fold(x, |x, stage| stage.describe(graph, &x))
        };
        let first = through(&self.features.0, x.clone());
        let second = through(&self.features.1, first.clone());
        let mut maps = vec![first, second];
        follow(&mut maps, &self.extra, |layers, x| describe(layers, graph, &x));
        maps
    }
}

/// A pyramid over the maps of any body, and separable stages after it.
#[derive(Module, Debug)]
pub struct LiteTrunk {
    body: Body,
    fpn: Fpn,
    extra: Vec<Vec<Vec<Layer>>>,
}

impl LiteTrunk {
    /// The trunk at this place, with all maps of so many channels.
    ///
    /// # Errors
    /// [`Error::Config`] for a backbone without a body.
    pub fn new(scope: &Scope, backbone: NetKind, numbers: &[usize], channels: usize) -> Result<Self> {
        let none = || Error::Config(format!("{backbone} gives no maps to a detector; give {}", Body::KINDS));
        let all = Body::channels(backbone).ok_or_else(none)?;
        let inputs: Vec<usize> = numbers.iter().filter_map(|&number| all.get(number).copied()).collect();
        Ok(Self {
            body: Body::new(&scope.at("body"), backbone, None).ok_or_else(none)?,
            fpn: Fpn::new(&scope.at("fpn"), &inputs, channels),
            extra: (0..LITE_EXTRA).map(|i| separable(&scope.at("extra").at(i), channels, channels)).collect(),
        })
    }

    fn maps(&self, x: Tensor<4>, numbers: &[usize]) -> Vec<Tensor<4>> {
        let mut maps = self.fpn.forward(self.body.maps(x, numbers));
        // The stages that follow take the place of the pyramid's own last map.
        maps.pop();
        follow(&mut maps, &self.extra, run);
        maps
    }

    fn describe_maps(&self, graph: &mut Graph, x: &Value, numbers: &[usize]) -> Vec<Value> {
        let maps = self.body.describe_maps(graph, x, numbers);
        let mut maps = self.fpn.describe(graph, &maps);
        maps.pop();
        follow(&mut maps, &self.extra, |layers, x| describe(layers, graph, &x));
        maps
    }
}

/// A stage that halves: 1×1 to half the channels, depthwise 3×3 of stride 2, 1×1 (Sandler et al. 2018, section 6.2).
fn separable(scope: &Scope, inputs: usize, outputs: usize) -> Vec<Vec<Layer>> {
    let between = outputs / 2;
    let conv =
        |inputs, outputs, kernel| Conv2dConfig::new(inputs, outputs, kernel).init(WeightInit::Normal(0.03));
    let depthwise = conv(between, between, 3).stride(2).padding(1).groups(between);
    vec![
        conv_norm6(&scope.at(0), conv(inputs, between, 1), between),
        conv_norm6(&scope.at(1), depthwise, between),
        conv_norm6(&scope.at(2), conv(between, outputs, 1), outputs),
    ]
}

/// Adds a map for each stage, each from the one before.
fn follow<T: Clone>(maps: &mut Vec<T>, stages: &[Vec<Vec<Layer>>], mut step: impl FnMut(&[Layer], T) -> T) {
    for stage in stages {
        if let Some(last) = maps.last().cloned() {
            maps.push(stage.iter().fold(last, |x, layers| step(layers, x)));
        }
    }
}
