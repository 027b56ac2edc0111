//! The engine's extension: operations on its tensors that use the kernels of this crate on the CPU, and the
//! engine's own operations on every other device.
//!
//! Models call these functions with tensors of any device, with gradients or without.

mod autodiff;
mod conv;
mod conv_pool;
mod dense;
mod elementwise;
mod flex;
mod join;
mod memory;
mod modulate;
mod norm;
mod pool;
mod roi;
mod transpose;

use std::ops::Range;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Backend, Dispatch, ExtensionType, TensorMetadata, backend_extension, get_or_init_device_settings,
};
use burn::tensor::Tensor;
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};

use crate::{Function, Kept, Pool2d, RoiAlign};
pub use conv_pool::{Inputs, Pooled, PooledMemory, WindowThenPool};
pub use norm::{Memory, NormalizeGradients};
pub use roi::Rois;

/// What happens around the weights of a convolution. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Zeros added on each side of the input.
    pub padding: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Independent groups of channels.
    pub groups: usize,
}

impl Window {
    fn options(self) -> ConvOptions<2> {
        ConvOptions::new(self.stride, self.padding, self.dilation, self.groups)
    }
}

/// What happens around the weights of a transposed convolution. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransposedWindow {
    /// Output pixels from one input pixel to the next.
    pub stride: [usize; 2],
    /// Output pixels cut off on each side.
    pub padding: [usize; 2],
    /// Output pixels added at the bottom and the right; less than the stride.
    pub output_padding: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Independent groups of channels.
    pub groups: usize,
}

impl TransposedWindow {
    fn options(self) -> ConvTransposeOptions<2> {
        ConvTransposeOptions::new(self.stride, self.padding, self.output_padding, self.dilation, self.groups)
    }
}

/// `x ∗ weight + bias`, with negative values set to zero where `relu`: input `[n, c_in, h, w]`, weight `[c_out, c_in / groups, kernel h, kernel w]`,
/// bias `[c_out]`, output `[n, c_out, h', w']`. Differentiable in all three.
///
/// # Panics
/// If the shapes cannot work; the message names them.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: Window,
    relu: bool,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Kernels>::convolve(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.map_or(Perhaps::Not, |bias| Perhaps::There(bias.into_dispatch())),
        window,
        relu,
    ))
}

/// `x ∗ᵀ weight + bias`: input `[n, c_in, h, w]`, weight `[c_in, c_out / groups, kernel h, kernel w]`, bias `[c_out]`,
/// output `[n, c_out, h', w']` with `h' = (h − 1) · stride − 2 · padding + dilation · (kernel − 1) + output_padding + 1`.
/// Differentiable in all three.
///
/// # Panics
/// If the shapes cannot work; the message names them.
pub fn conv_transpose2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: TransposedWindow,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Kernels>::convolve_transposed(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.map_or(Perhaps::Not, |bias| Perhaps::There(bias.into_dispatch())),
        window,
    ))
}

/// The function of each value by itself: any shape. Differentiable.
pub fn activate<const D: usize>(x: Tensor<D>, function: Function) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Kernels>::activate(x.into_dispatch(), function))
}

/// Batch normalisation by the batch's own statistics, then `+ residual`, then relu where asked:
/// `relu(gamma · (x − mean) / √(variance + epsilon) + beta + residual)`, with `x`, `residual` and the result
/// `[n, c, h, w]`, and one `gamma`, `beta`, `mean` and (biased) `variance` for each channel. The result is
/// differentiable in `x`, `gamma`, `beta` and `residual`.
///
/// # Panics
/// If the shapes cannot work; the message names them.
pub fn batch_norm(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, then: Then) -> BatchNormed {
    let all = <Dispatch as Kernels>::normalize(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        then.residual.map_or(Perhaps::Not, |residual| Perhaps::There(residual.into_dispatch())),
        then.epsilon,
        then.relu,
    );
    BatchNormed {
        out: Tensor::from_dispatch(all.out),
        mean: Tensor::from_dispatch(all.mean),
        variance: Tensor::from_dispatch(all.variance),
    }
}

/// `relu(gain · x + shift)` with a factor and a summand for each channel of each image: input and output
/// `[n, c, h, w]`, `gain` and `shift` `[n, c]`. Differentiable in all three.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn modulate_relu(x: Tensor<4>, gain: Tensor<2>, shift: Tensor<2>) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Kernels>::modulate(
        x.into_dispatch(),
        gain.into_dispatch(),
        shift.into_dispatch(),
    ))
}

/// The largest value of each window: input `[n, c, h, w]`, output `[n, c, h', w']`. Differentiable.
///
/// # Panics
/// If the shapes cannot work; the message names them.
pub fn max_pool2d(x: Tensor<4>, pool: Pool2d) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Kernels>::pool(x.into_dispatch(), pool))
}

