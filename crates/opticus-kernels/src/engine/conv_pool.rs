//! Convolution, relu and max-pooling in one, with gradients.
//!
//! The convolution's result is by far the largest tensor of such a network's first layers, and nobody but the
//! pooling looks at it. Here it lives for a few images at a time only, forward and backward: what is kept is the
//! pooling's result and one byte for each of its values.

use std::ops::Range;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Flex};

use super::flex::{contiguous, values};
use super::memory::{Buffer, Plain};
use super::{Gradients, Kernels, Perhaps, Window, conv, pool};
use crate::{
    Activation, ConvShape, Pool2d, PoolShape, Winner, conv2d, conv2d_backward_bias, conv2d_backward_data,
    conv2d_backward_weight, max_pool2d, max_pool2d_backward, max_pool2d_infer,
};

/// Values of the convolution that live at one time, if an image has no more: enough to keep all threads busy.
pub(super) const GROUP: usize = 1 << 23;

/// What happens around the weights, and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowThenPool {
    /// Of the convolution.
    pub window: Window,
    /// Of the pooling.
    pub pool: Pool2d,
}

/// The result, and what the gradients need to know of the pooling.
#[derive(Clone, Debug)]
pub struct Pooled<B: Backend> {
    /// The pooling's result.
    pub out: FloatTensor<B>,
    /// Where each value of it came from.
    pub winners: IntTensor<B>,
    /// The result before the pooling, where the winners do not say whether the relu let it pass.
    pub before: Option<FloatTensor<B>>,
}

/// What the gradients need of the forward pass.
#[derive(Clone, Debug)]
pub struct PooledMemory<B: Backend> {
    pub(super) x: FloatTensor<B>,
    pub(super) weight: FloatTensor<B>,
    pub(super) bias: Option<FloatTensor<B>>,
    pub(super) winners: IntTensor<B>,
    pub(super) before: Option<FloatTensor<B>>,
    pub(super) how: WindowThenPool,
}

/// Which gradients are asked for, or those that were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<T> {
    /// Of the input.
    pub x: T,
    /// Of the weight.
    pub weight: T,
    /// Of the bias.
    pub bias: T,
}

/// With one operation after the other.
pub(super) fn in_turn<B: Kernels>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Perhaps<B>,
    how: WindowThenPool,
) -> FloatTensor<B> {
    B::pool(B::convolve(x, weight, bias, how.window, true), how.pool)
}

/// [`in_turn`], with the winners.
pub(super) fn in_turn_with_winners<B: Gradients>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    how: WindowThenPool,
) -> Pooled<B> {
    let before = B::convolve(x, weight, bias.map_or(Perhaps::Not, Perhaps::There), how.window, true);
    let (out, winners) = B::pool_with_winners(before.clone(), how.pool);
    Pooled { out, winners, before: Some(before) }
}

/// The gradients after [`in_turn_with_winners`].
pub(super) fn gradients_in_turn<B: Gradients>(
    memory: PooledMemory<B>,
    mut dy: FloatTensor<B>,
    wanted: Inputs<bool>,
) -> Inputs<Option<FloatTensor<B>>> {
    let PooledMemory { x, weight, bias, winners, before, how } = memory;
    if let Some(before) = before {
        dy = B::cut_gradient(before.clone(), B::pool_gradient(before, winners, dy, how.pool));
    }
    let window = how.window;
    Inputs {
        bias: bias.filter(|_| wanted.bias).map(|bias| B::convolve_gradient_bias(x.clone(), bias, dy.clone())),
        weight: (wanted.weight)
            .then(|| B::convolve_gradient_weight(x.clone(), weight.clone(), dy.clone(), window)),
        x: wanted.x.then(|| B::convolve_gradient_x(x, weight, dy, window)),
    }
}

/// The shapes of all images, and how many are done at one time.
struct Plan {
    conv: ConvShape,
    pool: PoolShape,
    images: usize,
}

/// Some images: their shapes, and the first of them.
struct Group {
    conv: ConvShape,
    pool: PoolShape,
    first: usize,
}

