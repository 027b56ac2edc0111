//! Residual networks (He et al., 2016) as torchvision defines them: `resnet18`, `34`, `50`, `101`.
//!
//! The bottleneck has its stride on the 3×3 convolution ("v1.5"). With [`Stem::Small`] the network begins with a
//! 3×3 convolution of stride 1 and no max-pool, as is usual for pictures of 32 to 64 pixels.

use burn::module::Module;
use burn::tensor::Tensor;

use opticus_pixels::geometry::Size;

use crate::nets::config::{NetConfig, NetKind, Stem};
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{
    BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, MaxPool2d, global_avg_pool, transparent_module,
};
use crate::nets::net::{Backbone, FeatureMap};

const WIDTHS: [usize; 4] = [64, 128, 256, 512];
const BOTTLENECK_EXPANSION: usize = 4;

/// A stem, four stages of residual blocks, global average pooling and one dense layer.
#[derive(Module, Debug)]
pub struct Resnet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    maxpool: Option<MaxPool2d>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    dropout: Dropout,
    /// None where only the maps are wanted.
    fc: Option<Linear>,
}

/// A residual block: `relu(f(x) + shortcut(x))`.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network uses one of the two throughout")]
pub enum Block {
    /// Two 3×3 convolutions.
    Basic(Basic),
    /// 1×1, 3×3, 1×1, four times wider outside than inside.
    Bottleneck(Bottleneck),
}

transparent_module!(Block { Basic, Bottleneck });

/// Two 3×3 convolutions around a shortcut.
#[derive(Module, Debug)]
pub struct Basic {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

/// 1×1, 3×3 and 1×1 convolutions around a shortcut.
#[derive(Module, Debug)]
pub struct Bottleneck {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Conv2d,
    bn3: BatchNorm2d,
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

/// Where a block stands: what enters, its inner width, and its stride.
#[derive(Clone, Copy)]
struct Place {
    inputs: usize,
    width: usize,
    stride: usize,
}

impl Resnet {
    /// Basic blocks, this many a stage.
    fn basic(scope: &Scope, config: &NetConfig, depths: [usize; 4]) -> Self {
        Self::new(scope, config, depths, 1, |scope, place| Block::Basic(Basic::new(scope, place)))
    }

    /// Bottleneck blocks, this many a stage.
    fn bottleneck(scope: &Scope, config: &NetConfig, depths: [usize; 4]) -> Self {
        Self::new(scope, config, depths, BOTTLENECK_EXPANSION, |scope, place| {
            Block::Bottleneck(Bottleneck::new(scope, place))
        })
    }

    /// The maps only, of colour pictures of any size: `kind` must be one of torchvision's residual networks.
    pub fn body(scope: &Scope, kind: NetKind) -> Self {
        // No classes: no dense layer.
        let config = NetConfig::new(kind, 0, 3, Size::new(224, 224));
        Self::of_kind(scope, &config)
    }

    /// The network that the configuration names.
    pub fn of_kind(scope: &Scope, config: &NetConfig) -> Self {
        match config.name {
            NetKind::Resnet34 => Self::basic(scope, config, [3, 4, 6, 3]),
            NetKind::Resnet50 => Self::bottleneck(scope, config, [3, 4, 6, 3]),
            NetKind::Resnet101 => Self::bottleneck(scope, config, [3, 4, 23, 3]),
            _ => Self::basic(scope, config, [2, 2, 2, 2]),
        }
    }

    fn new(
        scope: &Scope,
        config: &NetConfig,
        depths: [usize; 4],
        expansion: usize,
        block: impl Fn(&Scope, Place) -> Block,
    ) -> Self {
        let stage = |index: usize| -> Vec<Block> {
            let scope = scope.at(format!("layer{}", index + 1));
            let width = WIDTHS[index];
            let before = if index == 0 { WIDTHS[0] } else { WIDTHS[index - 1] * expansion };
            let place = |position| match position {
                0 => Place { inputs: before, width, stride: if index == 0 { 1 } else { 2 } },
                _ => Place { inputs: width * expansion, width, stride: 1 },
            };
            (0..depths[index]).map(|position| block(&scope.at(position), place(position))).collect()
        };
        let (kernel, stride, maxpool) = match config.stem {
            Stem::Standard => (7, 2, Some(MaxPool2d { padding: 1, ..MaxPool2d::new(3, 2) })),
            Stem::Small => (3, 1, None),
        };
        Self {
            conv1: conv(&scope.at("conv1"), config.in_channels, WIDTHS[0], kernel, stride),
            bn1: BatchNorm2d::new(&scope.at("bn1"), WIDTHS[0]),
            maxpool,
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            layer4: stage(3),
            dropout: Dropout::new(config.dropout.unwrap_or(0.0)),
            fc: (config.classes > 0).then(|| {
                let inputs = WIDTHS[3] * expansion;
                Linear::new(&scope.at("fc"), inputs, config.classes, WeightInit::TorchDefault)
            }),
        }
    }

