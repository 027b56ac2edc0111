//! A small network of ours for pictures of 28 to 64 pixels, made to train in minutes without an accelerator.
//!
//! Six 3×3 convolutions with batch normalisation: few channels where positions are many, and a max-pool of two
//! after the first, third and fifth. The mean over positions feeds one dense layer, so any picture size will do.
//! About 145,000 parameters for ten classes and 6 million multiplications for a picture of 28×28.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::nets::config::NetConfig;
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, MaxPool2d, global_avg_pool};
use crate::nets::net::{Backbone, FeatureMap};

/// Output channels of each block, and whether a max-pool follows.
const BLOCKS: [(usize, bool); 6] =
    [(16, true), (32, false), (32, true), (64, false), (64, true), (128, false)];
const DROPOUT: f64 = 0.1;
/// Three halvings must leave something.
pub const MIN_SIDE: u32 = 8;

/// Six convolutions, global average pooling, dropout and one dense layer.
#[derive(Module, Debug)]
pub struct SmallCnn {
    blocks: Vec<Block>,
    dropout: Dropout,
    fc: Linear,
}

/// A convolution that keeps the size, norm and ReLU; then perhaps a max-pool.
#[derive(Module, Debug)]
pub struct Block {
    conv: Conv2d,
    bn: BatchNorm2d,
    pool: Option<MaxPool2d>,
}

impl Block {
    fn new(scope: &Scope, inputs: usize, outputs: usize, pooled: bool) -> Self {
        let conv =
            Conv2dConfig::new(inputs, outputs, 3).padding(1).no_bias().init(WeightInit::KaimingNormalFanOut);
        Self {
            conv: conv.build(&scope.at("conv")),
            bn: BatchNorm2d::new(&scope.at("bn"), outputs),
            pool: pooled.then_some(MaxPool2d::new(2, 2)),
        }
    }

    /// Without the pool: [n, outputs, h, w].
    fn convolve(&self, x: Tensor<4>) -> Tensor<4> {
        self.bn.forward_relu(self.conv.forward(x))
    }

    /// The pool, where there is one: [n, outputs, h / 2, w / 2].
    fn halve(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.pool {
            Some(pool) => pool.forward(x),
            None => x,
        }
    }

    /// Input [n, inputs, h, w]; output [n, outputs, h, w], or half as large where there is a pool.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.halve(self.convolve(x))
    }

    /// [`Self::forward`] written down.
    pub fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = self.conv.describe(graph, x);
        let x = self.bn.describe(graph, &x);
        let x = graph.relu(&x);
        match &self.pool {
            Some(pool) => pool.describe(graph, &x),
            None => x,
        }
    }
}

/// The blocks at this place.
fn blocks(scope: &Scope, in_channels: usize) -> Vec<Block> {
    let mut channels = in_channels;
    let block = |(index, (width, pooled))| {
        let inputs = std::mem::replace(&mut channels, width);
        Block::new(&scope.at(index), inputs, width, pooled)
    };
    BLOCKS.into_iter().enumerate().map(block).collect()
}

/// Channels after each block.
pub fn channels() -> Vec<usize> {
    BLOCKS.into_iter().map(|(width, _)| width).collect()
}

impl SmallCnn {
    /// The network at this place.
    pub fn new(scope: &Scope, config: &NetConfig) -> Self {
        let channels = BLOCKS[BLOCKS.len() - 1].0;
        Self {
            blocks: blocks(&scope.at("blocks"), config.in_channels),
            dropout: Dropout::new(config.dropout.unwrap_or(DROPOUT)),
            fc: Linear::new(&scope.at("fc"), channels, config.classes, WeightInit::TorchDefault),
        }
    }

    /// The blocks alone, of colour pictures of any size.
    pub fn body(scope: &Scope) -> Vec<Block> {
        blocks(scope, 3)
    }
}

impl Backbone for SmallCnn {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        let [_n, _c, _h, _w] = x.dims();
        self.blocks.iter().fold(x, |x, block| block.forward(x)) // [n, 128, h / 8, w / 8]
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        self.fc.forward(self.dropout.forward(global_avg_pool(map))) // [n, classes]
    }

    /// The last map before each halving, and the last of all.
    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        let mut features = Vec::new();
        let (mut x, mut stride) = (x, 1);
        for block in &self.blocks {
            x = block.convolve(x);
            if block.pool.is_some() {
                features.push(FeatureMap { map: x.clone(), stride });
                stride *= 2;
            }
            x = block.halve(x);
        }
        features.push(FeatureMap { map: x, stride });
        features
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = self.blocks.iter().fold(x.clone(), |x, block| block.describe(graph, &x));
        let x = graph.global_average_pool(&x);
        let x = graph.flatten(&x);
        self.fc.describe(graph, &x)
    }
}
