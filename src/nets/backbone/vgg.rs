//! VGG-16 (Simonyan and Zisserman, 2015, configuration D) as torchvision defines it, without and with batch
//! normalisation: 138,357,544 and 138,365,992 parameters for 1000 classes.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::nets::config::NetConfig;
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{
    ActivationKind, AdaptiveAvgPool2d, BatchNorm2d, Conv2dConfig, DenseLayer, Dropout, Layer, Linear,
    MaxPool2d, describe, describe_dense, run, run_dense,
};
use crate::nets::net::{Backbone, FeatureMap};

/// Output channels of the 3×3 convolutions of each stage; a max-pool ends each stage.
const STAGES: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];
/// Rows and columns the dense layers see.
const SIDE: usize = 7;
const HIDDEN: usize = 4096;
const DROPOUT: f64 = 0.5;
/// Five halvings must leave something.
pub const MIN_SIDE: u32 = 32;

/// Thirteen convolutions and three dense layers.
#[derive(Module, Debug)]
pub struct Vgg {
    features: Vec<Layer>,
    avgpool: AdaptiveAvgPool2d,
    classifier: Vec<DenseLayer>,
}

/// Whether a normalisation follows each convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// `vgg16`.
    None,
    /// `vgg16_bn`.
    Batch,
}

impl Vgg {
    /// For SSD (Liu et al. 2016, section 3): all up to the fourth max-pool, and from that to before the fifth, each at a
    /// place of its own. The third rounds up, so that 300 pixels make 38 positions.
    pub fn for_ssd(scope: &Scope, fifth: &Scope) -> (Vec<Layer>, Vec<Layer>) {
        let (mut all, mut channels) = (Vec::new(), 3);
        for (number, stage) in STAGES.iter().enumerate() {
            let last = number + 1 == STAGES.len();
            if last {
                // What follows is counted anew, the pool before it first.
                all.push(vec![Layer::MaxPool2d(MaxPool2d::new(2, 2))]);
            }
            if all.is_empty() {
                all.push(Vec::new());
            }
            let place = if last { fifth } else { scope };
            let Some(layers) = all.last_mut() else { continue };
            for &width in *stage {
                let conv =
                    Conv2dConfig::new(channels, width, 3).padding(1).init(WeightInit::KaimingNormalFanOut);
                layers.push(Layer::Conv2d(conv.build(&place.at(layers.len()))));
                layers.push(Layer::activation(ActivationKind::Relu));
                channels = width;
            }
            if number < 3 {
                layers.push(Layer::MaxPool2d(MaxPool2d { ceil_mode: number == 2, ..MaxPool2d::new(2, 2) }));
            }
        }
        let last = all.pop().unwrap_or_default();
        (all.pop().unwrap_or_default(), last)
    }

    /// The network at this place.
    pub fn new(scope: &Scope, config: &NetConfig, norm: Norm) -> Self {
        let mut features = Vec::new();
        let mut channels = config.in_channels;
        let at = |features: &Vec<Layer>| scope.at("features").at(features.len());
        for stage in STAGES {
            for &width in stage {
                let conv =
                    Conv2dConfig::new(channels, width, 3).padding(1).init(WeightInit::KaimingNormalFanOut);
                features.push(Layer::Conv2d(conv.build(&at(&features))));
                if norm == Norm::Batch {
                    features.push(Layer::BatchNorm2d(BatchNorm2d::new(&at(&features), width)));
                }
                features.push(Layer::activation(ActivationKind::Relu));
                channels = width;
            }
            features.push(Layer::MaxPool2d(MaxPool2d::new(2, 2)));
        }
        let dropout = || DenseLayer::Dropout(Dropout::new(config.dropout.unwrap_or(DROPOUT)));
        let relu = || DenseLayer::activation(ActivationKind::Relu);
        let linear = |index: usize, inputs, outputs| {
            let scope = scope.at("classifier").at(index);
            DenseLayer::Linear(Linear::new(&scope, inputs, outputs, WeightInit::Normal(0.01)))
        };
        Self {
            features,
            avgpool: AdaptiveAvgPool2d { side: SIDE },
            classifier: vec![
                linear(0, channels * SIDE * SIDE, HIDDEN),
                relu(),
                dropout(),
                linear(3, HIDDEN, HIDDEN),
                relu(),
                dropout(),
                linear(6, HIDDEN, config.classes),
            ],
        }
    }
}

impl Backbone for Vgg {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        let [_n, _c, _h, _w] = x.dims();
        // The last layer is a max-pool; it belongs to the head, so that the map is the last convolution's.
        run(&self.features[..self.features.len() - 1], x) // [n, 512, h / 16, w / 16]
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        let x = run(&self.features[self.features.len() - 1..], map); // [n, 512, h / 32, w / 32]
        let x = self.avgpool.forward(x).flatten(1, 3); // [n, 512 · 7 · 7]
        run_dense(&self.classifier, x) // [n, classes]
    }

    /// The last map before each max-pool.
    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        let mut features = Vec::new();
        let (mut x, mut stride) = (x, 1);
        for layer in &self.features {
            if matches!(layer, Layer::MaxPool2d(_)) {
                features.push(FeatureMap { map: x.clone(), stride });
                stride *= 2;
            }
            x = layer.forward(x);
        }
        features
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = describe(&self.features, graph, x);
        let x = self.avgpool.describe(graph, &x);
        let x = graph.flatten(&x);
        describe_dense(&self.classifier, graph, &x)
    }
}
