//! Inception-v3 (Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision") as torchvision
//! defines it, without the auxiliary classifier: 23,834,568 parameters for 1000 classes.
//!
//! The Fréchet distance's own network is the same with other pools (pytorch-fid's `FIDInception…`): see
//! [`NetConfig::fid_pools`].
//!
//! Each block is written once, over a `Way`: running it on tensors or writing it down.

#![allow(non_snake_case, reason = "fields carry torchvision's names")]

use burn::module::Module;
use burn::tensor::Tensor;

use crate::nets::config::NetConfig;
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{
    BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, MaxPool2d, SmoothPool2d, global_avg_pool,
};
use crate::nets::net::{Backbone, FeatureMap};

const DROPOUT: f64 = 0.5;
const EPSILON: f64 = 1e-3;
const MOMENTUM: f64 = 0.1;
/// Features of a picture: channels of the last map.
pub const FEATURES: usize = 2048;
/// Four reductions without padding, three of them by two, must leave one position.
pub const MIN_SIDE: u32 = 75;

/// What a block is written over.
trait Way {
    /// A map, or the promise of one.
    type Map: Clone;
    fn conv(&mut self, layer: &BasicConv2d, x: &Self::Map) -> Self::Map;
    fn smooth(&mut self, pool: &SmoothPool2d, x: &Self::Map) -> Self::Map;
    fn halve(&mut self, x: &Self::Map) -> Self::Map;
    fn concat(&mut self, maps: &[Self::Map]) -> Self::Map;

    fn chain(&mut self, layers: &[&BasicConv2d], x: &Self::Map) -> Self::Map {
        layers.iter().fold(x.clone(), |x, layer| self.conv(layer, &x))
    }
}

const HALVE: MaxPool2d = MaxPool2d::new(3, 2);

/// Computes at once.
struct Run;

impl Way for Run {
    type Map = Tensor<4>;

    fn conv(&mut self, layer: &BasicConv2d, x: &Tensor<4>) -> Tensor<4> {
        layer.bn.forward_relu(layer.conv.forward(x.clone()))
    }

    fn smooth(&mut self, pool: &SmoothPool2d, x: &Tensor<4>) -> Tensor<4> {
        pool.forward(x.clone())
    }

    fn halve(&mut self, x: &Tensor<4>) -> Tensor<4> {
        HALVE.forward(x.clone())
    }

    fn concat(&mut self, maps: &[Tensor<4>]) -> Tensor<4> {
        Tensor::cat(maps.to_vec(), 1)
    }
}

impl Way for Graph {
    type Map = Value;

    fn conv(&mut self, layer: &BasicConv2d, x: &Value) -> Value {
        let x = layer.conv.describe(self, x);
        let x = layer.bn.describe(self, &x);
        self.relu(&x)
    }

    fn smooth(&mut self, pool: &SmoothPool2d, x: &Value) -> Value {
        pool.describe(self, x)
    }

    fn halve(&mut self, x: &Value) -> Value {
        HALVE.describe(self, x)
    }

    fn concat(&mut self, maps: &[Value]) -> Value {
        Graph::concat(self, &maps.iter().collect::<Vec<_>>())
    }
}

/// Convolution, batch normalisation, ReLU.
#[derive(Module, Debug)]
pub struct BasicConv2d {
    conv: Conv2d,
    bn: BatchNorm2d,
}

impl BasicConv2d {
    fn new(scope: &Scope, config: Conv2dConfig, outputs: usize) -> Self {
        Self {
            conv: config.no_bias().init(WeightInit::KaimingUniformFanIn).build(&scope.at("conv")),
            bn: BatchNorm2d::with_constants(&scope.at("bn"), outputs, EPSILON, MOMENTUM),
        }
    }

    /// A kernel of `[height, width]`, padded so that the map keeps its size.
    fn same(scope: &Scope, inputs: usize, outputs: usize, kernel: [usize; 2]) -> Self {
        let config = Conv2dConfig::new(inputs, outputs, 1).oblong(kernel, kernel.map(|side| side / 2));
        Self::new(scope, config, outputs)
    }