/// Maps `[n, c, h, w]` and `[n, c', h, w]` one after the other along the channels: `[n, c + c', h, w]`. Differentiable.
///
/// # Panics
/// If they differ in more than the channels.
pub fn join(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Kernels>::join(a.into_dispatch(), b.into_dispatch()))
}

/// Regions of maps `[n, c, h, w]`, brought to `[regions, c, bins, bins]`. Differentiable in the maps.
///
/// # Panics
/// If a region is of a picture outside of the batch, or the maps are empty.
pub fn roi_align(x: Tensor<4>, align: RoiAlign, rois: Rois) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Kernels>::roi_align(x.into_dispatch(), align, rois))
}

/// [`conv2d`] with relu, then [`max_pool2d`], without ever holding the result in between for all images at once.
/// Differentiable as [`conv2d`] is.
///
/// # Panics
/// If the shapes cannot work; the message names them.
pub fn conv2d_relu_max_pool2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    how: WindowThenPool,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Kernels>::convolve_pool(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.map_or(Perhaps::Not, |bias| Perhaps::There(bias.into_dispatch())),
        how,
    ))
}

/// `x · weightᵀ + bias`, with negative values set to zero where `relu`: input `[n, in]`, weight `[out, in]`, bias
/// `[out]`, output `[n, out]`. Differentiable in all three.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn dense(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, relu: bool) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Kernels>::dense(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.map_or(Perhaps::Not, |bias| Perhaps::There(bias.into_dispatch())),
        relu,
    ))
}

/// What follows the division by the deviation.
#[derive(Clone, Debug)]
pub struct Then {
    /// Added to the variance before the root.
    pub epsilon: f64,
    /// Added to the result, of the input's shape.
    pub residual: Option<Tensor<4>>,
    /// Whether negative results become zero.
    pub relu: bool,
}

/// What [`batch_norm`] gives.
#[derive(Clone, Debug)]
pub struct BatchNormed {
    /// The result, of the input's shape.
    pub out: Tensor<4>,
    /// The mean of each channel.
    pub mean: Tensor<1>,
    /// The variance of each channel, divided by the number of values.
    pub variance: Tensor<1>,
}

/// [`BatchNormed`] as a device has it.
#[derive(Clone, Debug, ExtensionType)]
pub struct Normalized<B: Backend> {
    /// The result.
    pub out: FloatTensor<B>,
    /// The mean of each channel.
    pub mean: FloatTensor<B>,
    /// The variance of each channel.
    pub variance: FloatTensor<B>,
}

/// A tensor that may be left out.
#[derive(Clone, Debug, ExtensionType)]
pub enum Perhaps<B: Backend> {
    /// It is there.
    There(FloatTensor<B>),
    /// It is not.
    Not,
}

impl<B: Backend> Perhaps<B> {
    fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::There(tensor) => Some(tensor),
            Self::Not => None,
        }
    }
}

/// The operations; the bodies here are the engine's own, for devices that this crate has no kernels for.
#[backend_extension(Flex, Autodiff)]
pub trait Kernels: Backend {
    /// See [`conv2d`].
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Perhaps<Self>,
        window: Window,
        relu: bool,
    ) -> FloatTensor<Self> {
        conv::by_engine::<Self>(x, weight, bias.into_option(), window, relu)
    }

    /// See [`conv_transpose2d`].
    fn convolve_transposed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Perhaps<Self>,
        window: TransposedWindow,
    ) -> FloatTensor<Self> {
        Self::conv_transpose2d(x, weight, bias.into_option(), window.options())
    }

    /// See [`activate`].
    fn activate(x: FloatTensor<Self>, function: Function) -> FloatTensor<Self> {
        elementwise::by_engine::<Self>(x, function)
    }

    /// See [`batch_norm`].
    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        #[extension_type] residual: Perhaps<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Normalized<Self> {
        norm::by_engine::<Self>(x, gamma, beta, residual.into_option(), epsilon, relu)
    }

    /// See [`modulate_relu`].
    fn modulate(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        shift: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        modulate::by_engine::<Self>([x, gain, shift])
    }

    /// See [`max_pool2d`].
    fn pool(x: FloatTensor<Self>, pool: Pool2d) -> FloatTensor<Self> {
        pool::by_engine::<Self>(x, pool)
    }

    /// See [`join`].
    fn join(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        join::by_engine::<Self>(a, b)
    }

    /// See [`roi_align`].
    fn roi_align(x: FloatTensor<Self>, align: RoiAlign, rois: Rois) -> FloatTensor<Self> {
        roi::by_engine::<Self>(x, align, &rois)
    }

    /// See [`conv2d_relu_max_pool2d`].
    fn convolve_pool(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Perhaps<Self>,
        how: WindowThenPool,
    ) -> FloatTensor<Self> {
        conv_pool::in_turn::<Self>(x, weight, bias, how)
    }

    /// See [`dense`].
    fn dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Perhaps<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        dense::by_engine::<Self>(x, weight, bias.into_option(), relu)
    }
}

