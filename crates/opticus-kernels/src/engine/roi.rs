//! RoIAlign and its gradient.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};
use burn::tensor::{Shape, Slice, TensorData};

use super::Gradients;
use super::flex::{contiguous, sizes, values};
use super::memory::Buffer;
use crate::{Roi, RoiAlign, roi_align, roi_align_backward};

/// Regions, shared by the forward pass and its gradient.
pub type Rois = Arc<[Roi]>;

pub(super) fn forward(x: FlexTensor, align: RoiAlign, rois: &Rois) -> FlexTensor {
    let x = contiguous(x);
    let map: [usize; 4] = sizes(&x);
    let shape = [rois.len(), map[1], align.bins[0], align.bins[1]];
    let mut out = Buffer::new(shape.iter().product());
    roi_align(&align, map, values(&x), rois, &mut out);
    out.into_tensor(&shape)
}

pub(super) fn gradient(map: [usize; 4], dy: FlexTensor, align: RoiAlign, rois: &Rois) -> FlexTensor {
    let dy = contiguous(dy);
    let mut dx = Buffer::new(map.iter().product());
    roi_align_backward(&align, map, values(&dy), rois, &mut dx);
    dx.into_tensor(&map)
}

/// The regions of one picture with the engine's own operations: what each bin reads of each position is a matrix.
struct Part<B: Backend> {
    /// Numbers of the regions.
    rows: Vec<usize>,
    /// `[1, regions · bins, positions]`.
    shares: FloatTensor<B>,
}

fn parts<B: Backend>(x: &FloatTensor<B>, map: [usize; 4], align: RoiAlign, rois: &Rois) -> Vec<Part<B>> {
    let [batch, _, height, width] = map;
    let bins = align.bins[0] * align.bins[1];
    (0..batch)
        .map(|image| {
            let rows: Vec<usize> = (0..rois.len()).filter(|&i| rois[i].image == image).collect();
            let mut shares = vec![0.0f32; rows.len() * bins * height * width];
            for (row, &i) in rows.iter().enumerate() {
                align.each_share(rois[i].corners, [height, width], |bin, position, share| {
                    shares[(row * bins + bin) * height * width + position] += share;
                });
            }
            let data = TensorData::new(shares, [1, rows.len() * bins, height * width]);
            Part { rows, shares: B::float_from_data(data, &x.device()) }
        })
        .collect()
}

/// With the engine's own operations.
pub(super) fn by_engine<B: Backend>(x: FloatTensor<B>, align: RoiAlign, rois: &Rois) -> FloatTensor<B> {
    let map: [usize; 4] = x.shape().dims();
    let [_, channels, height, width] = map;
    let [down, across] = align.bins;
    let mut order = Vec::new();
    let mut done = Vec::new();
    for (image, part) in parts::<B>(&x, map, align, rois).into_iter().enumerate() {
        if part.rows.is_empty() {
            continue;
        }
        let plane = B::float_slice(x.clone(), &[Slice::from(image..image + 1)]);
        let plane = B::float_reshape(plane, Shape::from([1, channels, height * width]));
        let y = B::float_matmul(part.shares, B::float_swap_dims(plane, 1, 2));
        let y = B::float_reshape(y, Shape::from([part.rows.len(), down * across, channels]));
        let y = B::float_swap_dims(y, 1, 2);
        done.push(B::float_reshape(y, Shape::from([part.rows.len(), channels, down, across])));
        order.extend(part.rows);
    }
    let device = x.device();
    if done.is_empty() {
        let shape = [0, channels, down, across];
        return B::float_from_data(TensorData::new(Vec::<f32>::new(), shape), &device);
    }
    // Back to the order in which the regions were given.
    let mut place = vec![0i32; order.len()];
    order.iter().enumerate().for_each(|(at, &roi)| place[roi] = at as i32);
    let count = place.len();
    let place = B::int_from_data(TensorData::new(place, [count]), &device);
    B::float_select(B::float_cat(done, 0), 0, place)
}