    /// A 3×3 kernel without padding.
    fn inside(scope: &Scope, inputs: usize, outputs: usize, stride: usize) -> Self {
        Self::new(scope, Conv2dConfig::new(inputs, outputs, 3).stride(stride), outputs)
    }
}

/// Windows of 1×1, 5×5 and twice 3×3, and a pool.
#[derive(Module, Debug)]
pub struct InceptionA {
    branch1x1: BasicConv2d,
    branch5x5_1: BasicConv2d,
    branch5x5_2: BasicConv2d,
    branch3x3dbl_1: BasicConv2d,
    branch3x3dbl_2: BasicConv2d,
    branch3x3dbl_3: BasicConv2d,
    branch_pool: BasicConv2d,
    pool: SmoothPool2d,
}

impl InceptionA {
    fn new(scope: &Scope, inputs: usize, pooled: usize, pool: SmoothPool2d) -> Self {
        let same =
            |name, inputs, outputs, side| BasicConv2d::same(&scope.at(name), inputs, outputs, [side; 2]);
        Self {
            branch1x1: same("branch1x1", inputs, 64, 1),
            branch5x5_1: same("branch5x5_1", inputs, 48, 1),
            branch5x5_2: same("branch5x5_2", 48, 64, 5),
            branch3x3dbl_1: same("branch3x3dbl_1", inputs, 64, 1),
            branch3x3dbl_2: same("branch3x3dbl_2", 64, 96, 3),
            branch3x3dbl_3: same("branch3x3dbl_3", 96, 96, 3),
            branch_pool: same("branch_pool", inputs, pooled, 1),
            pool,
        }
    }

    fn flow<W: Way>(&self, way: &mut W, x: &W::Map) -> W::Map {
        let pooled = way.smooth(&self.pool, x);
        let maps = [
            way.conv(&self.branch1x1, x),
            way.chain(&[&self.branch5x5_1, &self.branch5x5_2], x),
            way.chain(&[&self.branch3x3dbl_1, &self.branch3x3dbl_2, &self.branch3x3dbl_3], x),
            way.conv(&self.branch_pool, &pooled),
        ];
        way.concat(&maps)
    }
}

/// Halves, to 480 channels more.
#[derive(Module, Debug)]
pub struct InceptionB {
    branch3x3: BasicConv2d,
    branch3x3dbl_1: BasicConv2d,
    branch3x3dbl_2: BasicConv2d,
    branch3x3dbl_3: BasicConv2d,
}

impl InceptionB {
    fn new(scope: &Scope, inputs: usize) -> Self {
        Self {
            branch3x3: BasicConv2d::inside(&scope.at("branch3x3"), inputs, 384, 2),
            branch3x3dbl_1: BasicConv2d::same(&scope.at("branch3x3dbl_1"), inputs, 64, [1, 1]),
            branch3x3dbl_2: BasicConv2d::same(&scope.at("branch3x3dbl_2"), 64, 96, [3, 3]),
            branch3x3dbl_3: BasicConv2d::inside(&scope.at("branch3x3dbl_3"), 96, 96, 2),
        }
    }

    fn flow<W: Way>(&self, way: &mut W, x: &W::Map) -> W::Map {
        let maps = [
            way.conv(&self.branch3x3, x),
            way.chain(&[&self.branch3x3dbl_1, &self.branch3x3dbl_2, &self.branch3x3dbl_3], x),
            way.halve(x),
        ];
        way.concat(&maps)
    }
}

/// Windows of 7×7 once and twice, each as 1×7 and 7×1, and a pool: 768 channels.
#[derive(Module, Debug)]
pub struct InceptionC {
    branch1x1: BasicConv2d,
    branch7x7_1: BasicConv2d,
    branch7x7_2: BasicConv2d,
    branch7x7_3: BasicConv2d,
    branch7x7dbl_1: BasicConv2d,
    branch7x7dbl_2: BasicConv2d,
    branch7x7dbl_3: BasicConv2d,
    branch7x7dbl_4: BasicConv2d,
    branch7x7dbl_5: BasicConv2d,
    branch_pool: BasicConv2d,
    pool: SmoothPool2d,
}

