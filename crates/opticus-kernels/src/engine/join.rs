//! Two maps joined along the channels, and their gradients.

use std::ops::Range;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};
use burn::tensor::Slice;
use rayon::prelude::*;

use super::Gradients;
use super::flex::{contiguous, sizes, values};
use super::memory::Buffer;

/// Values that one thread copies at a time.
const GRAIN: usize = 1 << 16;

pub(super) fn by_engine<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    B::float_cat(vec![a, b], 1)
}

pub(super) fn gradient_by_engine<B: Backend>(dy: FloatTensor<B>, channels: Range<usize>) -> FloatTensor<B> {
    let [n, _, h, w] = dy.shape().dims();
    B::float_slice(dy, &[Slice::from(0..n), Slice::from(channels), Slice::from(0..h), Slice::from(0..w)])
}

pub(super) fn forward(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let (a, b) = (contiguous(a), contiguous(b));
    let ([n, first, h, w], [images, second, rows, cols]) = (sizes(&a), sizes(&b));
    assert_eq!([n, h, w], [images, rows, cols], "only maps of one batch and size can be joined");
    let shape = [n, first + second, h, w];
    let mut out = Buffer::<f32>::new(shape.iter().product());
    let (one, other) = (first * h * w, second * h * w);
    for (image, out) in out.chunks_exact_mut((one + other).max(1)).enumerate() {
        let (to_a, to_b) = out.split_at_mut(one);
        copy(&values(&a)[image * one..][..one], to_a);
        copy(&values(&b)[image * other..][..other], to_b);
    }
    out.into_tensor(&shape)
}

/// The gradient of the map that became these channels.
pub(super) fn gradient(dy: FlexTensor, channels: Range<usize>) -> FlexTensor {
    let dy = contiguous(dy);
    let [n, all, h, w] = sizes(&dy);
    let shape = [n, channels.len(), h, w];
    let mut out = Buffer::<f32>::new(shape.iter().product());
    let (one, whole, skip) = (channels.len() * h * w, all * h * w, channels.start * h * w);
    for (image, out) in out.chunks_exact_mut(one.max(1)).enumerate() {
        copy(&values(&dy)[image * whole + skip..][..one], out);
    }
    out.into_tensor(&shape)
}

fn copy(from: &[f32], to: &mut [f32]) {
    to.par_chunks_mut(GRAIN).zip(from.par_chunks(GRAIN)).for_each(|(to, from)| to.copy_from_slice(from));
}

#[derive(Debug)]
struct Join;

impl<B: Gradients> Backward<B, 2> for Join {
    /// Channels of both.
    type State = [usize; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Graph, _: &mut Checkpointer) {
        let [first, second] = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let [a, b] = ops.parents;
        if let Some(node) = a {
            grads.register::<B>(node.id, B::join_gradient(dy.clone(), 0..first));
        }
        if let Some(node) = b {
            grads.register::<B>(node.id, B::join_gradient(dy, first..first + second));
        }
    }
}

/// Records the joining for its gradients.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    a: FloatTensor<Autodiff<B, C>>,
    b: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let channels = [&a, &b].map(|map| {
        let [_, channels, _, _] = map.primitive().shape().dims();
        channels
    });
    match Join.prepare::<C>([a.node(), b.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(channels, B::join(a.into_primitive(), b.into_primitive())),
        OpsKind::UnTracked(prep) => prep.finish(B::join(a.into_primitive(), b.into_primitive())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::engine::join;
    use burn::tensor::{Device, Tensor, TensorData};

    fn map(shape: [usize; 4], first: usize, device: &Device) -> Tensor<4> {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (first..first + count).map(|i| (i % 89) as f32 - 40.0).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    #[test]
    fn joining_is_the_engines_with_its_gradients() {
        let device = Device::flex().autodiff();
        let a = map([2, 3, 5, 4], 0, &device).require_grad();
        let b = map([2, 2, 5, 4], 7, &device).require_grad();
        let weight = map([2, 5, 5, 4], 11, &device);
        let run = |y: Tensor<4>| {
            let gradients = (y.clone() * weight.clone()).sum().backward();
            [y, a.grad(&gradients).unwrap(), b.grad(&gradients).unwrap()].map(Tensor::into_data)
        };
        let ours = run(join(a.clone(), b.clone()));
        let engines = run(Tensor::cat(vec![a.clone(), b.clone()], 1));
        for (ours, engines) in ours.iter().zip(&engines) {
            assert_eq!(ours.shape(), engines.shape());
            assert!(ours.iter::<f32>().eq(engines.iter::<f32>()));
        }
    }
}
