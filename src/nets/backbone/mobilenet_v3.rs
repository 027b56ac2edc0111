//! MobileNetV3 small and large (Howard et al., 2019) as torchvision defines them: 2,542,856 and 5,483,032
//! parameters for 1000 classes.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::nets::config::{NetConfig, NetKind};
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{
    ActivationKind, BatchNorm2d, Conv2d, Conv2dConfig, DenseLayer, Dropout, Layer, Linear, describe,
    describe_dense, global_avg_pool, run, run_dense, transparent_module,
};
use crate::nets::net::{Backbone, FeatureMap};

use ActivationKind::{HardSigmoid, HardSwish, Relu};

const STEM_CHANNELS: usize = 16;
/// The row of the last block of `LARGE` that halves.
const LAST_HALVING: usize = 12;
const LAST_EXPANSION: usize = 6;
const DROPOUT: f64 = 0.2;

/// The constants of all norms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norms {
    /// Added to the variance before the root.
    pub epsilon: f64,
    /// Share of the newest batch in the running averages.
    pub momentum: f64,
}

impl Norms {
    /// Of the classifiers.
    pub const USUAL: Self = Self { epsilon: 1e-3, momentum: 0.01 };
}

/// One row of the paper's tables 1 and 2.
struct Row {
    kernel: usize,
    expanded: usize,
    outputs: usize,
    squeeze_excite: bool,
    activation: ActivationKind,
    stride: usize,
}

const fn row(
    [kernel, expanded, outputs, stride]: [usize; 4],
    squeeze_excite: bool,
    activation: ActivationKind,
) -> Row {
    Row { kernel, expanded, outputs, squeeze_excite, activation, stride }
}

const SMALL: [Row; 11] = [
    row([3, 16, 16, 2], true, Relu),
    row([3, 72, 24, 2], false, Relu),
    row([3, 88, 24, 1], false, Relu),
    row([5, 96, 40, 2], true, HardSwish),
    row([5, 240, 40, 1], true, HardSwish),
    row([5, 240, 40, 1], true, HardSwish),
    row([5, 120, 48, 1], true, HardSwish),
    row([5, 144, 48, 1], true, HardSwish),
    row([5, 288, 96, 2], true, HardSwish),
    row([5, 576, 96, 1], true, HardSwish),
    row([5, 576, 96, 1], true, HardSwish),
];

const LARGE: [Row; 15] = [
    row([3, 16, 16, 1], false, Relu),
    row([3, 64, 24, 2], false, Relu),
    row([3, 72, 24, 1], false, Relu),
    row([5, 72, 40, 2], true, Relu),
    row([5, 120, 40, 1], true, Relu),
    row([5, 120, 40, 1], true, Relu),
    row([3, 240, 80, 2], false, HardSwish),
    row([3, 200, 80, 1], false, HardSwish),
    row([3, 184, 80, 1], false, HardSwish),
    row([3, 184, 80, 1], false, HardSwish),
    row([3, 480, 112, 1], true, HardSwish),
    row([3, 672, 112, 1], true, HardSwish),
    row([5, 672, 160, 2], true, HardSwish),
    row([5, 960, 160, 1], true, HardSwish),
    row([5, 960, 160, 1], true, HardSwish),
];

/// Inverted residuals with depthwise convolutions and squeeze-and-excitation, and two dense layers.
#[derive(Module, Debug)]
pub struct MobilenetV3 {
    features: Vec<Stage>,
    classifier: Vec<DenseLayer>,
}

/// One entry of the feature extractor.
#[derive(Clone, Debug)]
pub enum Stage {
    /// The first and the last convolution, with norm and activation.
    Plain(Vec<Layer>),
    /// All between.
    Inverted(InvertedResidual),
    /// A block without its expansion, which is elsewhere.
    Rest(Vec<Part>),
}

transparent_module!(Stage { Plain, Inverted, Rest });

/// Expand, filter each channel by itself, weigh the channels, project; added to the input where shapes agree.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    block: Vec<Part>,
    residual: bool,
    stride: usize,
}

/// One entry of an inverted residual.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lists are short and built once")]
pub enum Part {
    /// A convolution with its norm and, but for the projection, its activation.
    Plain(Vec<Layer>),
    /// Weighs the channels.
    SqueezeExcite(SqueezeExcite),
}

transparent_module!(Part { Plain, SqueezeExcite });

/// Weighs every channel by a function of all channels' means (Hu et al., 2018).
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    fc1: Conv2d,
    fc2: Conv2d,
}

impl SqueezeExcite {
    fn new(scope: &Scope, channels: usize) -> Self {
        let squeezed = divisible_by_8(channels / 4);
        let conv = |name, inputs, outputs| {
            Conv2dConfig::new(inputs, outputs, 1).init(WeightInit::KaimingNormalFanOut).build(&scope.at(name))
        };
        Self { fc1: conv("fc1", channels, squeezed), fc2: conv("fc2", squeezed, channels) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, c, _, _] = x.dims();
        let means = global_avg_pool(x.clone()).reshape([n, c, 1, 1]);
        let weights = self.fc2.forward(Relu.apply(self.fc1.forward(means))); // [n, c, 1, 1]
        x * HardSigmoid.apply(weights)
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let means = graph.global_average_pool(x);
        let weights = self.fc1.describe(graph, &means);
        let weights = graph.relu(&weights);
        let weights = self.fc2.describe(graph, &weights);
        let weights = graph.hard_sigmoid(&weights);
        graph.mul(x, &weights)
    }
}

