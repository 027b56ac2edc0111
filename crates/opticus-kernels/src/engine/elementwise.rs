//! Functions of each value by itself, and their gradients.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{CheckpointStrategy, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, TensorMetadata};

use super::Gradients;
use super::flex::{contiguous, values};
use super::memory::Buffer;
use crate::{Function, Kept, apply, apply_in_place, differentiate, differentiate_in_place};

/// With the engine's own operations.
pub(super) fn by_engine<B: Backend>(x: FloatTensor<B>, function: Function) -> FloatTensor<B> {
    let hard_sigmoid = |x| B::hard_sigmoid(x, (1.0 / 6.0).into(), 0.5.into());
    match function {
        Function::Relu => B::relu(x),
        Function::LeakyRelu(slope) => B::leaky_relu(x, slope.into()),
        Function::Relu6 => B::float_clamp(x, 0.0.into(), 6.0.into()),
        Function::Silu => B::float_mul(x.clone(), B::sigmoid(x)),
        Function::HardSwish => B::float_mul(x.clone(), hard_sigmoid(x)),
        Function::HardSigmoid => hard_sigmoid(x),
        Function::Gelu => B::gelu(x),
        Function::GeluTanh => {
            // x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))
            let square = B::float_mul(x.clone(), x.clone());
            let factor = B::float_add_scalar(B::float_mul_scalar(square, 0.044_715.into()), 1.0.into());
            let root = std::f64::consts::FRAC_2_PI.sqrt();
            let inner = B::float_mul_scalar(B::float_mul(x.clone(), factor), root.into());
            let gate = B::float_add_scalar(B::float_tanh(inner), 1.0.into());
            B::float_mul_scalar(B::float_mul(x, gate), 0.5.into())
        }
        Function::Tanh => B::float_tanh(x),
        Function::Sigmoid => B::sigmoid(x),
    }
}

/// The gradient of [`by_engine`]'s input, by the engine's own rules.
pub(super) fn gradient_by_engine<B: Backend>(
    x: FloatTensor<B>,
    dy: FloatTensor<B>,
    function: Function,
) -> FloatTensor<B> {
    type Recorded<B> = Autodiff<B, NoCheckpointing>;
    let x = Recorded::<B>::float_set_require_grad(Recorded::<B>::from_inner(x), true);
    let y = by_engine::<Recorded<B>>(x.clone(), function);
    // A product with the gradient, whose own gradient starts from ones.
    let weighted = Recorded::<B>::float_mul(y, Recorded::<B>::from_inner(dy.clone()));
    let gradients = Recorded::<B>::backward(Recorded::<B>::float_sum(weighted));
    Recorded::<B>::grad(&x, &gradients).unwrap_or(dy)
}

pub(super) fn forward(x: FlexTensor, function: Function) -> FlexTensor {
    let mut x = contiguous(x);
    if owned(&x) {
        apply_in_place(function, x.storage_mut());
        return x;
    }
    let mut out = Buffer::new(values(&x).len());
    apply(function, values(&x), &mut out);
    out.into_tensor(&x.shape().to_vec())
}

pub(super) fn gradient(kept: FlexTensor, dy: FlexTensor, function: Function) -> FlexTensor {
    let (kept, mut dy) = (contiguous(kept), contiguous(dy));
    if owned(&dy) {
        differentiate_in_place(function, values(&kept), dy.storage_mut());
        return dy;
    }
    let mut dx = Buffer::new(values(&dy).len());
    differentiate(function, values(&kept), values(&dy), &mut dx);
    dx.into_tensor(&dy.shape().to_vec())
}

/// Whether nobody else sees the values of a [`contiguous`] tensor, and it has no others.
fn owned(tensor: &FlexTensor) -> bool {
    tensor.is_unique() && tensor.storage::<f32>().len() == values(tensor).len()
}

#[derive(Debug)]
struct Activate;

impl<B: Gradients> Backward<B, 1> for Activate {
    /// The input or the output, as the device wants it.
    type State = (FloatTensor<B>, Function);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Graph, _: &mut Checkpointer) {
        let (kept, function) = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::activate_gradient(kept, dy, function));
        }
    }
}

/// Records the function for its gradient.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    function: Function,
) -> FloatTensor<Autodiff<B, C>> {
    match Activate.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (x, kept) = match B::activation_keeps(function) {
                Kept::Input => (x.primitive().clone(), Some(x.into_primitive())),
                // The last to hold the input, if nobody else does: then it becomes the output.
                Kept::Output => (x.into_primitive(), None),
            };
            let y = B::activate(x, function);
            prep.finish((kept.unwrap_or_else(|| y.clone()), function), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::activate(x.into_primitive(), function)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    use super::*;

    const ALL: [Function; 11] = [
        Function::Relu,
        Function::LeakyRelu(0.2),
        Function::LeakyRelu(-0.5),
        Function::Relu6,
        Function::Silu,
        Function::HardSwish,
        Function::HardSigmoid,
        Function::Gelu,
        Function::GeluTanh,
        Function::Tanh,
        Function::Sigmoid,
    ];

    /// Both sides of every kink, none on it.
    fn input(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i % 173) as f32 * 0.1 - 8.57).collect()
    }

    fn tensor(values: &[f32]) -> FlexTensor {
        FlexTensor::from_data(TensorData::new(values.to_vec(), [values.len()]))
    }

    fn close(ours: &FlexTensor, wanted: &FlexTensor, what: &str) {
        for (ours, wanted) in values(ours).iter().zip(values(wanted)) {
            assert!((ours - wanted).abs() <= 2e-6 * wanted.abs().max(1.0), "{what}: {ours} {wanted}");
        }
    }

    #[test]
    fn kernels_and_the_engines_own_operations_agree_in_values_and_gradients() {
        for len in [0, 1, 40_000] {
            let (x, dy) = (input(len), input(len).into_iter().rev().collect::<Vec<_>>());
            for function in ALL {
                let (what, kept) = (format!("{function:?} of {len}"), tensor(&x));
                let wanted = by_engine::<Flex>(tensor(&x), function);
                let shared = forward(kept.clone(), function);
                close(&shared, &wanted, &what);
                assert_eq!(values(&kept), x, "{what}: the input of another changed");
                close(&forward(tensor(&x), function), &wanted, &what);
                let kept = match function.keeps() {
                    Kept::Input => kept,
                    Kept::Output => shared,
                };
                let wanted = gradient_by_engine::<Flex>(tensor(&x), tensor(&dy), function);
                let others = tensor(&dy);
                close(&gradient(kept.clone(), others.clone(), function), &wanted, &what);
                assert_eq!(values(&others), dy, "{what}: the gradient of another changed");
                close(&gradient(kept, tensor(&dy), function), &wanted, &what);
            }
        }
    }
}
