//! Dropout (Srivastava et al., 2014).

use burn::module::{Flag, Module, Param};
use burn::tensor::{Distribution, Tensor};

/// In training, zeroes each value with this probability and scales the others so that the mean stays.
///
/// The mask comes from the device's generator: seed the device before each step for a reproducible run.
#[derive(Module, Debug)]
pub struct Dropout {
    /// Share of the values that are zeroed, in [0, 1).
    pub probability: f64,
    /// Off when the layer is frozen or under validation.
    pub training: Param<Flag>,
}

impl Dropout {
    /// A layer that drops this share of the values.
    pub fn new(probability: f64) -> Self {
        Self { probability, training: Param::from_bool(true) }
    }

    /// Any shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if !self.training.is_enabled() || !x.device().is_autodiff() || self.probability == 0.0 {
            return x;
        }
        let keep = 1.0 - self.probability;
        let mask = x.random_like(Distribution::Bernoulli(keep)).mul_scalar(1.0 / keep);
        x * mask
    }
}
