//! Each operation and its gradients against the engine's own operations on the same tensors.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::activation::relu;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, TensorData, module};

use super::*;

/// Values between -1 and 1 that differ from place to place; no two of a window are equal.
fn tensor<const D: usize>(shape: [usize; D], seed: usize) -> Tensor<D> {
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|i: usize| ((i + seed).wrapping_mul(2_654_435_761) % 1_000_003) as f32 / 500_001.5 - 1.0)
        .collect();
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn assert_close(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(1.0f32, |most, v| most.max(v.abs()));
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() <= 2e-5 * scale, "{what}, value {i}: {ours}, not {theirs}");
    }
}

/// The result, and the gradients of each input, with an upstream gradient that differs from place to place.
struct Passes(Vec<f32>, Vec<Vec<f32>>);

impl Passes {
    fn of<const D: usize>(
        y: Tensor<D>,
        gradients: impl FnOnce(&burn::tensor::Gradients) -> Vec<Vec<f32>>,
    ) -> Passes {
        let upstream = tensor(y.dims(), 77).detach();
        let out = values(y.clone());
        Passes(out, gradients(&(y * upstream).sum().backward()))
    }

    fn assert_equal(&self, other: &Passes, what: &str) {
        assert_close(&format!("{what}: result"), &self.0, &other.0);
        assert_eq!(self.1.len(), other.1.len());
        for (i, (ours, theirs)) in self.1.iter().zip(&other.1).enumerate() {
            assert_close(&format!("{what}: gradient {i}"), ours, theirs);
        }
    }
}

const PLAIN: Window = Window { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 };

/// Input, output channels, kernel, and what is around it.
const CONVOLUTIONS: [([usize; 4], usize, [usize; 2], Window); 8] = [
    ([2, 3, 9, 7], 5, [3, 3], Window { padding: [1, 1], ..PLAIN }),
    ([1, 16, 13, 11], 32, [3, 3], PLAIN),
    ([3, 4, 8, 8], 6, [1, 1], PLAIN),
    ([2, 4, 11, 9], 8, [5, 3], Window { stride: [2, 1], padding: [2, 0], dilation: [1, 2], groups: 2 }),
    ([2, 6, 7, 7], 6, [3, 3], Window { padding: [1, 1], groups: 6, ..PLAIN }),
    ([1, 1, 1, 1], 1, [1, 1], PLAIN),
    ([2, 3, 4, 5], 7, [4, 5], PLAIN),
    ([0, 3, 6, 6], 4, [3, 3], PLAIN),
];

fn convolution(case: usize, bias: bool) -> (Tensor<4>, Tensor<4>, Option<Tensor<1>>, Window) {
    let (input, outputs, [kh, kw], window) = CONVOLUTIONS[case];
    let weight = tensor([outputs, input[1] / window.groups, kh, kw], 5);
    (tensor(input, 1), weight, bias.then(|| tensor([outputs], 9)), window)
}

fn three(
    x: &Tensor<4>,
    w: &Tensor<4>,
    b: &Option<Tensor<1>>,
) -> impl FnOnce(&burn::tensor::Gradients) -> Vec<Vec<f32>> {
    let (x, w, b) = (x.clone(), w.clone(), b.clone());
    move |all| {
        let mut gradients = vec![values(x.grad(all).unwrap()), values(w.grad(all).unwrap())];
        gradients.extend(b.map(|b| values(b.grad(all).unwrap())));
        gradients
    }
}

fn engines_conv(x: &Tensor<4>, w: &Tensor<4>, b: &Option<Tensor<1>>, window: Window) -> Tensor<4> {
    module::conv2d(x.clone(), w.clone(), b.clone(), window.options())
}

#[test]
fn convolution_equals_the_engines() {
    // The engine cannot do without any picture.
    for case in 0..CONVOLUTIONS.len() - 1 {
        for (bias, rectify) in [(false, false), (true, false), (false, true), (true, true)] {
            let (x, w, b, window) = convolution(case, bias);
            let ours = conv2d(x.clone(), w.clone(), b.clone(), window, rectify);
            let ours = Passes::of(ours, three(&x, &w, &b));
            let theirs = engines_conv(&x, &w, &b, window);
            let theirs = if rectify { relu(theirs) } else { theirs };
            ours.assert_equal(&Passes::of(theirs, three(&x, &w, &b)), &format!("{case} {bias} {rectify}"));
        }
    }
}