impl InceptionC {
    fn new(scope: &Scope, inner: usize, pool: SmoothPool2d) -> Self {
        const WIDE: [usize; 2] = [1, 7];
        const TALL: [usize; 2] = [7, 1];
        let same =
            |name, inputs, outputs, kernel| BasicConv2d::same(&scope.at(name), inputs, outputs, kernel);
        Self {
            branch1x1: same("branch1x1", 768, 192, [1, 1]),
            branch7x7_1: same("branch7x7_1", 768, inner, [1, 1]),
            branch7x7_2: same("branch7x7_2", inner, inner, WIDE),
            branch7x7_3: same("branch7x7_3", inner, 192, TALL),
            branch7x7dbl_1: same("branch7x7dbl_1", 768, inner, [1, 1]),
            branch7x7dbl_2: same("branch7x7dbl_2", inner, inner, TALL),
            branch7x7dbl_3: same("branch7x7dbl_3", inner, inner, WIDE),
            branch7x7dbl_4: same("branch7x7dbl_4", inner, inner, TALL),
            branch7x7dbl_5: same("branch7x7dbl_5", inner, 192, WIDE),
            branch_pool: same("branch_pool", 768, 192, [1, 1]),
            pool,
        }
    }

    fn flow<W: Way>(&self, way: &mut W, x: &W::Map) -> W::Map {
        let twice = [
            &self.branch7x7dbl_1,
            &self.branch7x7dbl_2,
            &self.branch7x7dbl_3,
            &self.branch7x7dbl_4,
            &self.branch7x7dbl_5,
        ];
        let pooled = way.smooth(&self.pool, x);
        let maps = [
            way.conv(&self.branch1x1, x),
            way.chain(&[&self.branch7x7_1, &self.branch7x7_2, &self.branch7x7_3], x),
            way.chain(&twice, x),
            way.conv(&self.branch_pool, &pooled),
        ];
        way.concat(&maps)
    }
}

/// Halves, from 768 to 1280 channels.
#[derive(Module, Debug)]
pub struct InceptionD {
    branch3x3_1: BasicConv2d,
    branch3x3_2: BasicConv2d,
    branch7x7x3_1: BasicConv2d,
    branch7x7x3_2: BasicConv2d,
    branch7x7x3_3: BasicConv2d,
    branch7x7x3_4: BasicConv2d,
}

impl InceptionD {
    fn new(scope: &Scope) -> Self {
        let same = |name, inputs, kernel| BasicConv2d::same(&scope.at(name), inputs, 192, kernel);
        Self {
            branch3x3_1: same("branch3x3_1", 768, [1, 1]),
            branch3x3_2: BasicConv2d::inside(&scope.at("branch3x3_2"), 192, 320, 2),
            branch7x7x3_1: same("branch7x7x3_1", 768, [1, 1]),
            branch7x7x3_2: same("branch7x7x3_2", 192, [1, 7]),
            branch7x7x3_3: same("branch7x7x3_3", 192, [7, 1]),
            branch7x7x3_4: BasicConv2d::inside(&scope.at("branch7x7x3_4"), 192, 192, 2),
        }
    }

    fn flow<W: Way>(&self, way: &mut W, x: &W::Map) -> W::Map {
        let seven = [&self.branch7x7x3_1, &self.branch7x7x3_2, &self.branch7x7x3_3, &self.branch7x7x3_4];
        let maps =
            [way.chain(&[&self.branch3x3_1, &self.branch3x3_2], x), way.chain(&seven, x), way.halve(x)];
        way.concat(&maps)
    }
}

