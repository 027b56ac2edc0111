//! Batch normalisation and its gradients.

use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex};

use super::flex::{contiguous, sizes, values};
use super::memory::Buffer;
use super::{Gradients, Normalized, Perhaps};
use crate::{
    BatchNorm, BatchNormGradients, BatchNormUpstream, NormShape, batch_norm_backward, batch_norm_train,
};

/// With the engine's own operations.
pub(super) fn by_engine<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    residual: Option<FloatTensor<B>>,
    epsilon: f64,
    relu: bool,
) -> Normalized<B> {
    let all = B::batch_norm_train(x, gamma, beta, epsilon);
    let sum = match residual {
        Some(residual) => B::float_add(all.output, residual),
        None => all.output,
    };
    let out = if relu { B::relu(sum) } else { sum };
    Normalized { out, mean: all.mean, variance: all.variance }
}

fn shape(x: &FlexTensor) -> NormShape {
    let [n, channels, height, width] = sizes(x);
    match NormShape::training([n, channels, height.saturating_mul(width)]) {
        Ok(shape) => shape,
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn forward(
    x: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    residual: Option<FlexTensor>,
    epsilon: f64,
    relu: bool,
) -> Normalized<Flex> {
    let [x, gamma, beta] = [x, gamma, beta].map(contiguous);
    let residual = residual.map(contiguous);
    let (shape, sizes) = (shape(&x), sizes::<4>(&x));
    let job = BatchNorm {
        x: values(&x),
        gamma: values(&gamma),
        beta: values(&beta),
        epsilon: epsilon as f32,
        residual: residual.as_ref().map(values),
        relu,
    };
    let mut out = Buffer::new(values(&x).len());
    let (mut mean, mut variance) = (Buffer::new(sizes[1]), Buffer::new(sizes[1]));
    batch_norm_train(&shape, &job, &mut out, &mut mean, &mut variance);
    let channels = [sizes[1]];
    Normalized {
        out: out.into_tensor(&sizes),
        mean: mean.into_tensor(&channels),
        variance: variance.into_tensor(&channels),
    }
}

pub(super) fn gradient(memory: Memory<Flex>, dy: FlexTensor, residual: bool) -> NormalizeGradients<Flex> {
    let Memory { x, gamma, mean, variance, epsilon, y } = memory;
    let [x, gamma, mean, variance, dy] = [x, gamma, mean, variance, dy].map(contiguous);
    let y = y.map(contiguous);
    let (shape, sizes) = (shape(&x), sizes::<4>(&x));
    let from = BatchNormUpstream {
        x: values(&x),
        relu: y.as_ref().map(values),
        dy: values(&dy),
        gamma: values(&gamma),
        mean: values(&mean),
        variance: values(&variance),
        epsilon: epsilon as f32,
        frozen: false,
    };
    let mut dx = Buffer::new(values(&x).len());
    let (mut dgamma, mut dbeta) = (Buffer::new(sizes[1]), Buffer::new(sizes[1]));
    let mut dresidual = residual.then(|| Buffer::new(dx.len()));
    let to = BatchNormGradients {
        dx: &mut dx,
        dgamma: &mut dgamma,
        dbeta: &mut dbeta,
        dresidual: dresidual.as_deref_mut(),
    };
    batch_norm_backward(&shape, &from, to);
    let channels = [sizes[1]];
    NormalizeGradients {
        inputs: [dx.into_tensor(&sizes), dgamma.into_tensor(&channels), dbeta.into_tensor(&channels)],
        residual: dresidual.map(|gradient| gradient.into_tensor(&sizes)),
    }
}

/// [`gradient`] with the engine's own operations.
pub(super) fn gradient_by_engine<B: Backend>(
    memory: Memory<B>,
    mut dy: FloatTensor<B>,
    residual: bool,
) -> NormalizeGradients<B> {
    let Memory { x, gamma, mean, variance, epsilon, y } = memory;
    if let Some(y) = y {
        dy = B::relu_backward(y, dy);
    }
    let all = B::batch_norm_train_backward(x, gamma, mean, variance, epsilon, dy.clone());
    NormalizeGradients {
        inputs: [all.x_grad, all.gamma_grad, all.beta_grad],
        residual: residual.then_some(dy),
    }
}

#[derive(Debug)]
struct Normalize;

/// What the gradients of a normalisation need of its forward pass.
#[derive(Clone, Debug)]
pub struct Memory<B: Backend> {
    pub(super) x: FloatTensor<B>,
    pub(super) gamma: FloatTensor<B>,
    pub(super) mean: FloatTensor<B>,
    pub(super) variance: FloatTensor<B>,
    pub(super) epsilon: f64,
    /// The output, where its sign decides what passes back.
    pub(super) y: Option<FloatTensor<B>>,
}

/// The gradients of a normalisation.
#[derive(Clone, Debug)]
pub struct NormalizeGradients<B: Backend> {
    /// Of the input, the factors and the summands.
    pub inputs: [FloatTensor<B>; 3],
    /// Of the residual, where it was asked for.
    pub residual: Option<FloatTensor<B>>,
}

impl<B: Gradients, const N: usize> Backward<B, N> for Normalize {
    type State = Memory<B>;

    fn backward(self, ops: Ops<Memory<B>, N>, grads: &mut Graph, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let mut parents = ops.parents.into_iter();
        let inputs = [(); 3].map(|()| parents.next().flatten());
        let residual = parents.next().flatten();
        let all = B::normalize_gradient(ops.state, dy, residual.is_some());
        for (node, gradient) in inputs.into_iter().zip(all.inputs) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
        if let (Some(node), Some(gradient)) = (residual, all.residual) {
            grads.register::<B>(node.id, gradient);
        }
    }
}

/// Records the normalisation for its gradients. The inputs are `x`, `gamma` and `beta`.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    inputs: [FloatTensor<Autodiff<B, C>>; 3],
    residual: Option<FloatTensor<Autodiff<B, C>>>,
    epsilon: f64,
    relu: bool,
) -> Normalized<Autodiff<B, C>> {
    let constant = <Autodiff<B, C> as AutodiffBackend>::from_inner;
    let [x, gamma, beta] = &inputs;
    let all = B::normalize(
        x.primitive().clone(),
        gamma.primitive().clone(),
        beta.primitive().clone(),
        residual.as_ref().map_or(Perhaps::Not, |residual| Perhaps::There(residual.primitive().clone())),
        epsilon,
        relu,
    );
    let memory = Memory {
        x: x.primitive().clone(),
        gamma: gamma.primitive().clone(),
        mean: all.mean.clone(),
        variance: all.variance.clone(),
        epsilon,
        y: relu.then(|| all.out.clone()),
    };
    let nodes = [x.node(), gamma.node(), beta.node()];
    let out = match residual {
        None => match Normalize.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(memory, all.out),
            OpsKind::UnTracked(prep) => prep.finish(all.out),
        },
        Some(residual) => {
            let [x, gamma, beta] = nodes;
            match Normalize.prepare::<C>([x, gamma, beta, residual.node()]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish(memory, all.out),
                OpsKind::UnTracked(prep) => prep.finish(all.out),
            }
        }
    };
    Normalized { out, mean: constant(all.mean), variance: constant(all.variance) }
}
