//! A small network of ours for pictures of 28 to 64 pixels, made to train in minutes without an accelerator.
//!
//! Six 3×3 convolutions with batch normalisation. The first works on few channels, since positions are many
//! there; max-pools of two after the second and the fourth; the mean over positions feeds one dense layer, so
//! any picture size will do. About 214,000 parameters for ten classes.

use burn::module::Module;
use burn::tensor::{Tensor, activation::relu};

use crate::nets::config::NetConfig;
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, MaxPool2d, global_avg_pool};
use crate::nets::net::{Backbone, FeatureMap};
use crate::nets::onnx::{Graph, Value};

/// Output channels of the two convolutions of each stage.
const STAGES: [[usize; 2]; 3] = [[16, 32], [48, 64], [96, 128]];
const DROPOUT: f64 = 0.1;
/// Two halvings must leave something.
pub const MIN_SIDE: u32 = 4;

/// Three stages of two convolutions, global average pooling, dropout and one dense layer.
#[derive(Module, Debug)]
pub struct SmallCnn {
    stage1: Stage,
    stage2: Stage,
    stage3: Stage,
    pool: MaxPool2d,
    dropout: Dropout,
    fc: Linear,
}

/// Two convolutions, each with norm and ReLU.
#[derive(Module, Debug)]
pub struct Stage {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
}

impl Stage {
    fn new(scope: &Scope, inputs: usize, [first, second]: [usize; 2]) -> Self {
        let conv = |name, inputs, outputs| {
            Conv2dConfig::new(inputs, outputs, 3)
                .padding(1)
                .no_bias()
                .init(WeightInit::KaimingNormalFanOut)
                .build(&scope.at(name))
        };
        Self {
            conv1: conv("conv1", inputs, first),
            bn1: BatchNorm2d::new(&scope.at("bn1"), first),
            conv2: conv("conv2", first, second),
            bn2: BatchNorm2d::new(&scope.at("bn2"), second),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.bn1.forward(self.conv1.forward(x)));
        relu(self.bn2.forward(self.conv2.forward(x)))
    }

    fn export(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = self.conv1.export(graph, x);
        let x = self.bn1.export(graph, &x);
        let x = graph.relu(&x);
        let x = self.conv2.export(graph, &x);
        let x = self.bn2.export(graph, &x);
        graph.relu(&x)
    }
}

impl SmallCnn {
    /// The network at this place.
    pub fn new(scope: &Scope, config: &NetConfig) -> Self {
        let [first, second, third] = STAGES;
        Self {
            stage1: Stage::new(&scope.at("stage1"), config.in_channels, first),
            stage2: Stage::new(&scope.at("stage2"), first[1], second),
            stage3: Stage::new(&scope.at("stage3"), second[1], third),
            pool: MaxPool2d::new(2, 2),
            dropout: Dropout::new(config.dropout.unwrap_or(DROPOUT)),
            fc: Linear::new(&scope.at("fc"), third[1], config.classes, WeightInit::TorchDefault),
        }
    }
}

impl Backbone for SmallCnn {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        let [_n, _c, _h, _w] = x.dims();
        let x = self.pool.forward(self.stage1.forward(x)); // [n, 32, h / 2, w / 2]
        let x = self.pool.forward(self.stage2.forward(x)); // [n, 64, h / 4, w / 4]
        self.stage3.forward(x) // [n, 128, h / 4, w / 4]
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        self.fc.forward(self.dropout.forward(global_avg_pool(map))) // [n, classes]
    }

    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        let first = self.stage1.forward(x);
        let second = self.stage2.forward(self.pool.forward(first.clone()));
        let third = self.stage3.forward(self.pool.forward(second.clone()));
        [first, second, third]
            .into_iter()
            .zip([1, 2, 4])
            .map(|(map, stride)| FeatureMap { map, stride })
            .collect()
    }

    fn export(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = self.stage1.export(graph, x);
        let x = self.pool.export(graph, &x);
        let x = self.stage2.export(graph, &x);
        let x = self.pool.export(graph, &x);
        let x = self.stage3.export(graph, &x);
        let x = graph.global_average_pool(&x);
        let x = graph.flatten(&x);
        self.fc.export(graph, &x)
    }
}