/// The nearest multiple of eight, at least eight and not more than a tenth below.
fn divisible_by_8(channels: usize) -> usize {
    let rounded = ((channels + 4) / 8 * 8).max(8);
    if rounded * 10 < channels * 9 { rounded + 8 } else { rounded }
}

/// Convolution, norm and maybe an activation, at indices 0, 1 and 2.
fn conv_norm(
    scope: &Scope,
    conv: Conv2dConfig,
    outputs: usize,
    activation: Option<ActivationKind>,
    norms: Norms,
) -> Vec<Layer> {
    let conv = conv.no_bias().init(WeightInit::KaimingNormalFanOut).build(&scope.at(0));
    let norm = BatchNorm2d::with_constants(&scope.at(1), outputs, norms.epsilon, norms.momentum);
    let activation = activation.map(Layer::activation);
    [Layer::Conv2d(conv), Layer::BatchNorm2d(norm)].into_iter().chain(activation).collect()
}

impl InvertedResidual {
    fn new(scope: &Scope, inputs: usize, row: &Row, norms: Norms) -> Self {
        let mut block = Vec::new();
        if row.expanded != inputs {
            let conv = Conv2dConfig::new(inputs, row.expanded, 1);
            let place = scope.at("block").at(0);
            block.push(Part::Plain(conv_norm(&place, conv, row.expanded, Some(row.activation), norms)));
        }
        let residual = row.stride == 1 && inputs == row.outputs;
        Self { residual, ..Self::after_expansion(&scope.at("block"), block, row, norms) }
    }

    /// A block whose expansion is elsewhere, numbered as if it were here.
    fn without_expansion(scope: &Scope, row: &Row, norms: Norms) -> Vec<Part> {
        Self::after_expansion(scope, vec![Part::Plain(Vec::new())], row, norms).block
    }

    fn after_expansion(scope: &Scope, mut block: Vec<Part>, row: &Row, norms: Norms) -> Self {
        let Row { kernel, expanded, outputs, squeeze_excite, activation, stride } = *row;
        let at = |block: &Vec<Part>| scope.at(block.len());
        let depthwise =
            Conv2dConfig::new(expanded, expanded, kernel).stride(stride).padding(kernel / 2).groups(expanded);
        block.push(Part::Plain(conv_norm(&at(&block), depthwise, expanded, Some(activation), norms)));
        if squeeze_excite {
            block.push(Part::SqueezeExcite(SqueezeExcite::new(&at(&block), expanded)));
        }
        let project = Conv2dConfig::new(expanded, outputs, 1);
        block.push(Part::Plain(conv_norm(&at(&block), project, outputs, None, norms)));
        Self { block, residual: false, stride }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = forward(&self.block, x.clone());
        if self.residual { x + y } else { y }
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let y = describe_parts(&self.block, graph, x);
        if self.residual { graph.add(x, &y) } else { y }
    }
}

fn forward(parts: &[Part], x: Tensor<4>) -> Tensor<4> {
    parts.iter().fold(x, |x, part| match part {
        Part::Plain(layers) => run(layers, x),
        Part::SqueezeExcite(layer) => layer.forward(x),
    })
}

fn describe_parts(parts: &[Part], graph: &mut Graph, x: &Value) -> Value {
    parts.iter().fold(x.clone(), |x, part| match part {
        Part::Plain(layers) => describe(layers, graph, &x),
        Part::SqueezeExcite(layer) => layer.describe(graph, &x),
    })
}

/// The feature extractor at this place.
fn features(scope: &Scope, in_channels: usize, rows: &[Row], norms: Norms) -> Vec<Stage> {
    let stem = Conv2dConfig::new(in_channels, STEM_CHANNELS, 3).stride(2).padding(1);
    let mut features =
        vec![Stage::Plain(conv_norm(&scope.at(0), stem, STEM_CHANNELS, Some(HardSwish), norms))];
    let mut channels = STEM_CHANNELS;
    for row in rows {
        features.push(Stage::Inverted(InvertedResidual::new(
            &scope.at(features.len()),
            channels,
            row,
            norms,
        )));
        channels = row.outputs;
    }
    let last = LAST_EXPANSION * channels;
    let conv = Conv2dConfig::new(channels, last, 1);
    features.push(Stage::Plain(conv_norm(&scope.at(features.len()), conv, last, Some(HardSwish), norms)));
    features
}

fn rows(kind: NetKind) -> &'static [Row] {
    if kind == NetKind::MobilenetV3Small { &SMALL } else { &LARGE }
}

