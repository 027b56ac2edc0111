//! SqueezeNet 1.0 (Iandola et al., 2016) as torchvision defines it: 1,248,424 parameters for 1000 classes.

use burn::module::Module;
use burn::tensor::Tensor;
use opticus_kernels::engine::join;

use crate::nets::config::NetConfig;
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{
    Activation, ActivationKind, Conv2d, Conv2dConfig, Dropout, MaxPool2d, global_avg_pool, transparent_module,
};
use crate::nets::net::{Backbone, FeatureMap};

const DROPOUT: f64 = 0.5;
/// Squeezed and expanded channels (each of the two expansions) of the eight fire modules.
const FIRES: [[usize; 2]; 8] =
    [[16, 64], [16, 64], [32, 128], [32, 128], [48, 192], [48, 192], [64, 256], [64, 256]];
/// Fire modules that a max-pool follows.
const POOLED: [usize; 2] = [2, 6];
/// The 7×7 convolution without padding and three pools with windows of three must fit.
pub const MIN_SIDE: u32 = 21;

/// Fire modules between max-pools, and a convolution whose maps are averaged to logits.
#[derive(Module, Debug)]
pub struct Squeezenet {
    features: Vec<Stage>,
    classifier: (Dropout, Conv2d),
}

/// One entry of the feature extractor.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lists are short and built once")]
pub enum Stage {
    /// The first convolution.
    Conv2d(Conv2d),
    /// Its ReLU.
    Activation(Activation),
    /// Halving.
    MaxPool2d(MaxPool2d),
    /// Squeeze and expand.
    Fire(Fire),
}

transparent_module!(Stage { Conv2d, Activation, MaxPool2d, Fire });

/// A 1×1 convolution to few channels, then 1×1 and 3×3 convolutions side by side.
#[derive(Module, Debug)]
pub struct Fire {
    squeeze: Conv2d,
    expand1x1: Conv2d,
    expand3x3: Conv2d,
}

impl Fire {
    fn new(scope: &Scope, inputs: usize, [squeezed, expanded]: [usize; 2]) -> Self {
        let conv = |name, inputs, outputs, kernel: usize| {
            Conv2dConfig::new(inputs, outputs, kernel)
                .padding(kernel / 2)
                .init(WeightInit::KaimingUniformFanIn)
                .build(&scope.at(name))
        };
        Self {
            squeeze: conv("squeeze", inputs, squeezed, 1),
            expand1x1: conv("expand1x1", squeezed, expanded, 1),
            expand3x3: conv("expand3x3", squeezed, expanded, 3),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.squeeze.forward_relu(x);
        join(self.expand1x1.forward_relu(x.clone()), self.expand3x3.forward_relu(x))
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = self.squeeze.describe(graph, x);
        let x = graph.relu(&x);
        let narrow = self.expand1x1.describe(graph, &x);
        let wide = self.expand3x3.describe(graph, &x);
        let x = graph.concat(&[&narrow, &wide]);
        graph.relu(&x)
    }
}

/// Channels after the first convolution.
const STEM: usize = 96;

/// The feature extractor at this place. `border` is what the first convolution and the pools are padded with.
fn features(scope: &Scope, in_channels: usize, border: Border) -> Vec<Stage> {
    let at = |features: &Vec<Stage>| scope.at(features.len());
    let (first, pool) = match border {
        Border::None => (0, MaxPool2d { ceil_mode: true, ..MaxPool2d::new(3, 2) }),
        Border::Centred => (3, MaxPool2d { padding: 1, ..MaxPool2d::new(3, 2) }),
    };
    let halve = || Stage::MaxPool2d(pool.clone());
    let first = Conv2dConfig::new(in_channels, STEM, 7).stride(2).padding(first);
    let mut features = vec![
        Stage::Conv2d(first.init(WeightInit::KaimingUniformFanIn).build(&scope.at(0))),
        Stage::Activation(Activation { kind: ActivationKind::Relu }),
        halve(),
    ];
    let mut channels = STEM;
    for (index, sizes) in FIRES.into_iter().enumerate() {
        features.push(Stage::Fire(Fire::new(&at(&features), channels, sizes)));
        channels = 2 * sizes[1];
        if POOLED.contains(&index) {
            features.push(halve());
        }
    }
    features
}

/// How the first convolution and the pools meet the picture's edge.
#[derive(Clone, Copy)]
enum Border {
    /// As published: nothing is added, and a last, partly outside window of a pool counts.
    None,
    /// Padded, so that positions lie at multiples of the stride.
    Centred,
}

/// Channels of each entry of the feature extractor.
pub fn channels() -> Vec<usize> {
    let mut channels = vec![STEM; 3];
    for (index, [_, expanded]) in FIRES.into_iter().enumerate() {
        channels.extend([2 * expanded].repeat(if POOLED.contains(&index) { 2 } else { 1 }));
    }
    channels
}

impl Squeezenet {
    /// The feature extractor alone, of colour pictures of any size, padded so that positions lie at multiples of the
    /// stride.
    pub fn body(scope: &Scope) -> Vec<Stage> {
        features(scope, 3, Border::Centred)
    }

    /// The network at this place.
    pub fn new(scope: &Scope, config: &NetConfig) -> Self {
        let features = features(&scope.at("features"), config.in_channels, Border::None);
        let channels = 2 * FIRES[FIRES.len() - 1][1];
        let last = Conv2dConfig::new(channels, config.classes, 1)
            .padding(config.classifier_padding)
            .init(WeightInit::Normal(0.01));
        Self {
            features,
            classifier: (
                Dropout::new(config.dropout.unwrap_or(DROPOUT)),
                last.build(&scope.at("classifier").at(1)),
            ),
        }
    }
}

impl Stage {
    /// Input and output [n, c, h, w].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv2d(layer) => layer.forward(x),
            Self::Activation(layer) => layer.kind.apply(x),
            Self::MaxPool2d(layer) => layer.forward(x),
            Self::Fire(layer) => layer.forward(x),
        }
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        match self {
            Self::Conv2d(layer) => layer.describe(graph, x),
            Self::Activation(layer) => layer.kind.describe(graph, x),
            Self::MaxPool2d(layer) => layer.describe(graph, x),
            Self::Fire(layer) => layer.describe(graph, x),
        }
    }
}

impl Backbone for Squeezenet {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        let [_n, _c, _h, _w] = x.dims();
        self.features.iter().fold(x, |x, stage| stage.forward(x)) // [n, 512, h / 16, w / 16]
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        let (dropout, conv) = &self.classifier;
        global_avg_pool(conv.forward_relu(dropout.forward(map))) // [n, classes]
    }

    /// The last map before each max-pool, and the last of all.
    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        let mut features = Vec::new();
        let (mut x, mut stride) = (x, 2);
        for stage in &self.features {
            if matches!(stage, Stage::MaxPool2d(_)) {
                features.push(FeatureMap { map: x.clone(), stride });
                stride *= 2;
            }
            x = stage.forward(x);
        }
        features.push(FeatureMap { map: x, stride });
        features
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = self.features.iter().fold(x.clone(), |x, stage| stage.describe(graph, &x));
        let x = self.classifier.1.describe(graph, &x);
        let x = graph.relu(&x);
        let x = graph.global_average_pool(&x);
        graph.flatten(&x)
    }
}