/// What the operations' gradients are made of; the bodies are the engine's own here as well.
pub trait Gradients: Kernels {
    /// The gradient before a relu, from its output and the gradient of that.
    fn cut_gradient(y: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu_backward(y, dy)
    }

    /// The gradient of the convolution's input.
    fn convolve_gradient_x(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        window: Window,
    ) -> FloatTensor<Self> {
        Self::conv2d_x_backward(x, weight, dy, window.options())
    }

    /// The gradient of the convolution's weight.
    fn convolve_gradient_weight(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        window: Window,
    ) -> FloatTensor<Self> {
        Self::conv2d_weight_backward(x, weight, dy, window.options())
    }

    /// The gradient of the bias of a convolution, transposed or not.
    fn convolve_gradient_bias(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::conv2d_bias_backward(x, bias, dy)
    }

    /// The gradient of the transposed convolution's input.
    fn convolve_transposed_gradient_x(
        _x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        window: TransposedWindow,
    ) -> FloatTensor<Self> {
        Self::conv_transpose2d_x_backward(weight, dy, window.options())
    }

    /// The gradient of the transposed convolution's weight.
    fn convolve_transposed_gradient_weight(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        window: TransposedWindow,
    ) -> FloatTensor<Self> {
        Self::conv_transpose2d_weight_backward(x, weight, dy, window.options())
    }

    /// What of the forward pass [`Self::activate_gradient`] is given.
    fn activation_keeps(_function: Function) -> Kept {
        Kept::Input
    }

    /// The gradient of the function's input, from what [`Self::activation_keeps`] says and the gradient of the output.
    fn activate_gradient(
        kept: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        function: Function,
    ) -> FloatTensor<Self> {
        elementwise::gradient_by_engine::<Self>(kept, dy, function)
    }

    /// The gradients of a normalisation by the batch's own statistics, and of its residual where asked.
    fn normalize_gradient(
        memory: Memory<Self>,
        dy: FloatTensor<Self>,
        residual: bool,
    ) -> NormalizeGradients<Self> {
        norm::gradient_by_engine(memory, dy, residual)
    }

    /// The gradients of a modulation's input, factors and summands.
    fn modulate_gradients(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        y: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3] {
        modulate::gradients_by_engine::<Self>(x, gain, y, dy)
    }

    /// The pooling, with what its gradient needs to know of each window.
    fn pool_with_winners(x: FloatTensor<Self>, pool: Pool2d) -> (FloatTensor<Self>, IntTensor<Self>) {
        let Pool2d { kernel, stride, padding, dilation, ceil } = pool;
        let indices = get_or_init_device_settings::<Self>(&x.device()).int_dtype;
        let all = Self::max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil, indices);
        (all.output, all.indices)
    }

    /// The convolution, relu and pooling, with what their gradients need to know.
    fn convolve_pool_with_winners(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        how: WindowThenPool,
    ) -> Pooled<Self> {
        conv_pool::in_turn_with_winners::<Self>(x, weight, bias, how)
    }

    /// The gradients of the convolution, relu and pooling in one.
    fn convolve_pool_gradients(
        memory: PooledMemory<Self>,
        dy: FloatTensor<Self>,
        wanted: Inputs<bool>,
    ) -> Inputs<Option<FloatTensor<Self>>> {
        conv_pool::gradients_in_turn(memory, dy, wanted)
    }

    /// The gradient of the dense layer's input.
    fn dense_gradient_x(weight: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(dy, weight)
    }

    /// The gradient of the dense layer's weight.
    fn dense_gradient_weight(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(Self::float_swap_dims(dy, 0, 1), x)
    }

    /// The gradient of the dense layer's bias.
    fn dense_gradient_bias(dy: FloatTensor<Self>) -> FloatTensor<Self> {
        dense::gradient_bias_by_engine::<Self>(dy)
    }

    /// The gradient of the pooling's input.
    fn pool_gradient(
        x: FloatTensor<Self>,
        winners: IntTensor<Self>,
        dy: FloatTensor<Self>,
        pool: Pool2d,
    ) -> FloatTensor<Self> {
        let Pool2d { kernel, stride, padding, dilation, ceil } = pool;
        Self::max_pool2d_with_indices_backward(x, kernel, stride, padding, dilation, ceil, dy, winners).x_grad
    }

    /// The gradient of the map that became these channels of the joined one.
    fn join_gradient(dy: FloatTensor<Self>, channels: Range<usize>) -> FloatTensor<Self> {
        join::gradient_by_engine::<Self>(dy, channels)
    }

    /// The gradient of the maps `[n, c, h, w]` that regions were read from.
    fn roi_align_gradient(
        map: [usize; 4],
        dy: FloatTensor<Self>,
        align: RoiAlign,
        rois: Rois,
    ) -> FloatTensor<Self> {
        roi::gradient_by_engine::<Self>(map, dy, align, &rois)
    }
}

#[cfg(test)]
mod tests;