#[test]
fn no_picture_gives_no_result_and_gradients_of_zero() {
    let (x, w, b, window) = convolution(CONVOLUTIONS.len() - 1, true);
    let y = conv2d(x.clone(), w.clone(), b.clone(), window, true);
    assert_eq!(y.dims(), [0, 4, 4, 4]);
    let Passes(out, gradients) = Passes::of(y, three(&x, &w, &b));
    assert!(out.is_empty() && gradients[0].is_empty());
    assert!(gradients[1..].iter().flatten().all(|&v| v == 0.0));
    let pool = Pool2d::new([2, 2]);
    let y = conv2d_relu_max_pool2d(x.clone(), w.clone(), b.clone(), WindowThenPool { window, pool });
    assert_eq!(y.dims(), [0, 4, 2, 2]);
    let Passes(_, gradients) = Passes::of(y, three(&x, &w, &b));
    assert!(gradients.iter().flatten().all(|&v| v == 0.0));
}

const POOLS: [Pool2d; 4] = [
    Pool2d { kernel: [2, 2], stride: [2, 2], padding: [0, 0], dilation: [1, 1], ceil: false },
    Pool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 1], dilation: [1, 1], ceil: false },
    Pool2d { kernel: [2, 3], stride: [1, 2], padding: [1, 0], dilation: [1, 1], ceil: false },
    // More taps than a byte can tell apart.
    Pool2d { kernel: [17, 16], stride: [3, 2], padding: [4, 4], dilation: [1, 1], ceil: false },
];

fn engines_pool(x: Tensor<4>, pool: Pool2d) -> Tensor<4> {
    let Pool2d { kernel, stride, padding, dilation, ceil } = pool;
    let options = MaxPoolOptions {
        kernel_size: kernel,
        stride,
        padding: padding.map(|p| (p, p)),
        dilation,
        ceil_mode: ceil,
    };
    module::max_pool2d(x, options)
}

#[test]
fn pooling_equals_the_engines() {
    for pool in POOLS {
        for input in [[2, 3, 15, 14], [1, 1, 17, 33], [1, 2, 12, 64]] {
            let x = tensor(input, 3);
            let gradient = |all: &burn::tensor::Gradients| vec![values(x.grad(all).unwrap())];
            let ours = Passes::of(max_pool2d(x.clone(), pool), gradient);
            let theirs = Passes::of(engines_pool(x.clone(), pool), gradient);
            ours.assert_equal(&theirs, &format!("{pool:?} of {input:?}"));
            let inner = max_pool2d(x.clone().inner(), pool);
            assert_close("without gradients", &values(inner), &theirs.0);
        }
    }
}

#[test]
fn convolution_relu_and_pooling_in_one_equal_the_engines_three() {
    for (input, outputs, window) in [
        ([3, 2, 19, 21], 4, PLAIN),
        ([1, 3, 16, 17], 33, Window { padding: [1, 1], ..PLAIN }),
        ([2, 4, 33, 35], 2, Window { stride: [2, 2], groups: 2, ..PLAIN }),
    ] {
        for (pool, bias) in POOLS.into_iter().flat_map(|pool| [(pool, false), (pool, true)]) {
            let (x, w) = (tensor(input, 1), tensor([outputs, input[1] / window.groups, 3, 3], 2));
            let b = bias.then(|| tensor([outputs], 4));
            let how = WindowThenPool { window, pool };
            let ours = conv2d_relu_max_pool2d(x.clone(), w.clone(), b.clone(), how);
            let theirs = engines_pool(relu(engines_conv(&x, &w, &b, window)), pool);
            let what = format!("{input:?} {pool:?} {bias}");
            let inner = conv2d_relu_max_pool2d(
                x.clone().inner(),
                w.clone().inner(),
                b.clone().map(Tensor::inner),
                how,
            );
            let theirs = Passes::of(theirs, three(&x, &w, &b));
            Passes::of(ours, three(&x, &w, &b)).assert_equal(&theirs, &what);
            assert_close(&what, &values(inner), &theirs.0);
        }
    }
}

#[test]
fn groups_of_images_add_up_to_all_of_them() {
    // A convolution of five pictures whose result is more than two groups.
    let (x, w) = (tensor([5, 1, 402, 402], 1), tensor([24, 1, 3, 3], 2));
    let b = Some(tensor([24], 3));
    let pool = Pool2d::new([2, 2]);
    const { assert!(5 * 24 * 400 * 400 > 2 * conv_pool::GROUP) };
    let ours =
        conv2d_relu_max_pool2d(x.clone(), w.clone(), b.clone(), WindowThenPool { window: PLAIN, pool });
    let theirs = max_pool2d(conv2d(x.clone(), w.clone(), b.clone(), PLAIN, true), pool);
    Passes::of(ours, three(&x, &w, &b)).assert_equal(&Passes::of(theirs, three(&x, &w, &b)), "groups");
}

