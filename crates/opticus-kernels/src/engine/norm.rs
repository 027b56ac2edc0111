//! Batch normalisation and its gradients.

use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex};

use super::flex::{contiguous, sizes, tensor, values};
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
    let mut out = vec![0.0; values(&x).len()];
    let (mut mean, mut variance) = (vec![0.0; sizes[1]], vec![0.0; sizes[1]]);
    batch_norm_train(&shape, &job, &mut out, &mut mean, &mut variance);
    let channels = [sizes[1]];
    Normalized {
        out: tensor(out, &sizes),
        mean: tensor(mean, &channels),
        variance: tensor(variance, &channels),
    }
}

pub(super) fn gradient(
    x: FlexTensor,
    gamma: FlexTensor,
    mean: FlexTensor,
    variance: FlexTensor,
    epsilon: f64,
    dy: FlexTensor,
) -> [FlexTensor; 3] {
    let [x, gamma, mean, variance, dy] = [x, gamma, mean, variance, dy].map(contiguous);
    let (shape, sizes) = (shape(&x), sizes::<4>(&x));
    let from = BatchNormUpstream {
        x: values(&x),
        relu: None,
        dy: values(&dy),
        gamma: values(&gamma),
        mean: values(&mean),
        variance: values(&variance),
        epsilon: epsilon as f32,
        frozen: false,
    };
    let mut dx = vec![0.0; values(&x).len()];
    let (mut dgamma, mut dbeta) = (vec![0.0; sizes[1]], vec![0.0; sizes[1]]);
    let to = BatchNormGradients { dx: &mut dx, dgamma: &mut dgamma, dbeta: &mut dbeta, dresidual: None };
    batch_norm_backward(&shape, &from, to);
    let channels = [sizes[1]];
    [tensor(dx, &sizes), tensor(dgamma, &channels), tensor(dbeta, &channels)]
}

#[derive(Debug)]
struct Normalize;

/// What the gradients need of the forward pass.
#[derive(Clone, Debug)]
struct Memory<B: Backend> {
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    mean: FloatTensor<B>,
    variance: FloatTensor<B>,
    epsilon: f64,
    /// The output, where its sign decides what passes back.
    y: Option<FloatTensor<B>>,
}

impl<B: Gradients, const N: usize> Backward<B, N> for Normalize {
    type State = Memory<B>;

    fn backward(self, ops: Ops<Memory<B>, N>, grads: &mut Graph, _: &mut Checkpointer) {
        let Memory { x, gamma, mean, variance, epsilon, y } = ops.state;
        let mut dy = grads.consume::<B>(&ops.node);
        if let Some(y) = y {
            dy = B::cut_gradient(y, dy);
        }
        let mut parents = ops.parents.into_iter();
        let inputs = [(); 3].map(|()| parents.next().flatten());
        if let Some(residual) = parents.next().flatten() {
            grads.register::<B>(residual.id, dy.clone());
        }
        if inputs.iter().all(Option::is_none) {
            return;
        }
        let all = B::normalize_gradient(x, gamma, mean, variance, epsilon, dy);
        for (node, gradient) in inputs.into_iter().zip(all) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
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
