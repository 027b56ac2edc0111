//! The operations with gradients, on every device.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;

use super::{
    Gradients, Kernels, Normalized, Perhaps, Rois, TransposedWindow, Window, WindowThenPool, conv, conv_pool,
    dense, elementwise, join, modulate, norm, pool, roi, transpose,
};
use crate::{Function, Pool2d, RoiAlign};

impl<B: Gradients, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Perhaps<Self>,
        window: Window,
        relu: bool,
    ) -> FloatTensor<Self> {
        conv::recorded::<B, C>(x, weight, bias.into_option(), window, relu)
    }

    fn convolve_transposed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Perhaps<Self>,
        window: TransposedWindow,
    ) -> FloatTensor<Self> {
        transpose::recorded::<B, C>(x, weight, bias.into_option(), window)
    }

    fn activate(x: FloatTensor<Self>, function: Function) -> FloatTensor<Self> {
        elementwise::recorded::<B, C>(x, function)
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        residual: Perhaps<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Normalized<Self> {
        norm::recorded::<B, C>([x, gamma, beta], residual.into_option(), epsilon, relu)
    }

    fn modulate(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        shift: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        modulate::recorded::<B, C>([x, gain, shift])
    }

    fn pool(x: FloatTensor<Self>, pool: Pool2d) -> FloatTensor<Self> {
        pool::recorded::<B, C>(x, pool)
    }

    fn join(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        join::recorded::<B, C>(a, b)
    }

    fn roi_align(x: FloatTensor<Self>, align: RoiAlign, rois: Rois) -> FloatTensor<Self> {
        roi::recorded::<B, C>(x, align, rois)
    }

    fn convolve_pool(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Perhaps<Self>,
        how: WindowThenPool,
    ) -> FloatTensor<Self> {
        conv_pool::recorded::<B, C>(x, weight, bias.into_option(), how)
    }

    fn dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Perhaps<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        dense::recorded::<B, C>(x, weight, bias.into_option(), relu)
    }
}