/// Windows of 1×3 and 3×1 side by side, and a pool: 2048 channels.
#[derive(Module, Debug)]
pub struct InceptionE {
    branch1x1: BasicConv2d,
    branch3x3_1: BasicConv2d,
    branch3x3_2a: BasicConv2d,
    branch3x3_2b: BasicConv2d,
    branch3x3dbl_1: BasicConv2d,
    branch3x3dbl_2: BasicConv2d,
    branch3x3dbl_3a: BasicConv2d,
    branch3x3dbl_3b: BasicConv2d,
    branch_pool: BasicConv2d,
    pool: SmoothPool2d,
}

impl InceptionE {
    fn new(scope: &Scope, inputs: usize, pool: SmoothPool2d) -> Self {
        let same =
            |name, inputs, outputs, kernel| BasicConv2d::same(&scope.at(name), inputs, outputs, kernel);
        Self {
            branch1x1: same("branch1x1", inputs, 320, [1, 1]),
            branch3x3_1: same("branch3x3_1", inputs, 384, [1, 1]),
            branch3x3_2a: same("branch3x3_2a", 384, 384, [1, 3]),
            branch3x3_2b: same("branch3x3_2b", 384, 384, [3, 1]),
            branch3x3dbl_1: same("branch3x3dbl_1", inputs, 448, [1, 1]),
            branch3x3dbl_2: same("branch3x3dbl_2", 448, 384, [3, 3]),
            branch3x3dbl_3a: same("branch3x3dbl_3a", 384, 384, [1, 3]),
            branch3x3dbl_3b: same("branch3x3dbl_3b", 384, 384, [3, 1]),
            branch_pool: same("branch_pool", inputs, 192, [1, 1]),
            pool,
        }
    }

    fn flow<W: Way>(&self, way: &mut W, x: &W::Map) -> W::Map {
        let once = way.conv(&self.branch3x3_1, x);
        let twice = way.chain(&[&self.branch3x3dbl_1, &self.branch3x3dbl_2], x);
        let pooled = way.smooth(&self.pool, x);
        let maps = [
            way.conv(&self.branch1x1, x),
            way.conv(&self.branch3x3_2a, &once),
            way.conv(&self.branch3x3_2b, &once),
            way.conv(&self.branch3x3dbl_3a, &twice),
            way.conv(&self.branch3x3dbl_3b, &twice),
            way.conv(&self.branch_pool, &pooled),
        ];
        way.concat(&maps)
    }
}

/// Five convolutions, eleven blocks of branches, and a dense layer over the means.
#[derive(Module, Debug)]
pub struct InceptionV3 {
    Conv2d_1a_3x3: BasicConv2d,
    Conv2d_2a_3x3: BasicConv2d,
    Conv2d_2b_3x3: BasicConv2d,
    Conv2d_3b_1x1: BasicConv2d,
    Conv2d_4a_3x3: BasicConv2d,
    Mixed_5b: InceptionA,
    Mixed_5c: InceptionA,
    Mixed_5d: InceptionA,
    Mixed_6a: InceptionB,
    Mixed_6b: InceptionC,
    Mixed_6c: InceptionC,
    Mixed_6d: InceptionC,
    Mixed_6e: InceptionC,
    Mixed_7a: InceptionD,
    Mixed_7b: InceptionE,
    Mixed_7c: InceptionE,
    dropout: Dropout,
    fc: Linear,
}