#[test]
fn a_dense_layer_equals_the_engines() {
    for [n, inputs, outputs] in [[1, 1, 1], [3, 5, 2], [32, 70, 33], [7, 300, 129], [2, 1, 40]] {
        for (bias, rectify) in [(false, false), (true, false), (false, true), (true, true)] {
            let (x, w) = (tensor([n, inputs], 1), tensor([outputs, inputs], 2));
            let b = bias.then(|| tensor([outputs], 3));
            let gradients = |all: &burn::tensor::Gradients| {
                let mut gradients = vec![values(x.grad(all).unwrap()), values(w.grad(all).unwrap())];
                gradients.extend(b.as_ref().map(|b| values(b.grad(all).unwrap())));
                gradients
            };
            let ours = Passes::of(dense(x.clone(), w.clone(), b.clone(), rectify), gradients);
            let y = x.clone().matmul(w.clone().transpose());
            let y = match b.clone() {
                Some(b) => y + b.unsqueeze(),
                None => y,
            };
            let theirs = Passes::of(if rectify { relu(y) } else { y }, gradients);
            ours.assert_equal(&theirs, &format!("{n}x{inputs}x{outputs} {bias} {rectify}"));
        }
    }
}

#[test]
fn normalisation_equals_its_definition_by_the_engine() {
    for input in [[2, 3, 5, 4], [1, 5, 7, 9], [4, 1, 1, 1], [3, 2, 33, 17]] {
        for (residual, rectify) in [(false, false), (true, false), (false, true), (true, true)] {
            let [n, c, h, w] = input;
            let (x, gamma, beta) = (tensor(input, 1), tensor([c], 2), tensor([c], 3));
            let residual = residual.then(|| tensor(input, 6));
            let gradients = |all: &burn::tensor::Gradients| {
                let mut gradients = vec![
                    values(x.grad(all).unwrap()),
                    values(gamma.grad(all).unwrap()),
                    values(beta.grad(all).unwrap()),
                ];
                gradients.extend(residual.as_ref().map(|r| values(r.grad(all).unwrap())));
                gradients
            };
            let epsilon = 1e-3;
            let then = Then { epsilon, residual: residual.clone(), relu: rectify };
            let ours = batch_norm(x.clone(), gamma.clone(), beta.clone(), then);
            let count = (n * h * w) as f32;
            let sums = |x: Tensor<4>| x.sum_dim(0).sum_dim(2).sum_dim(3) / count; // [1, c, 1, 1]
            let mean = sums(x.clone());
            let apart = x.clone() - mean.clone();
            let variance = sums(apart.clone() * apart.clone());
            let channel = |v: &Tensor<1>| v.clone().reshape([1, c, 1, 1]);
            let y = apart / (variance.clone() + epsilon).sqrt() * channel(&gamma) + channel(&beta);
            let y = match &residual {
                Some(residual) => y + residual.clone(),
                None => y,
            };
            let what = format!("{input:?} {} {rectify}", residual.is_some());
            assert_close(&what, &values(ours.mean), &values(mean));
            assert_close(&what, &values(ours.variance), &values(variance));
            let theirs = Passes::of(if rectify { relu(y) } else { y }, gradients);
            Passes::of(ours.out, gradients).assert_equal(&theirs, &what);
        }
    }
}

#[test]
fn modulation_equals_the_engines() {
    for [n, c, h, w] in [[2, 3, 5, 4], [1, 1, 1, 1], [3, 2, 33, 17], [0, 3, 6, 6]] {
        let (x, gain, shift) = (tensor([n, c, h, w], 1), tensor([n, c], 2), tensor([n, c], 3));
        let gradients = |all: &burn::tensor::Gradients| {
            vec![
                values(x.grad(all).unwrap()),
                values(gain.grad(all).unwrap()),
                values(shift.grad(all).unwrap()),
            ]
        };
        let each = |v: &Tensor<2>| v.clone().reshape([n, c, 1, 1]);
        let theirs = Passes::of(relu(x.clone() * each(&gain) + each(&shift)), gradients);
        let ours = Passes::of(modulate_relu(x.clone(), gain.clone(), shift.clone()), gradients);
        ours.assert_equal(&theirs, &format!("{n}x{c}x{h}x{w}"));
    }
}

#[test]
fn a_tensor_that_is_not_contiguous_is_as_good() {
    let x = tensor([2, 7, 3, 6], 1);
    let w = tensor([4, 3, 3, 3], 2);
    let turned = x.clone().permute([0, 2, 1, 3]);
    let apart = turned.clone().detach() * 1.0;
    let ours = conv2d(turned, w.clone(), None, PLAIN, true);
    assert_close("turned", &values(ours), &values(conv2d(apart, w, None, PLAIN, true)));
    let (x, w) = (tensor([5, 3], 1), tensor([5, 4], 2));
    let ours = dense(x.clone().transpose(), w.clone().transpose(), None, false);
    assert_close("turned", &values(ours), &values(x.transpose().matmul(w)));
}
