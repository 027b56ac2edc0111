//! Transposed convolution and its gradients.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

use super::flex::{contiguous, sizes, values};
use super::memory::Buffer;
use super::{Gradients, Perhaps, TransposedWindow};
use crate::{
    Activation, ConvTranspose2d, ConvTransposeShape, conv_transpose2d, conv_transpose2d_backward_data,
    conv_transpose2d_backward_weight,
};

fn shape(x: &FlexTensor, weight: &FlexTensor, window: TransposedWindow) -> ConvTransposeShape {
    let [in_channels, group_channels, kernel_h, kernel_w] = sizes(weight);
    let TransposedWindow { stride, padding, output_padding, dilation, groups } = window;
    let conv = ConvTranspose2d {
        in_channels,
        out_channels: group_channels.saturating_mul(groups),
        kernel: [kernel_h, kernel_w],
        stride,
        padding,
        output_padding,
        dilation,
        groups,
    };
    match conv.check(sizes(x)) {
        Ok(shape) => shape,
        Err(error) => panic!("{error}"),
    }
}

/// To be written in full.
fn buffer(shape: [usize; 4]) -> Buffer<f32> {
    Buffer::new(shape.iter().product())
}

pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    window: TransposedWindow,
) -> FlexTensor {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), bias.map(contiguous));
    let shape = shape(&x, &weight, window);
    let mut out = buffer(shape.output_shape());
    let bias = bias.as_ref().map(values);
    conv_transpose2d(&shape, values(&x), values(&weight), bias, Activation::None, &mut out);
    out.into_tensor(&shape.output_shape())
}

pub(super) fn gradient_x(
    x: FlexTensor,
    weight: FlexTensor,
    dy: FlexTensor,
    window: TransposedWindow,
) -> FlexTensor {
    let (weight, dy) = (contiguous(weight), contiguous(dy));
    let shape = shape(&x, &weight, window);
    let mut dx = buffer(shape.input_shape());
    conv_transpose2d_backward_data(&shape, values(&weight), values(&dy), &mut dx);
    dx.into_tensor(&shape.input_shape())
}

pub(super) fn gradient_weight(
    x: FlexTensor,
    weight: FlexTensor,
    dy: FlexTensor,
    window: TransposedWindow,
) -> FlexTensor {
    let (x, dy) = (contiguous(x), contiguous(dy));
    let shape = shape(&x, &weight, window);
    let mut dw = buffer(shape.weight_shape());
    conv_transpose2d_backward_weight(&shape, values(&x), values(&dy), &mut dw);
    dw.into_tensor(&shape.weight_shape())
}

#[derive(Debug)]
struct ConvolveTransposed;

/// What the gradients need of the forward pass.
#[derive(Clone, Debug)]
struct Memory<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    window: TransposedWindow,
}

impl<B: Gradients, const N: usize> Backward<B, N> for ConvolveTransposed {
    type State = Memory<B>;

    fn backward(self, ops: Ops<Memory<B>, N>, grads: &mut Graph, _: &mut Checkpointer) {
        let Memory { x, weight, bias, window } = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let mut parents = ops.parents.into_iter();
        let (node_x, node_weight) = (parents.next().flatten(), parents.next().flatten());
        if let (Some(node), Some(bias)) = (parents.next().flatten(), bias) {
            grads.register::<B>(node.id, B::convolve_gradient_bias(x.clone(), bias, dy.clone()));
        }
        if let Some(node) = node_weight {
            let gradient =
                B::convolve_transposed_gradient_weight(x.clone(), weight.clone(), dy.clone(), window);
            grads.register::<B>(node.id, gradient);
        }
        if let Some(node) = node_x {
            grads.register::<B>(node.id, B::convolve_transposed_gradient_x(x, weight, dy, window));
        }
    }
}

/// Records the transposed convolution for its gradients.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: Option<FloatTensor<Autodiff<B, C>>>,
    window: TransposedWindow,
) -> FloatTensor<Autodiff<B, C>> {
    let bare = bias.as_ref().map(|bias| bias.primitive().clone());
    let y = B::convolve_transposed(
        x.primitive().clone(),
        weight.primitive().clone(),
        bare.clone().map_or(Perhaps::Not, Perhaps::There),
        window,
    );
    let memory = Memory { x: x.primitive().clone(), weight: weight.primitive().clone(), bias: bare, window };
    let nodes = [x.node(), weight.node()];
    match bias {
        Some(bias) => {
            let [x, weight] = nodes;
            match ConvolveTransposed.prepare::<C>([x, weight, bias.node()]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish(memory, y),
                OpsKind::UnTracked(prep) => prep.finish(y),
            }
        }
        None => match ConvolveTransposed.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(memory, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use burn::backend::Flex;
    use burn::backend::ops::ModuleOps;
    use burn::tensor::TensorData;

    use super::*;

    fn ramp(shape: [usize; 4]) -> FlexTensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i| (i * 7 % 23) as f32 / 8.0 - 1.0).collect();
        FlexTensor::from_data(TensorData::new(values, shape))
    }

    fn close(ours: &FlexTensor, wanted: &FlexTensor) {
        assert_eq!(sizes::<4>(ours), sizes::<4>(wanted));
        let wanted = contiguous(wanted.clone());
        let largest = values(&wanted).iter().fold(0.0f32, |a, v| a.max(v.abs()));
        for (ours, wanted) in values(ours).iter().zip(values(&wanted)) {
            assert!((ours - wanted).abs() <= 1e-5 * largest, "{ours} {wanted}");
        }
    }

    #[test]
    fn kernels_and_the_engines_own_operations_agree_in_values_and_gradients() {
        let plain = TransposedWindow {
            stride: [1, 1],
            padding: [0, 0],
            output_padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        };
        for (window, out_channels) in [
            (plain, 5),
            (TransposedWindow { stride: [2, 2], padding: [1, 1], ..plain }, 3),
            (TransposedWindow { stride: [3, 2], output_padding: [2, 1], groups: 2, ..plain }, 4),
            (TransposedWindow { stride: [2, 1], padding: [2, 1], dilation: [2, 1], groups: 4, ..plain }, 8),
        ] {
            let (x, weight) = (ramp([2, 4, 5, 3]), ramp([4, out_channels / window.groups, 4, 3]));
            let bias = FlexTensor::from_data(TensorData::new(vec![0.5f32; out_channels], [out_channels]));
            let options = window.options();
            let wanted =
                Flex::conv_transpose2d(x.clone(), weight.clone(), Some(bias.clone()), options.clone());
            let y = forward(x.clone(), weight.clone(), Some(bias), window);
            close(&y, &wanted);
            let dx = gradient_x(x.clone(), weight.clone(), y.clone(), window);
            close(&dx, &Flex::conv_transpose2d_x_backward(weight.clone(), y.clone(), options.clone()));
            let dw = gradient_weight(x.clone(), weight.clone(), y.clone(), window);
            close(&dw, &Flex::conv_transpose2d_weight_backward(x, weight, y, options));
        }
    }
}
