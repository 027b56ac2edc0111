//! The engine's CPU tensors as slices, and back.

use std::ops::Range;

use burn::backend::flex::FlexTensor;
use burn::backend::ops::ModuleOps;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::DType;

use super::{
    Gradients, Inputs, Kernels, Memory, NormalizeGradients, Normalized, Perhaps, Pooled, PooledMemory, Rois,
    TransposedWindow, Window, WindowThenPool, conv, conv_pool, dense, elementwise, join, modulate, norm,
    pool, roi, transpose,
};
use crate::{Function, Kept, Pool2d, RoiAlign};

/// The tensor with its values one after the other.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The values of a [`contiguous`] tensor of f32.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

/// The sizes of a tensor of `D` dimensions.
///
/// # Panics
/// If it has another number of them.
pub(super) fn sizes<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.shape().dims()
}

/// Whether the kernels can compute with all of these.
fn all_f32<'a>(tensors: impl IntoIterator<Item = &'a FlexTensor>) -> bool {
    tensors.into_iter().all(|tensor| tensor.dtype() == DType::F32)
}

impl Kernels for Flex {
    fn convolve(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Perhaps<Self>,
        window: Window,
        relu: bool,
    ) -> FlexTensor {
        let bias = bias.into_option();
        match all_f32([&x, &weight].into_iter().chain(&bias)) {
            true => conv::forward(x, weight, bias, window, relu),
            false => conv::by_engine::<Self>(x, weight, bias, window, relu),
        }
    }

    fn convolve_transposed(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Perhaps<Self>,
        window: TransposedWindow,
    ) -> FlexTensor {
        let bias = bias.into_option();
        match all_f32([&x, &weight].into_iter().chain(&bias)) {
            true => transpose::forward(x, weight, bias, window),
            false => Self::conv_transpose2d(x, weight, bias, window.options()),
        }
    }

    fn activate(x: FlexTensor, function: Function) -> FlexTensor {
        match all_f32([&x]) {
            true => elementwise::forward(x, function),
            false => elementwise::by_engine::<Self>(x, function),
        }
    }

    fn normalize(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        residual: Perhaps<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Normalized<Self> {
        let residual = residual.into_option();
        match all_f32([&x, &gamma, &beta].into_iter().chain(&residual)) {
            true => norm::forward(x, gamma, beta, residual, epsilon, relu),
            false => norm::by_engine::<Self>(x, gamma, beta, residual, epsilon, relu),
        }
    }

    fn modulate(x: FlexTensor, gain: FlexTensor, shift: FlexTensor) -> FlexTensor {
        match all_f32([&x, &gain, &shift]) {
            true => modulate::forward([x, gain, shift]),
            false => modulate::by_engine::<Self>([x, gain, shift]),
        }
    }

    fn pool(x: FlexTensor, pool: Pool2d) -> FlexTensor {
        match all_f32([&x]) {
            true => pool::forward(x, pool),
            false => pool::by_engine::<Self>(x, pool),
        }
    }

    fn join(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        match all_f32([&a, &b]) {
            true => join::forward(a, b),
            false => join::by_engine::<Self>(a, b),
        }
    }

    fn roi_align(x: FlexTensor, align: RoiAlign, rois: Rois) -> FlexTensor {
        match all_f32([&x]) {
            true => roi::forward(x, align, &rois),
            false => roi::by_engine::<Self>(x, align, &rois),
        }
    }

    fn convolve_pool(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Perhaps<Self>,
        how: WindowThenPool,
    ) -> FlexTensor {
        let bias = bias.into_option();
        match all_f32([&x, &weight].into_iter().chain(&bias)) {
            true => conv_pool::forward(x, weight, bias, how),
            false => conv_pool::in_turn::<Self>(x, weight, bias.map_or(Perhaps::Not, Perhaps::There), how),
        }
    }

    fn dense(x: FlexTensor, weight: FlexTensor, bias: Perhaps<Self>, relu: bool) -> FlexTensor {
        let bias = bias.into_option();
        match all_f32([&x, &weight].into_iter().chain(&bias)) {
            true => dense::forward(x, weight, bias, relu),
            false => dense::by_engine::<Self>(x, weight, bias, relu),
        }
    }
}

// A graph whose forward pass was not in f32 has no gradients: training is.
impl Gradients for Flex {
    fn cut_gradient(y: FlexTensor, dy: FlexTensor) -> FlexTensor {
        conv::relu_gradient(y, dy)
    }

    fn convolve_gradient_x(x: FlexTensor, weight: FlexTensor, dy: FlexTensor, window: Window) -> FlexTensor {
        conv::gradient_x(x, weight, dy, window)
    }

    fn convolve_gradient_weight(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        window: Window,
    ) -> FlexTensor {
        conv::gradient_weight(x, weight, dy, window)
    }

    fn convolve_gradient_bias(_x: FlexTensor, _bias: FlexTensor, dy: FlexTensor) -> FlexTensor {
        conv::gradient_bias(dy)
    }

    fn convolve_transposed_gradient_x(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        window: TransposedWindow,
    ) -> FlexTensor {
        transpose::gradient_x(x, weight, dy, window)
    }

    fn convolve_transposed_gradient_weight(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        window: TransposedWindow,
    ) -> FlexTensor {
        transpose::gradient_weight(x, weight, dy, window)
    }

    fn activation_keeps(function: Function) -> Kept {
        function.keeps()
    }

    fn activate_gradient(kept: FlexTensor, dy: FlexTensor, function: Function) -> FlexTensor {
        elementwise::gradient(kept, dy, function)
    }

    fn normalize_gradient(memory: Memory<Self>, dy: FlexTensor, residual: bool) -> NormalizeGradients<Self> {
        norm::gradient(memory, dy, residual)
    }

    fn modulate_gradients(x: FlexTensor, gain: FlexTensor, y: FlexTensor, dy: FlexTensor) -> [FlexTensor; 3] {
        modulate::gradients(x, gain, y, dy)
    }

    fn pool_with_winners(x: FlexTensor, pool: Pool2d) -> (FlexTensor, FlexTensor) {
        pool::with_winners(x, pool)
    }

    fn pool_gradient(x: FlexTensor, winners: FlexTensor, dy: FlexTensor, pool: Pool2d) -> FlexTensor {
        pool::gradient(x, winners, dy, pool)
    }

    fn join_gradient(dy: FlexTensor, channels: Range<usize>) -> FlexTensor {
        join::gradient(dy, channels)
    }

    fn roi_align_gradient(map: [usize; 4], dy: FlexTensor, align: RoiAlign, rois: Rois) -> FlexTensor {
        roi::gradient(map, dy, align, &rois)
    }

    fn convolve_pool_with_winners(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Option<FlexTensor>,
        how: WindowThenPool,
    ) -> Pooled<Self> {
        conv_pool::with_winners(x, weight, bias, how)
    }

    fn convolve_pool_gradients(
        memory: PooledMemory<Self>,
        dy: FlexTensor,
        wanted: Inputs<bool>,
    ) -> Inputs<Option<FlexTensor>> {
        conv_pool::gradients(memory, dy, wanted)
    }

    fn dense_gradient_x(weight: FlexTensor, dy: FlexTensor) -> FlexTensor {
        dense::gradient_x(weight, dy)
    }

    fn dense_gradient_weight(x: FlexTensor, dy: FlexTensor) -> FlexTensor {
        dense::gradient_weight(x, dy)
    }

    fn dense_gradient_bias(dy: FlexTensor) -> FlexTensor {
        dense::gradient_bias(dy)
    }
}