/// Channels of each entry of the feature extractor.
pub fn channels(kind: NetKind) -> Vec<usize> {
    let rows = rows(kind);
    let last = LAST_EXPANSION * rows.last().map_or(STEM_CHANNELS, |row| row.outputs);
    std::iter::once(STEM_CHANNELS).chain(rows.iter().map(|row| row.outputs)).chain([last]).collect()
}

impl MobilenetV3 {
    /// `mobilenet_v3_small` at this place.
    pub fn small(scope: &Scope, config: &NetConfig) -> Self {
        Self::new(scope, config, &SMALL, 1024)
    }

    /// `mobilenet_v3_large` at this place.
    pub fn large(scope: &Scope, config: &NetConfig) -> Self {
        Self::new(scope, config, &LARGE, 1280)
    }

    /// `mobilenet_v3_large` for SSDLite, with half the channels at its end (Howard et al. 2019, section 6.3): all up to
    /// the expansion of the last block that halves, and the rest.
    pub fn for_ssd(scope: &Scope, norms: Norms) -> (Vec<Stage>, Vec<Stage>) {
        let rows: Vec<Row> = LARGE
            .iter()
            .enumerate()
            .map(|(i, &Row { kernel, expanded, outputs, squeeze_excite, activation, stride })| Row {
                kernel,
                expanded: if i > LAST_HALVING { expanded / 2 } else { expanded },
                outputs: if i >= LAST_HALVING { outputs / 2 } else { outputs },
                squeeze_excite,
                activation,
                stride,
            })
            .collect();
        let mut first = features(&scope.at(0), 3, &rows[..LAST_HALVING], norms);
        // Not the last convolution, but the halving block's expansion.
        first.pop();
        let channels = rows[LAST_HALVING - 1].outputs;
        let halving = &rows[LAST_HALVING];
        let expand = Conv2dConfig::new(channels, halving.expanded, 1);
        let place = scope.at(0).at(first.len());
        first.push(Stage::Plain(conv_norm(
            &place,
            expand,
            halving.expanded,
            Some(halving.activation),
            norms,
        )));
        let second = scope.at(1);
        let mut rest = vec![Stage::Rest(InvertedResidual::without_expansion(&second.at(0), halving, norms))];
        let mut channels = halving.outputs;
        for row in &rows[LAST_HALVING + 1..] {
            let place = second.at(rest.len());
            rest.push(Stage::Inverted(InvertedResidual::new(&place, channels, row, norms)));
            channels = row.outputs;
        }
        let last = LAST_EXPANSION * channels;
        let conv = Conv2dConfig::new(channels, last, 1);
        rest.push(Stage::Plain(conv_norm(&second.at(rest.len()), conv, last, Some(HardSwish), norms)));
        (first, rest)
    }

    /// The feature extractor alone, of colour pictures of any size: `mobilenet_v3_small` or `mobilenet_v3_large`.
    pub fn body(scope: &Scope, kind: NetKind, norms: Norms) -> Vec<Stage> {
        features(scope, 3, rows(kind), norms)
    }

    fn new(scope: &Scope, config: &NetConfig, rows: &[Row], hidden: usize) -> Self {
        let features = features(&scope.at("features"), config.in_channels, rows, Norms::USUAL);
        let last = LAST_EXPANSION * rows.last().map_or(STEM_CHANNELS, |row| row.outputs);
        let linear = |index: usize, inputs, outputs| {
            let scope = scope.at("classifier").at(index);
            DenseLayer::Linear(Linear::new(&scope, inputs, outputs, WeightInit::Normal(0.01)))
        };
        Self {
            features,
            classifier: vec![
                linear(0, last, hidden),
                DenseLayer::activation(HardSwish),
                DenseLayer::Dropout(Dropout::new(config.dropout.unwrap_or(DROPOUT))),
                linear(3, hidden, config.classes),
            ],
        }
    }
}

impl Stage {
    /// Input and output [n, c, h, w].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Plain(layers) => run(layers, x),
            Self::Inverted(block) => block.forward(x),
            Self::Rest(parts) => forward(parts, x),
        }
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        match self {
            Self::Plain(layers) => describe(layers, graph, x),
            Self::Inverted(block) => block.describe(graph, x),
            Self::Rest(parts) => describe_parts(parts, graph, x),
        }
    }

    fn halves(&self) -> bool {
        matches!(self, Self::Inverted(InvertedResidual { stride: 2, .. }))
    }
}

impl Backbone for MobilenetV3 {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        let [_n, _c, _h, _w] = x.dims();
        self.features.iter().fold(x, |x, stage| stage.forward(x)) // [n, 576 or 960, h / 32, w / 32]
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        run_dense(&self.classifier, global_avg_pool(map)) // [n, classes]
    }

    /// The last map before each halving, and the last of all.
    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        let mut features = Vec::new();
        let (mut x, mut stride) = (x, 2);
        for (index, stage) in self.features.iter().enumerate() {
            if index > 0 && stage.halves() {
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
        let x = graph.global_average_pool(&x);
        let x = graph.flatten(&x);
        describe_dense(&self.classifier, graph, &x)
    }
}
