//! The Keras tutorial's network: three 3×3 convolutions without padding, each halved by max-pooling, and two
//! dense layers. 11,170,250 parameters at 224×224×3 and 10 classes.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::nets::config::NetConfig;
use crate::nets::graph::{Graph, Value};
use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{Conv2d, Conv2dConfig, Dropout, Linear, MaxPool2d};
use crate::nets::net::{Backbone, FeatureMap};

const CHANNELS: [usize; 3] = [32, 64, 128];
const HIDDEN: usize = 128;
const DROPOUT: f64 = 0.5;
/// The first dense layer grows with the picture; beyond this many inputs it would not fit a sensible memory.
const MAX_FLATTENED: usize = 1 << 22;

/// Convolutions 32, 64, 128 with ReLU and max-pool 2; flatten, dense 128 with ReLU, dropout, dense `classes`.
#[derive(Module, Debug)]
pub struct SimpleCnn {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    pool: MaxPool2d,
    dense1: Linear,
    dropout: Dropout,
    dense2: Linear,
}

/// Number of values that reach the first dense layer.
///
/// # Errors
/// The layer at which the picture of the configuration has become too small, or too many values.
pub fn flattened(config: &NetConfig) -> Result<usize, String> {
    let [mut h, mut w] = [config.input.height, config.input.width].map(|side| side as usize);
    for layer in 1..=CHANNELS.len() {
        // A window of three without padding takes two; a pool of two needs two.
        if h < 4 || w < 4 {
            return Err(format!(
                "an input of {}x{} reaches conv{layer} and its max-pool as {w}x{h}, which need 4x4. Use pictures \
                 of at least 22x22",
                config.input.width, config.input.height
            ));
        }
        [h, w] = [(h - 2) / 2, (w - 2) / 2];
    }
    let flattened = CHANNELS[2] * h * w;
    if flattened > MAX_FLATTENED {
        return Err(format!(
            "an input of {}x{} gives dense1 {flattened} inputs, more than {MAX_FLATTENED}. Use smaller pictures \
             or a network that averages over positions, such as resnet18",
            config.input.width, config.input.height
        ));
    }
    Ok(flattened)
}

impl SimpleCnn {
    /// The network at this place, for pictures that leave `flattened` values before the dense layers.
    pub fn new(scope: &Scope, config: &NetConfig, flattened: usize) -> Self {
        let conv = |name, inputs, outputs| {
            Conv2dConfig::new(inputs, outputs, 3).init(WeightInit::GlorotUniform).build(&scope.at(name))
        };
        let dense =
            |name, inputs, outputs| Linear::new(&scope.at(name), inputs, outputs, WeightInit::GlorotUniform);
        let [c1, c2, c3] = CHANNELS;
        Self {
            conv1: conv("conv1", config.in_channels, c1),
            conv2: conv("conv2", c1, c2),
            conv3: conv("conv3", c2, c3),
            pool: MaxPool2d::new(2, 2),
            dense1: dense("dense1", flattened, HIDDEN),
            dropout: Dropout::new(config.dropout.unwrap_or(DROPOUT)),
            dense2: dense("dense2", HIDDEN, config.classes),
        }
    }
}

impl Backbone for SimpleCnn {
    fn trunk(&self, x: Tensor<4>) -> Tensor<4> {
        let [_n, _c, _h, _w] = x.dims();
        let x = self.conv1.forward_relu_pool(x, &self.pool); // [n, 32, (h - 2) / 2, (w - 2) / 2]
        let x = self.conv2.forward_relu_pool(x, &self.pool); // [n, 64, ..]
        self.conv3.forward_relu(x) // [n, 128, ..]
    }

    fn head(&self, map: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(map).flatten(1, 3); // [n, flattened]
        let x = self.dropout.forward(self.dense1.forward_relu(x)); // [n, 128]
        self.dense2.forward(x) // [n, classes]
    }

    fn features(&self, x: Tensor<4>) -> Vec<FeatureMap> {
        let first = self.conv1.forward_relu(x);
        let second = self.conv2.forward_relu(self.pool.forward(first.clone()));
        let third = self.conv3.forward_relu(self.pool.forward(second.clone()));
        [first, second, third]
            .into_iter()
            .zip([1, 2, 4])
            .map(|(map, stride)| FeatureMap { map, stride })
            .collect()
    }

    fn describe(&self, graph: &mut Graph, x: &Value) -> Value {
        let x = [&self.conv1, &self.conv2, &self.conv3].into_iter().fold(x.clone(), |x, conv| {
            let x = conv.describe(graph, &x);
            let x = graph.relu(&x);
            self.pool.describe(graph, &x)
        });
        let x = graph.flatten(&x);
        let x = self.dense1.describe(graph, &x);
        let x = graph.relu(&x);
        self.dense2.describe(graph, &x)
    }
}
