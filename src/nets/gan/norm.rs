//! Batch norm whose scale and shift come from a vector (de Vries et al. 2017, "Modulating early visual processing by
//! language", section 3; from the latent numbers too: Chen et al. 2019, "On Self Modulation for GANs").

use burn::module::Module;
use burn::tensor::Tensor;
use opticus_kernels::engine;

use crate::nets::init::{Scope, WeightInit};
use crate::nets::layers::{BatchNorm2d, Linear};

/// `relu((1 + G v) · norm(x) + B v)` with one scale and one shift for each picture and channel.
#[derive(Module, Debug)]
pub struct ModulatedNorm {
    norm: BatchNorm2d,
    gain: Linear,
    shift: Linear,
}

impl ModulatedNorm {
    /// For maps of so many channels, by vectors of so many numbers. Begins near plain norms.
    pub fn new(scope: &Scope, channels: usize, numbers: usize) -> Self {
        let dense = |name: &str| Linear::new(&scope.at(name), numbers, channels, WeightInit::Normal(0.02));
        Self {
            norm: BatchNorm2d::new(&scope.at("norm"), channels),
            gain: dense("gain"),
            shift: dense("shift"),
        }
    }

    /// Input and output [n, c, h, w], vectors [n, numbers].
    pub fn forward_relu(&self, x: Tensor<4>, vectors: &Tensor<2>) -> Tensor<4> {
        let each = |layer: &Linear| layer.forward(vectors.clone());
        engine::modulate_relu(self.norm.forward(x), each(&self.gain) + 1.0, each(&self.shift))
    }
}
