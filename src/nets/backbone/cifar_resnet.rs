//! Residual networks for 32×32 pictures (He et al., 2016, section 4.2) as akamaster/pytorch_resnet_cifar10
//! defines them: three stages of 16, 32 and 64 channels and shortcuts without parameters ("option A").
//!
//! `resnet20` has 269,722 parameters for ten classes of colour pictures, `resnet56` 853,018.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::nets::config::NetConfig;
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, MaxPool2d, global_avg_pool};
use crate::nets::net::{Backbone, FeatureMap};

const WIDTHS: [usize; 3] = [16, 32, 64];

/// A 3×3 convolution, three stages of basic blocks, global average pooling and one dense layer.
#[derive(Module, Debug)]
pub struct CifarResnet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    dropout: Dropout,
    linear: Linear,
}

/// Two 3×3 convolutions around a shortcut.
#[derive(Module, Debug)]
pub struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    shortcut: Option<OptionA>,
}

/// A shortcut without parameters: every second position, and zeros for the new channels, half before and half
/// after.
#[derive(Module, Debug)]
pub struct OptionA {
    every_second: MaxPool2d,
    zeros_each_side: usize,
}

impl OptionA {
    fn new(inputs: usize, outputs: usize) -> Self {
        // A window of one, two apart, picks every second position.
        Self { every_second: MaxPool2d::new(1, 2), zeros_each_side: (outputs - inputs) / 2 }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.every_second.forward(x); // [n, c, h / 2, w / 2]
        let [n, _, h, w] = x.dims();
        let zeros = Tensor::zeros([n, self.zeros_each_side, h, w], &x.device());
        Tensor::cat(vec![zeros.clone(), x, zeros], 1) // [n, 2 c, h / 2, w / 2]
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = graph.every(x, [self.every_second.stride; 2]);
        graph.pad_channels(&x, self.zeros_each_side, self.zeros_each_side)
    }
}

fn conv(scope: &Scope, inputs: usize, outputs: usize, stride: usize) -> Conv2d {
    Conv2dConfig::new(inputs, outputs, 3)
        .stride(stride)
        .padding(1)
        .no_bias()
        .init(WeightInit::KaimingNormalFanIn)
        .build(scope)
}

impl Block {
    fn new(scope: &Scope, inputs: usize, outputs: usize) -> Self {
        let stride = if inputs == outputs { 1 } else { 2 };
        Self {
            conv1: conv(&scope.at("conv1"), inputs, outputs, stride),
            bn1: BatchNorm2d::new(&scope.at("bn1"), outputs),
            conv2: conv(&scope.at("conv2"), outputs, outputs, 1),
            bn2: BatchNorm2d::new(&scope.at("bn2"), outputs),
            shortcut: (inputs != outputs).then(|| OptionA::new(inputs, outputs)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.bn1.forward_relu(self.conv1.forward(x.clone()));
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        self.bn2.forward_add_relu(self.conv2.forward(y), shortcut)
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let y = self.conv1.describe(graph, x);
        let y = self.bn1.describe(graph, &y);
        let y = graph.relu(&y);
        let y = self.conv2.describe(graph, &y);
        let y = self.bn2.describe(graph, &y);
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.describe(graph, x),
            None => x.clone(),
        };
        let y = graph.add(&y, &shortcut);
        graph.relu(&y)
    }
}

impl CifarResnet {
    /// A network of `6 · blocks + 2` layers at this place.
    pub fn new(scope: &Scope, config: &NetConfig, blocks: usize) -> Self {
        let stage = |index: usize| -> Vec<Block> {
            let scope = scope.at(format!("layer{}", index + 1));
            let before = WIDTHS[index.saturating_sub(1)];
            (0..blocks)
                .map(|position| {
                    let inputs = if position == 0 { before } else { WIDTHS[index] };
                    Block::new(&scope.at(position), inputs, WIDTHS[index])
                })
                .collect()
        };
        Self {
            conv1: conv(&scope.at("conv1"), config.in_channels, WIDTHS[0], 1),
            bn1: BatchNorm2d::new(&scope.at("bn1"), WIDTHS[0]),
            layer1: stage(0),
            layer2: stage(1),
            layer3: stage(2),
            dropout: Dropout::new(config.dropout.unwrap_or(0.0)),
            linear: Linear::new(
                &scope.at("linear"),
                WIDTHS[2],
                config.classes,
                WeightInit::KaimingNormalFanIn,
            ),
        }
    }

    fn stem(&self, x: Tensor<4>) -> Tensor<4> {
        self.bn1.forward_relu(self.conv1.forward(x))
    }

    fn stages(&self) -> [&[Block]; 3] {
        [&self.layer1, &self.layer2, &self.layer3]
    }
}

fn run(stage: &[Block], x: Tensor<4>) -> Tensor<4> {
    stage.iter().fold(x, |x, block| block.forward(x))
}

impl Backbone for CifarResnet {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        let [_n, _c, _h, _w] = x.dims();
        let x = self.stem(x); // [n, 16, h, w]
        self.stages().into_iter().fold(x, |x, stage| run(stage, x)) // [n, 64, h / 4, w / 4]
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        self.linear.forward(self.dropout.forward(global_avg_pool(map))) // [n, classes]
    }

    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        let mut x = self.stem(x);
        self.stages()
            .into_iter()
            .zip([1, 2, 4])
            .map(|(stage, stride)| {
                x = run(stage, x.clone());
                FeatureMap { map: x.clone(), stride }
            })
            .collect()
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = self.conv1.describe(graph, x);
        let x = self.bn1.describe(graph, &x);
        let x = graph.relu(&x);
        let x = self.stages().into_iter().flatten().fold(x, |x, block| block.describe(graph, &x));
        let x = graph.global_average_pool(&x);
        let x = graph.flatten(&x);
        self.linear.describe(graph, &x)
    }
}
