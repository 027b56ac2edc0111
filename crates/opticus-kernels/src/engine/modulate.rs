//! A factor and a summand for each channel of each image, then relu, and their gradients.

use burn::backend::Autodiff;
use burn::backend::Backend;
use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;

use super::Gradients;
use super::flex::{contiguous, sizes, values};
use super::memory::Buffer;
use crate::{Modulation, ModulationGradients, ModulationUpstream, modulate, modulate_backward};

/// `x`, `gain` and `shift`, or what belongs to them.
pub(super) type Three<B> = [FloatTensor<B>; 3];

/// [n, c] as [n, c, 1, 1].
fn upright<B: Backend>(of: FloatTensor<B>) -> FloatTensor<B> {
    let [n, c] = of.shape().dims();
    B::float_reshape(of, Shape::from([n, c, 1, 1]))
}

/// With the engine's own operations.
pub(super) fn by_engine<B: Backend>([x, gain, shift]: Three<B>) -> FloatTensor<B> {
    B::relu(B::float_add(B::float_mul(x, upright::<B>(gain)), upright::<B>(shift)))
}

/// The gradients with the engine's own operations, from the output and its gradient.
pub(super) fn gradients_by_engine<B: Backend>(
    x: FloatTensor<B>,
    gain: FloatTensor<B>,
    y: FloatTensor<B>,
    dy: FloatTensor<B>,
) -> Three<B> {
    let [n, c] = gain.shape().dims();
    let d = B::relu_backward(y, dy);
    let sum = |of| B::float_reshape(B::float_sum_dim(B::float_sum_dim(of, 3), 2), Shape::from([n, c]));
    let dgain = sum(B::float_mul(d.clone(), x));
    let dshift = sum(d.clone());
    [B::float_mul(d, upright::<B>(gain)), dgain, dshift]
}

/// # Panics
/// If there is not one factor and one summand for each channel of each image.
fn check(x: &FlexTensor, gain: &FlexTensor, shift: &FlexTensor) {
    let [n, c, _, _] = sizes(x);
    for of in [gain, shift] {
        assert_eq!(sizes(of), [n, c], "one factor and one summand for each channel of each image");
    }
}

pub(super) fn forward(inputs: [FlexTensor; 3]) -> FlexTensor {
    let [x, gain, shift] = inputs.map(contiguous);
    check(&x, &gain, &shift);
    let mut out = Buffer::new(values(&x).len());
    modulate(&Modulation { x: values(&x), gain: values(&gain), shift: values(&shift) }, &mut out);
    out.into_tensor(&sizes::<4>(&x))
}

pub(super) fn gradients(x: FlexTensor, gain: FlexTensor, y: FlexTensor, dy: FlexTensor) -> [FlexTensor; 3] {
    let [x, gain, y, dy] = [x, gain, y, dy].map(contiguous);
    let (maps, planes) = (sizes::<4>(&x), sizes::<2>(&gain));
    let mut dx = Buffer::new(values(&x).len());
    let (mut dgain, mut dshift) = (Buffer::new(values(&gain).len()), Buffer::new(values(&gain).len()));
    let from = ModulationUpstream { x: values(&x), gain: values(&gain), y: values(&y), dy: values(&dy) };
    let to = ModulationGradients { dx: &mut dx, dgain: &mut dgain, dshift: &mut dshift };
    modulate_backward(&from, to);
    [dx.into_tensor(&maps), dgain.into_tensor(&planes), dshift.into_tensor(&planes)]
}

#[derive(Debug)]
struct Modulate;

impl<B: Gradients> Backward<B, 3> for Modulate {
    /// The input, the factors and the output.
    type State = Three<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Graph, _: &mut Checkpointer) {
        let [x, gain, y] = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        for (node, gradient) in ops.parents.into_iter().zip(B::modulate_gradients(x, gain, y, dy)) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

/// Records the modulation for its gradients.
pub(super) fn recorded<B: Gradients, C: CheckpointStrategy>(
    inputs: Three<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = [inputs[0].node(), inputs[1].node(), inputs[2].node()];
    let [x, gain, shift] = inputs.map(|input| input.into_primitive());
    let y = B::modulate(x.clone(), gain.clone(), shift);
    match Modulate.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish([x, gain, y.clone()], y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    use super::*;

    fn tensor<const D: usize>(shape: [usize; D], seed: usize) -> FlexTensor {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|i: usize| ((i + seed).wrapping_mul(2_654_435_761) % 1_000_003) as f32 / 500_001.5 - 1.0)
            .collect();
        FlexTensor::from_data(TensorData::new(values, shape))
    }

    #[test]
    fn other_devices_get_the_same_values_and_gradients() {
        let (x, gain, shift) = (tensor([3, 2, 5, 4], 1), tensor([3, 2], 2), tensor([3, 2], 3));
        let close = |ours: FlexTensor, wanted: FlexTensor| {
            assert_eq!(ours.shape(), wanted.shape());
            for (ours, wanted) in values(&ours).iter().zip(values(&contiguous(wanted))) {
                assert!((ours - wanted).abs() <= 1e-5, "{ours} {wanted}");
            }
        };
        let inputs = [x.clone(), gain.clone(), shift];
        let y = forward(inputs.clone());
        close(y.clone(), by_engine::<Flex>(inputs));
        let dy = tensor([3, 2, 5, 4], 77);
        let wanted = gradients_by_engine::<Flex>(x.clone(), gain.clone(), y.clone(), dy.clone());
        gradients(x, gain, y, dy).into_iter().zip(wanted).for_each(|(ours, wanted)| close(ours, wanted));
    }
}