impl Plan {
    fn new(x: &FlexTensor, weight: &FlexTensor, how: WindowThenPool) -> Plan {
        let conv = conv::shape(x, weight, how.window);
        let pool = pool::shape(conv.output_shape(), how.pool);
        let [batch, c, h, w] = conv.output_shape();
        let images = (GROUP / (c * h * w).max(1)).clamp(1, batch.max(1));
        Plan { conv, pool, images }
    }

    fn groups(&self) -> impl Iterator<Item = Group> {
        let &Plan { conv, pool, images } = self;
        let [batch, ..] = conv.input_shape();
        (0..batch).step_by(images).map(move |first| {
            let images = images.min(batch - first);
            Group { conv: conv.with_batch(images), pool: pool.with_batch(images), first }
        })
    }

    /// Memory for the convolution of any group.
    fn work(&self) -> Buffer<f32> {
        Buffer::new(self.conv.with_batch(self.images).output_len())
    }
}

/// Where the images from `first` on lie whose values are so many in all.
fn range([images, rest @ ..]: [usize; 4], first: usize) -> Range<usize> {
    let image: usize = rest.iter().product();
    first * image..(first + images) * image
}

impl Group {
    fn input(&self) -> Range<usize> {
        range(self.conv.input_shape(), self.first)
    }

    fn output(&self) -> Range<usize> {
        range(self.pool.output_shape(), self.first)
    }
}

/// Convolves each group into the same memory, from where `pool` takes it, relu included.
fn forward_with(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    how: WindowThenPool,
    mut pool: impl FnMut(&Group, &[f32]),
) {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), bias.map(contiguous));
    let plan = Plan::new(&x, &weight, how);
    let mut work = plan.work();
    for group in plan.groups() {
        let y = &mut work[..group.conv.output_len()];
        let bias = bias.as_ref().map(values);
        conv2d(&group.conv, &values(&x)[group.input()], values(&weight), bias, Activation::None, y);
        pool(&group, y);
    }
}

pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    how: WindowThenPool,
) -> FlexTensor {
    let shape = Plan::new(&x, &weight, how).pool.output_shape();
    let mut out = Buffer::new(shape.iter().product());
    forward_with(x, weight, bias, how, |group, y| {
        max_pool2d_infer(&group.pool, y, true, &mut out[group.output()]);
    });
    out.into_tensor(&shape)
}

pub(super) fn with_winners(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    how: WindowThenPool,
) -> Pooled<Flex> {
    fn run<W: Winner + Plain>(
        shape: [usize; 4],
        [x, weight]: [FlexTensor; 2],
        bias: Option<FlexTensor>,
        how: WindowThenPool,
    ) -> Pooled<Flex> {
        let len = shape.iter().product();
        let (mut out, mut winners) = (Buffer::new(len), Buffer::<W>::new(len));
        forward_with(x, weight, bias, how, |group, y| {
            let range = group.output();
            max_pool2d(&group.pool, y, true, &mut out[range.clone()], &mut winners[range]);
        });
        // What the relu holds back has no winner.
        Pooled { out: out.into_tensor(&shape), winners: winners.into_tensor(&shape), before: None }
    }
    let pool = Plan::new(&x, &weight, how).pool;
    match pool::fits_byte(&pool) {
        true => run::<u8>(pool.output_shape(), [x, weight], bias, how),
        false => run::<u32>(pool.output_shape(), [x, weight], bias, how),
    }
}

