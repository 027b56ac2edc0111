//! Convolution and its gradients.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};

use super::flex::{contiguous, sizes, values};
use super::memory::Buffer;
use super::{Gradients, Perhaps, Window};
use crate::{
    Activation, Conv2d, ConvShape, Function, conv2d, conv2d_backward_bias, conv2d_backward_data,
    conv2d_backward_weight, differentiate,
};

/// With the engine's own operations.
pub(super) fn by_engine<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    window: Window,
    relu: bool,
) -> FloatTensor<B> {
    let y = B::conv2d(x, weight, bias, window.options());
    if relu { B::relu(y) } else { y }
}

pub(super) fn shape(x: &FlexTensor, weight: &FlexTensor, window: Window) -> ConvShape {
    let [out_channels, _, kernel_h, kernel_w] = sizes(weight);
    let input: [usize; 4] = sizes(x);
    let Window { stride, padding, dilation, groups } = window;
    let kernel = [kernel_h, kernel_w];
    let conv = Conv2d { in_channels: input[1], out_channels, kernel, stride, padding, dilation, groups };
    match conv.check(input) {
        Ok(shape) => shape,
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    window: Window,
    relu: bool,
) -> FlexTensor {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), bias.map(contiguous));
    let shape = shape(&x, &weight, window);
    let mut out = Buffer::new(shape.output_len());
    let activation = if relu { Activation::Relu } else { Activation::None };
    conv2d(&shape, values(&x), values(&weight), bias.as_ref().map(values), activation, &mut out);
    out.into_tensor(&shape.output_shape())
}

pub(super) fn gradient_x(x: FlexTensor, weight: FlexTensor, dy: FlexTensor, window: Window) -> FlexTensor {
    let (weight, dy) = (contiguous(weight), contiguous(dy));
    let shape = shape(&x, &weight, window);
    let mut dx = Buffer::new(shape.input_len());
    conv2d_backward_data(&shape, values(&weight), values(&dy), &mut dx);
    dx.into_tensor(&shape.input_shape())
}

pub(super) fn gradient_weight(
    x: FlexTensor,
    weight: FlexTensor,
    dy: FlexTensor,
    window: Window,
) -> FlexTensor {
    let (x, dy) = (contiguous(x), contiguous(dy));
    let shape = shape(&x, &weight, window);
    let mut dw = Buffer::new(shape.weight_len());
    conv2d_backward_weight(&shape, values(&x), values(&dy), &mut dw);
    dw.into_tensor(&shape.weight_shape())
}

pub(super) fn gradient_bias(dy: FlexTensor) -> FlexTensor {
    let dy = contiguous(dy);
    let shape: [usize; 4] = sizes(&dy);
    let mut db = Buffer::new(shape[1]);
    conv2d_backward_bias(shape, values(&dy), &mut db);
    db.into_tensor(&[shape[1]])
}

pub(super) fn relu_gradient(y: FlexTensor, dy: FlexTensor) -> FlexTensor {
    let (y, dy) = (contiguous(y), contiguous(dy));
    let mut dx = Buffer::new(values(&dy).len());
    differentiate(Function::Relu, values(&y), values(&dy), &mut dx);
    dx.into_tensor(&dy.shape())
}

#[derive(Debug)]
struct Convolve;

/// What the gradients need of the forward pass.
#[derive(Clone, Debug)]
struct Memory<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    /// The output, where its sign decides what passes back.
    y: Option<FloatTensor<B>>,
    window: Window,
}

impl<B: Gradients, const N: usize> Backward<B, N> for Convolve {
    type State = Memory<B>;

    fn backward(self, ops: Ops<Memory<B>, N>, grads: &mut Graph, _: &mut Checkpointer) {
        let Memory { x, weight, bias, y, window } = ops.state;
        let mut dy = grads.consume::<B>(&ops.node);
        if let Some(y) = y {
            dy = B::cut_gradient(y, dy);
        }
        let mut parents = ops.parents.into_iter();
        let (node_x, node_weight) = (parents.next().flatten(), parents.next().flatten());
        if let (Some(node), Some(bias)) = (parents.next().flatten(), bias) {
            let gradient = B::convolve_gradient_bias(x.clone(), bias, dy.clone());
            grads.register::<B>(node.id, gradient);
        }
        if let Some(node) = node_weight {
            let gradient = B::convolve_gradient_weight(x.clone(), weight.clone(), dy.clone(), window);
            grads.register::<B>(node.id, gradient);
        }
        if let Some(node) = node_x {
            grads.register::<B>(node.id, B::convolve_gradient_x(x, weight, dy, window));
        }
    }
}

/// Records the convolution for its gradients.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: Option<FloatTensor<Autodiff<B, C>>>,
    window: Window,
    relu: bool,
) -> FloatTensor<Autodiff<B, C>> {
    let bare = bias.as_ref().map(|bias| bias.primitive().clone());
    let memory = |y: &FloatTensor<B>| Memory {
        x: x.primitive().clone(),
        weight: weight.primitive().clone(),
        bias: bare.clone(),
        y: relu.then(|| y.clone()),
        window,
    };
    let y = B::convolve(
        x.primitive().clone(),
        weight.primitive().clone(),
        bare.clone().map_or(Perhaps::Not, Perhaps::There),
        window,
        relu,
    );
    match &bias {
        Some(bias) => {
            match Convolve.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish(memory(&y), y),
                OpsKind::UnTracked(prep) => prep.finish(y),
            }
        }
        None => match Convolve.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(memory(&y), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        },
    }
}