#[derive(Debug)]
struct Align;

impl<B: Gradients> Backward<B, 1> for Align {
    type State = ([usize; 4], RoiAlign, Rois);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Graph, _: &mut Checkpointer) {
        let (map, align, rois) = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::roi_align_gradient(map, dy, align, rois));
        }
    }
}

/// The gradient with the engine's own operations.
pub(super) fn gradient_by_engine<B: Backend>(
    map: [usize; 4],
    dy: FloatTensor<B>,
    align: RoiAlign,
    rois: &Rois,
) -> FloatTensor<B> {
    let [_, channels, height, width] = map;
    let bins = align.bins[0] * align.bins[1];
    let device = dy.device();
    let planes = parts::<B>(&dy, map, align, rois).into_iter().map(|part| {
        if part.rows.is_empty() {
            let zeros = vec![0.0f32; channels * height * width];
            return B::float_from_data(TensorData::new(zeros, [1, channels, height, width]), &device);
        }
        let count = part.rows.len();
        let rows = part.rows.iter().map(|&row| row as i32).collect::<Vec<_>>();
        let rows = B::int_from_data(TensorData::new(rows, [count]), &device);
        let dy = B::float_select(dy.clone(), 0, rows);
        let dy = B::float_reshape(dy, Shape::from([count, channels, bins]));
        let dy = B::float_reshape(B::float_swap_dims(dy, 1, 2), Shape::from([1, count * bins, channels]));
        let dx = B::float_matmul(B::float_swap_dims(dy, 1, 2), part.shares);
        B::float_reshape(dx, Shape::from([1, channels, height, width]))
    });
    B::float_cat(planes.collect(), 0)
}

/// Records the regions for their gradient.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    align: RoiAlign,
    rois: Rois,
) -> FloatTensor<Autodiff<B, C>> {
    let map: [usize; 4] = x.primitive().shape().dims();
    match Align.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let out = B::roi_align(x.primitive().clone(), align, rois.clone());
            prep.finish((map, align, rois), out)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::roi_align(x.into_primitive(), align, rois)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::engine::roi_align;
    use burn::backend::Flex;
    use burn::tensor::{Device, Tensor};

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect()
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    /// The kernel with its gradient against the engine's own operations.
    #[test]
    fn regions_on_every_device_are_the_same() {
        let map = [2, 3, 5, 7];
        let align = RoiAlign { bins: [2, 3], scale: 0.25, samples: Some(2), aligned: false };
        let rois: Rois =
            [(1, [1.0, 2.0, 17.0, 15.0]), (0, [-3.0, 0.0, 30.0, 9.0]), (1, [4.0, 4.0, 6.0, 19.0])]
                .map(|(image, corners)| Roi { image, corners })
                .into();
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::from_data(TensorData::new(numbers(210), map), &device).require_grad();
        let y = roi_align(x.clone(), align, rois.clone());
        assert_eq!(y.dims(), [3, 3, 2, 3]);
        let dy = Tensor::<4>::from_data(TensorData::new(numbers(54), [3, 3, 2, 3]), &device);
        let gradients = (y.clone() * dy).sum().backward();
        let flex = |shape: &[usize]| {
            let count = shape.iter().product();
            FlexTensor::from_data(TensorData::new(numbers(count), shape.to_vec()))
        };
        let near = |got: Vec<f32>, wanted: FlexTensor| {
            let wanted = contiguous(wanted);
            assert_eq!(got.len(), super::values(&wanted).len());
            for (got, wanted) in got.iter().zip(super::values(&wanted)) {
                assert!((got - wanted).abs() < 1e-5, "{got} is not {wanted}");
            }
        };
        near(values(y), by_engine::<Flex>(flex(&map), align, &rois));
        let dx = gradient_by_engine::<Flex>(map, flex(&[3, 3, 2, 3]), align, &rois);
        near(values(x.grad(&gradients).unwrap()), dx);
    }
}