pub(super) fn gradients(
    memory: PooledMemory<Flex>,
    dy: FlexTensor,
    wanted: Inputs<bool>,
) -> Inputs<Option<FlexTensor>> {
    let PooledMemory { x, weight, bias, winners, how, .. } = memory;
    let [x, weight, dy] = [x, weight, dy].map(contiguous);
    let plan = Plan::new(&x, &weight, how);
    let shape = plan.conv;
    let wanted = Inputs { bias: wanted.bias && bias.is_some(), ..wanted };
    let mut dx = wanted.x.then(|| Buffer::<f32>::new(shape.input_len()));
    let mut dw = wanted.weight.then(|| Sum::new(shape.weight_len()));
    let mut db = wanted.bias.then(|| Sum::new(shape.output_shape()[1]));
    let mut work = plan.work();
    for group in plan.groups() {
        let conv = &group.conv;
        let before = &mut work[..conv.output_len()];
        let (dy, places) = (&values(&dy)[group.output()], group.output());
        match pool::fits_byte(&plan.pool) {
            true => max_pool2d_backward(
                &group.pool,
                dy,
                &winners.as_slice::<u8>().unwrap_or_default()[places],
                before,
            ),
            false => max_pool2d_backward(
                &group.pool,
                dy,
                &winners.as_slice::<u32>().unwrap_or_default()[places],
                before,
            ),
        }
        if let Some(dw) = &mut dw {
            dw.add(|dw| conv2d_backward_weight(conv, &values(&x)[group.input()], before, dw));
        }
        if let Some(db) = &mut db {
            db.add(|db| conv2d_backward_bias(conv.output_shape(), before, db));
        }
        if let Some(dx) = &mut dx {
            conv2d_backward_data(conv, values(&weight), before, &mut dx[group.input()]);
        }
    }
    Inputs {
        x: dx.map(|dx| dx.into_tensor(&shape.input_shape())),
        weight: dw.map(|dw| dw.into_tensor(&shape.weight_shape())),
        bias: db.map(|db| db.into_tensor(&shape.output_shape()[1..2])),
    }
}

/// A sum over the groups, in their order.
struct Sum {
    total: Vec<f64>,
    part: Vec<f32>,
}

impl Sum {
    fn new(len: usize) -> Sum {
        Sum { total: vec![0.0; len], part: vec![0.0; len] }
    }

    fn add(&mut self, write: impl FnOnce(&mut [f32])) {
        write(&mut self.part);
        for (total, part) in self.total.iter_mut().zip(&self.part) {
            *total += f64::from(*part);
        }
    }

    fn into_tensor(self, shape: &[usize]) -> FlexTensor {
        let mut sum = Buffer::<f32>::new(self.total.len());
        for (sum, total) in sum.iter_mut().zip(&self.total) {
            *sum = *total as f32;
        }
        sum.into_tensor(shape)
    }
}

#[derive(Debug)]
struct ConvolvePool;

impl<B: Gradients, const N: usize> Backward<B, N> for ConvolvePool {
    type State = PooledMemory<B>;

    fn backward(self, ops: Ops<PooledMemory<B>, N>, grads: &mut Graph, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let mut parents = ops.parents.into_iter();
        let [x, weight, bias] = [(); 3].map(|()| parents.next().flatten());
        let wanted = Inputs { x: x.is_some(), weight: weight.is_some(), bias: bias.is_some() };
        let all = B::convolve_pool_gradients(ops.state, dy, wanted);
        for (node, gradient) in [(x, all.x), (weight, all.weight), (bias, all.bias)] {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

/// Records all three for their gradients.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: Option<FloatTensor<Autodiff<B, C>>>,
    how: WindowThenPool,
) -> FloatTensor<Autodiff<B, C>> {
    let bare = bias.as_ref().map(|bias| bias.primitive().clone());
    let (inner_x, inner_weight) = (x.primitive().clone(), weight.primitive().clone());
    let tracked = || {
        let Pooled { out, winners, before } =
            B::convolve_pool_with_winners(inner_x.clone(), inner_weight.clone(), bare.clone(), how);
        let (x, weight, bias) = (inner_x.clone(), inner_weight.clone(), bare.clone());
        (PooledMemory { x, weight, bias, winners, before, how }, out)
    };
    let untracked = || {
        let bias = bare.clone().map_or(Perhaps::Not, Perhaps::There);
        B::convolve_pool(inner_x.clone(), inner_weight.clone(), bias, how)
    };
    match &bias {
        Some(bias) => {
            match ConvolvePool.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful()
            {
                OpsKind::Tracked(prep) => {
                    let (memory, out) = tracked();
                    prep.finish(memory, out)
                }
                OpsKind::UnTracked(prep) => prep.finish(untracked()),
            }
        }
        None => match ConvolvePool.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (memory, out) = tracked();
                prep.finish(memory, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(untracked()),
        },
    }
}
