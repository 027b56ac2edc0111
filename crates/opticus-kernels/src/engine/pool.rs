//! Max-pooling and its gradient.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend};

use super::Gradients;
use super::flex::{contiguous, sizes, values};
use super::memory::{Buffer, Plain};
use crate::{Pool2d, PoolShape, Winner, max_pool2d, max_pool2d_backward, max_pool2d_infer};

/// With the engine's own operations.
pub(super) fn by_engine<B: Backend>(x: FloatTensor<B>, pool: Pool2d) -> FloatTensor<B> {
    let Pool2d { kernel, stride, padding, dilation, ceil } = pool;
    B::max_pool2d(x, kernel, stride, padding, dilation, ceil)
}

/// Whether a byte can name the winner of each window, and that there is none.
pub(super) fn fits_byte(shape: &PoolShape) -> bool {
    shape.taps() <= <u8 as Winner>::MOST
}

pub(super) fn shape(input: [usize; 4], pool: Pool2d) -> PoolShape {
    match pool.check(input) {
        Ok(shape) => shape,
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn forward(x: FlexTensor, pool: Pool2d) -> FlexTensor {
    let x = contiguous(x);
    let shape = shape(sizes(&x), pool);
    let mut out = Buffer::new(shape.output_shape().iter().product());
    max_pool2d_infer(&shape, values(&x), false, &mut out);
    out.into_tensor(&shape.output_shape())
}

/// The result, and the winner of each window for [`gradient`].
pub(super) fn with_winners(x: FlexTensor, pool: Pool2d) -> (FlexTensor, FlexTensor) {
    let x = contiguous(x);
    let shape = shape(sizes(&x), pool);
    let mut out = Buffer::new(shape.output_shape().iter().product());
    fn run<W: Winner + Plain>(shape: &PoolShape, x: &[f32], out: &mut [f32]) -> FlexTensor {
        let mut winners = Buffer::<W>::new(out.len());
        max_pool2d(shape, x, false, out, &mut winners);
        winners.into_tensor(&shape.output_shape())
    }
    let winners = match fits_byte(&shape) {
        true => run::<u8>(&shape, values(&x), &mut out),
        false => run::<u32>(&shape, values(&x), &mut out),
    };
    (out.into_tensor(&shape.output_shape()), winners)
}

pub(super) fn gradient(x: FlexTensor, winners: FlexTensor, dy: FlexTensor, pool: Pool2d) -> FlexTensor {
    let dy = contiguous(dy);
    let shape = shape(sizes(&x), pool);
    let mut dx = Buffer::new(shape.input_shape().iter().product());
    match fits_byte(&shape) {
        true => {
            max_pool2d_backward::<u8>(&shape, values(&dy), winners.as_slice().unwrap_or_default(), &mut dx)
        }
        false => {
            max_pool2d_backward::<u32>(&shape, values(&dy), winners.as_slice().unwrap_or_default(), &mut dx)
        }
    }
    dx.into_tensor(&shape.input_shape())
}

#[derive(Debug)]
struct Pool;

impl<B: Gradients> Backward<B, 1> for Pool {
    type State = (FloatTensor<B>, IntTensor<B>, Pool2d);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Graph, _: &mut Checkpointer) {
        let (x, winners, pool) = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::pool_gradient(x, winners, dy, pool));
        }
    }
}

/// Records the pooling for its gradient.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    pool: Pool2d,
) -> FloatTensor<Autodiff<B, C>> {
    match Pool.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (out, winners) = B::pool_with_winners(x.primitive().clone(), pool);
            prep.finish((x.primitive().clone(), winners, pool), out)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::pool(x.into_primitive(), pool)),
    }
}