impl InceptionV3 {
    /// The network at this place.
    pub fn new(scope: &Scope, config: &NetConfig) -> Self {
        let mean = SmoothPool2d { greatest: false, count_padding: !config.fid_pools };
        let last = SmoothPool2d { greatest: config.fid_pools, ..mean.clone() };
        let a = |name, inputs, pooled| InceptionA::new(&scope.at(name), inputs, pooled, mean.clone());
        let c = |name, inner| InceptionC::new(&scope.at(name), inner, mean.clone());
        Self {
            Conv2d_1a_3x3: BasicConv2d::inside(&scope.at("Conv2d_1a_3x3"), config.in_channels, 32, 2),
            Conv2d_2a_3x3: BasicConv2d::inside(&scope.at("Conv2d_2a_3x3"), 32, 32, 1),
            Conv2d_2b_3x3: BasicConv2d::same(&scope.at("Conv2d_2b_3x3"), 32, 64, [3, 3]),
            Conv2d_3b_1x1: BasicConv2d::same(&scope.at("Conv2d_3b_1x1"), 64, 80, [1, 1]),
            Conv2d_4a_3x3: BasicConv2d::inside(&scope.at("Conv2d_4a_3x3"), 80, 192, 1),
            Mixed_5b: a("Mixed_5b", 192, 32),
            Mixed_5c: a("Mixed_5c", 256, 64),
            Mixed_5d: a("Mixed_5d", 288, 64),
            Mixed_6a: InceptionB::new(&scope.at("Mixed_6a"), 288),
            Mixed_6b: c("Mixed_6b", 128),
            Mixed_6c: c("Mixed_6c", 160),
            Mixed_6d: c("Mixed_6d", 160),
            Mixed_6e: c("Mixed_6e", 192),
            Mixed_7a: InceptionD::new(&scope.at("Mixed_7a")),
            Mixed_7b: InceptionE::new(&scope.at("Mixed_7b"), 1280, mean.clone()),
            Mixed_7c: InceptionE::new(&scope.at("Mixed_7c"), FEATURES, last),
            dropout: Dropout::new(config.dropout.unwrap_or(DROPOUT)),
            fc: Linear::new(&scope.at("fc"), FEATURES, config.classes, WeightInit::KaimingUniformFanIn),
        }
    }

    /// The maps before each halving but the first, and the last of all.
    fn maps<W: Way>(&self, way: &mut W, x: &W::Map) -> [W::Map; 5] {
        let first = way.chain(&[&self.Conv2d_1a_3x3, &self.Conv2d_2a_3x3, &self.Conv2d_2b_3x3], x);
        let x = way.halve(&first);
        let second = way.chain(&[&self.Conv2d_3b_1x1, &self.Conv2d_4a_3x3], &x);
        let x = way.halve(&second);
        let blocks = [&self.Mixed_5b, &self.Mixed_5c, &self.Mixed_5d];
        let third = blocks.iter().fold(x, |x, block| block.flow(way, &x));
        let x = self.Mixed_6a.flow(way, &third);
        let blocks = [&self.Mixed_6b, &self.Mixed_6c, &self.Mixed_6d, &self.Mixed_6e];
        let fourth = blocks.iter().fold(x, |x, block| block.flow(way, &x));
        let x = self.Mixed_7a.flow(way, &fourth);
        let x = self.Mixed_7b.flow(way, &x);
        let last = self.Mixed_7c.flow(way, &x);
        [first, second, third, fourth, last]
    }

    /// The features that pictures are compared by: [n, 2048] of [n, c, h, w].
    pub fn pooled(&self, x: Tensor<4>) -> Tensor<2> {
        global_avg_pool(self.trunk(x))
    }

    /// [`Self::pooled`] written down.
    pub fn describe_pooled(&self, graph: &mut Graph, x: &Value) -> Value {
        let [.., last] = self.maps(graph, x);
        let x = graph.global_average_pool(&last);
        graph.flatten(&x)
    }
}

impl Backbone for InceptionV3 {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        let [_n, _c, _h, _w] = x.dims();
        let [.., last] = self.maps(&mut Run, &x);
        last // [n, 2048, about h / 32, w / 32]
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        self.fc.forward(self.dropout.forward(global_avg_pool(map))) // [n, classes]
    }

    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        let maps = self.maps(&mut Run, &x);
        maps.into_iter().zip([2, 4, 8, 16, 32]).map(|(map, stride)| FeatureMap { map, stride }).collect()
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = self.describe_pooled(graph, x);
        self.fc.describe(graph, &x)
    }
}