    fn stem(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.bn1.forward_relu(self.conv1.forward(x));
        match &self.maxpool {
            Some(pool) => pool.forward(x), // [n, 64, h / 4, w / 4]
            None => x,                     // [n, 64, h, w]
        }
    }

    fn describe_stem(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = describe_pair((&self.conv1, &self.bn1), graph, x);
        let x = graph.relu(&x);
        match &self.maxpool {
            Some(pool) => pool.describe(graph, &x),
            None => x,
        }
    }

    /// The maps of the four stages, strides 4, 8, 16 and 32 after the standard stem.
    pub fn maps(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        self.features(x).into_iter().map(|feature| feature.map).collect()
    }

    /// [`Self::maps`] written down.
    pub fn describe_maps(&self, graph: &mut Graph, x: &Value) -> Vec<Value> {
        let mut x = self.describe_stem(graph, x);
        let stages = self.stages().into_iter();
        stages
            .map(|stage| {
                x = stage.iter().fold(x.clone(), |x, block| block.describe(graph, &x));
                x.clone()
            })
            .collect()
    }

    /// Channels of the four maps of a network of this kind.
    pub fn channels_of(kind: NetKind) -> [usize; 4] {
        let expansion = match kind {
            NetKind::Resnet50 | NetKind::Resnet101 => BOTTLENECK_EXPANSION,
            _ => 1,
        };
        WIDTHS.map(|width| width * expansion)
    }

    /// With the first parts frozen: the stem, then the four stages.
    pub fn freeze_first(self, parts: usize) -> Self {
        let stage = |number: usize, blocks: Vec<Block>| if parts > number { blocks.freeze() } else { blocks };
        let Self { conv1, bn1, layer1, layer2, layer3, layer4, .. } = self;
        let (conv1, bn1) = if parts > 0 { (conv1.freeze(), bn1.freeze()) } else { (conv1, bn1) };
        Self {
            conv1,
            bn1,
            layer1: stage(1, layer1),
            layer2: stage(2, layer2),
            layer3: stage(3, layer3),
            layer4: stage(4, layer4),
            ..self
        }
    }

