//! The dense layer and its gradients.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};

use super::flex::{contiguous, sizes, values};
use super::memory::Buffer;
use super::{Gradients, Perhaps};
use crate::{Activation, Matrix, conv2d_backward_bias, gemm};

/// With the engine's own operations.
pub(super) fn by_engine<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    relu: bool,
) -> FloatTensor<B> {
    let y = B::float_matmul(x, B::float_swap_dims(weight, 0, 1));
    let y = match bias {
        Some(bias) => {
            let [outputs] = bias.shape().dims();
            B::float_add(y, B::float_reshape(bias, [1, outputs].into()))
        }
        None => y,
    };
    if relu { B::relu(y) } else { y }
}

/// The gradient of the bias, by the engine: the sum over the rows.
pub(super) fn gradient_bias_by_engine<B: Backend>(dy: FloatTensor<B>) -> FloatTensor<B> {
    let [_, outputs] = dy.shape().dims();
    B::float_reshape(B::float_sum_dim(dy, 0), [outputs].into())
}

fn matrix(tensor: &FlexTensor) -> Matrix<'_> {
    let [rows, cols] = sizes(tensor);
    Matrix::new(values(tensor), rows, cols)
}

fn product(a: Matrix, b: Matrix, bias: Option<&[f32]>, activation: Activation) -> FlexTensor {
    let mut out = Buffer::new(a.rows * b.cols);
    gemm(a, b, bias, activation, &mut out);
    out.into_tensor(&[a.rows, b.cols])
}

pub(super) fn forward(x: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>, relu: bool) -> FlexTensor {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), bias.map(contiguous));
    let activation = if relu { Activation::Relu } else { Activation::None };
    product(matrix(&x), matrix(&weight).transpose(), bias.as_ref().map(values), activation)
}

pub(super) fn gradient_x(weight: FlexTensor, dy: FlexTensor) -> FlexTensor {
    let (weight, dy) = (contiguous(weight), contiguous(dy));
    product(matrix(&dy), matrix(&weight), None, Activation::None)
}

pub(super) fn gradient_weight(x: FlexTensor, dy: FlexTensor) -> FlexTensor {
    let (x, dy) = (contiguous(x), contiguous(dy));
    product(matrix(&dy).transpose(), matrix(&x), None, Activation::None)
}

pub(super) fn gradient_bias(dy: FlexTensor) -> FlexTensor {
    let dy = contiguous(dy);
    let [rows, outputs] = sizes(&dy);
    let mut db = Buffer::new(outputs);
    conv2d_backward_bias([rows, outputs, 1, 1], values(&dy), &mut db);
    db.into_tensor(&[outputs])
}

#[derive(Debug)]
struct Dense;

/// What the gradients need of the forward pass.
#[derive(Clone, Debug)]
struct Memory<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    /// The output, where its sign decides what passes back.
    y: Option<FloatTensor<B>>,
}

impl<B: Gradients, const N: usize> Backward<B, N> for Dense {
    type State = Memory<B>;

    fn backward(self, ops: Ops<Memory<B>, N>, grads: &mut Graph, _: &mut Checkpointer) {
        let Memory { x, weight, y } = ops.state;
        let mut dy = grads.consume::<B>(&ops.node);
        if let Some(y) = y {
            dy = B::cut_gradient(y, dy);
        }
        let mut parents = ops.parents.into_iter();
        let [node_x, node_weight, node_bias] = [(); 3].map(|()| parents.next().flatten());
        if let Some(node) = node_bias {
            grads.register::<B>(node.id, B::dense_gradient_bias(dy.clone()));
        }
        if let Some(node) = node_weight {
            grads.register::<B>(node.id, B::dense_gradient_weight(x, dy.clone()));
        }
        if let Some(node) = node_x {
            grads.register::<B>(node.id, B::dense_gradient_x(weight, dy));
        }
    }
}

/// Records the layer for its gradients.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: Option<FloatTensor<Autodiff<B, C>>>,
    relu: bool,
) -> FloatTensor<Autodiff<B, C>> {
    let bare = bias.as_ref().map_or(Perhaps::Not, |bias| Perhaps::There(bias.primitive().clone()));
    let y = B::dense(x.primitive().clone(), weight.primitive().clone(), bare, relu);
    let memory =
        Memory { x: x.primitive().clone(), weight: weight.primitive().clone(), y: relu.then(|| y.clone()) };
    match &bias {
        Some(bias) => {
            let prep = Dense.prepare::<C>([x.node(), weight.node(), bias.node()]);
            match prep.compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish(memory, y),
                OpsKind::UnTracked(prep) => prep.finish(y),
            }
        }
        None => match Dense.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(memory, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        },
    }
}