    fn stages(&self) -> [&[Block]; 4] {
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4]
    }
}

/// An odd kernel that keeps the size at stride 1, without a bias since a norm follows.
fn conv(scope: &Scope, inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Conv2d {
    Conv2dConfig::new(inputs, outputs, kernel)
        .stride(stride)
        .padding(kernel / 2)
        .no_bias()
        .init(WeightInit::KaimingNormalFanOut)
        .build(scope)
}

fn downsample(scope: &Scope, place: Place, outputs: usize) -> Option<(Conv2d, BatchNorm2d)> {
    let scope = scope.at("downsample");
    (place.stride != 1 || place.inputs != outputs).then(|| {
        let conv = conv(&scope.at(0), place.inputs, outputs, 1, place.stride);
        (conv, BatchNorm2d::new(&scope.at(1), outputs))
    })
}

fn shortcut(downsample: &Option<(Conv2d, BatchNorm2d)>, x: Tensor<4>) -> Tensor<4> {
    match downsample {
        Some((conv, bn)) => bn.forward(conv.forward(x)),
        None => x,
    }
}

/// A convolution and its norm written down.
fn describe_pair(pair: (&Conv2d, &BatchNorm2d), graph: &mut Graph, x: &Value) -> Value {
    let x = pair.0.describe(graph, x);
    pair.1.describe(graph, &x)
}

/// A block's convolutions, each with its norm, around the shortcut, written down.
fn describe_block(
    pairs: &[(&Conv2d, &BatchNorm2d)],
    downsample: &Option<(Conv2d, BatchNorm2d)>,
    graph: &mut Graph,
    x: &Value,
) -> Value {
    let mut y = x.clone();
    for (i, &pair) in pairs.iter().enumerate() {
        y = describe_pair(pair, graph, &y);
        if i + 1 < pairs.len() {
            y = graph.relu(&y);
        }
    }
    let shortcut = match downsample {
        Some((conv, bn)) => describe_pair((conv, bn), graph, x),
        None => x.clone(),
    };
    let y = graph.add(&y, &shortcut);
    graph.relu(&y)
}

impl Block {
    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        match self {
            Self::Basic(b) => {
                let pairs = [(&b.conv1, &b.bn1), (&b.conv2, &b.bn2)];
                describe_block(&pairs, &b.downsample, graph, x)
            }
            Self::Bottleneck(b) => {
                let pairs = [(&b.conv1, &b.bn1), (&b.conv2, &b.bn2), (&b.conv3, &b.bn3)];
                describe_block(&pairs, &b.downsample, graph, x)
            }
        }
    }
}

impl Basic {
    fn new(scope: &Scope, place: Place) -> Self {
        let Place { inputs, width, stride } = place;
        Self {
            conv1: conv(&scope.at("conv1"), inputs, width, 3, stride),
            bn1: BatchNorm2d::new(&scope.at("bn1"), width),
            conv2: conv(&scope.at("conv2"), width, width, 3, 1),
            bn2: BatchNorm2d::new(&scope.at("bn2"), width),
            downsample: downsample(scope, place, width),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.bn1.forward_relu(self.conv1.forward(x.clone()));
        self.bn2.forward_add_relu(self.conv2.forward(y), shortcut(&self.downsample, x))
    }
}

impl Bottleneck {
    fn new(scope: &Scope, place: Place) -> Self {
        let Place { inputs, width, stride } = place;
        let outputs = width * BOTTLENECK_EXPANSION;
        Self {
            conv1: conv(&scope.at("conv1"), inputs, width, 1, 1),
            bn1: BatchNorm2d::new(&scope.at("bn1"), width),
            conv2: conv(&scope.at("conv2"), width, width, 3, stride),
            bn2: BatchNorm2d::new(&scope.at("bn2"), width),
            conv3: conv(&scope.at("conv3"), width, outputs, 1, 1),
            bn3: BatchNorm2d::new(&scope.at("bn3"), outputs),
            downsample: downsample(scope, place, outputs),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.bn1.forward_relu(self.conv1.forward(x.clone()));
        let y = self.bn2.forward_relu(self.conv2.forward(y));
        self.bn3.forward_add_relu(self.conv3.forward(y), shortcut(&self.downsample, x))
    }
}

fn run(stage: &[Block], x: Tensor<4>) -> Tensor<4> {
    stage.iter().fold(x, |x, block| match block {
        Block::Basic(block) => block.forward(x),
        Block::Bottleneck(block) => block.forward(x),
    })
}

impl Backbone for Resnet {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        let [_n, _c, _h, _w] = x.dims();
        let x = self.stem(x);
        self.stages().into_iter().fold(x, |x, stage| run(stage, x)) // [n, 512 or 2048, h / 32, w / 32]
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        let x = self.dropout.forward(global_avg_pool(map));
        match &self.fc {
            Some(fc) => fc.forward(x), // [n, classes]
            None => x,                 // [n, 512 or 2048]
        }
    }

    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        let mut x = self.stem(x);
        let mut stride = if self.maxpool.is_some() { 4 } else { 1 };
        self.stages()
            .into_iter()
            .map(|stage| {
                x = run(stage, x.clone());
                let feature = FeatureMap { map: x.clone(), stride };
                stride *= 2;
                feature
            })
            .collect()
    }
    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = self.describe_stem(graph, x);
        let x = self.stages().into_iter().flatten().fold(x, |x, block| block.describe(graph, &x));
        let x = graph.global_average_pool(&x);
        let x = graph.flatten(&x);
        match &self.fc {
            Some(fc) => fc.describe(graph, &x),
            None => x,
        }
    }
}
