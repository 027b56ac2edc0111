//! Every kernel against its definition, computed in `f64` by the shortest loops that say it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use opticus_kernels::{
    Activation, Algorithm, Conv2d, ConvShape, ConvTranspose2d, Fault, Level, Matrix, Method,
    conv_transpose2d_backward_data, conv_transpose2d_backward_weight, conv2d_backward_bias, gemm,
};
use proptest::prelude::*;

/// Numbers in -1..1 that look random and are the same everywhere.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn len(shape: [usize; 4]) -> usize {
    shape.iter().product()
}

/// Calls `f` with the positions of weight, input and output in each product of the definition.
fn products(shape: &ConvShape, mut f: impl FnMut(usize, usize, usize)) {
    let conv = shape.conv();
    let [batch, channels, height, width] = shape.input_shape();
    let [_, rows, out_height, out_width] = shape.output_shape();
    let [_, group_channels, kernel_height, kernel_width] = shape.weight_shape();
    let group_rows = rows / conv.groups;
    for n in 0..batch {
        for k in 0..rows {
            for c in 0..group_channels {
                let channel = k / group_rows * group_channels + c;
                for y in 0..out_height {
                    for x in 0..out_width {
                        for r in 0..kernel_height {
                            for s in 0..kernel_width {
                                let Some(iy) =
                                    (y * conv.stride[0] + r * conv.dilation[0]).checked_sub(conv.padding[0])
                                else {
                                    continue;
                                };
                                let Some(ix) =
                                    (x * conv.stride[1] + s * conv.dilation[1]).checked_sub(conv.padding[1])
                                else {
                                    continue;
                                };
                                if iy < height && ix < width {
                                    f(
                                        ((k * group_channels + c) * kernel_height + r) * kernel_width + s,
                                        ((n * channels + channel) * height + iy) * width + ix,
                                        ((n * rows + k) * out_height + y) * out_width + x,
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Definition {
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
}

fn definition(shape: &ConvShape, x: &[f32], w: &[f32], dy: &[f32]) -> Definition {
    let mut d = Definition { y: vec![0.0; dy.len()], dx: vec![0.0; x.len()], dw: vec![0.0; w.len()] };
    products(shape, |weight, input, output| {
        d.y[output] += f64::from(w[weight]) * f64::from(x[input]);
        d.dx[input] += f64::from(w[weight]) * f64::from(dy[output]);
        d.dw[weight] += f64::from(x[input]) * f64::from(dy[output]);
    });
    d
}

/// Largest magnitude, at least one.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(1.0f64, |m, v| m.max(v.abs()))
}

/// Largest difference, relative to the largest wanted value. Not a number if any result is not.
fn difference(got: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let worst = |m: f64, e: f64| if e > m || e.is_nan() { e } else { m };
    got.iter().zip(wanted).fold(0.0, |m, (&g, &w)| worst(m, (f64::from(g) - w).abs())) / largest(wanted)
}

/// Sums of a few thousand products of values below one, in single precision.
const TOLERANCE: f64 = 2e-5;

fn check(method: Method, conv: Conv2d, input: [usize; 4]) {
    let shape = conv.check(input).unwrap();
    let x = values(len(shape.input_shape()), 1);
    let w = values(len(shape.weight_shape()), 2);
    let dy = values(len(shape.output_shape()), 3);
    let bias = values(conv.out_channels, 4);
    let wanted = definition(&shape, &x, &w, &dy);
    // Old values must not shine through.
    let mut y = vec![f32::NAN; dy.len()];
    let mut dx = vec![f32::NAN; x.len()];
    let mut dw = vec![f32::NAN; w.len()];
    method.conv2d(&shape, &x, &w, None, Activation::None, &mut y);
    assert!(difference(&y, &wanted.y) < TOLERANCE, "forward {conv:?} of {input:?} by {method:?}");
    method.backward_data(&shape, &w, &dy, &mut dx);
    assert!(difference(&dx, &wanted.dx) < TOLERANCE, "input gradient of {conv:?} of {input:?} by {method:?}");
    method.backward_weight(&shape, &x, &dy, &mut dw);
    assert!(
        difference(&dw, &wanted.dw) < TOLERANCE,
        "weight gradient of {conv:?} of {input:?} by {method:?}"
    );

    let plane = shape.output_shape()[2] * shape.output_shape()[3];
    let sums: Vec<f64> = (wanted.y.iter().enumerate())
        .map(|(i, v)| v + f64::from(bias[i / plane % conv.out_channels]))
        .collect();
    for activation in [
        Activation::Relu,
        Activation::LeakyRelu(0.2),
        Activation::Relu6,
        Activation::HardSwish,
        Activation::None,
    ] {
        method.conv2d(&shape, &x, &w, Some(&bias), activation, &mut y);
        let wanted: Vec<f64> = (sums.iter())
            .map(|&z| match activation {
                Activation::None => z,
                Activation::Relu => z.max(0.0),
                Activation::LeakyRelu(slope) => z.max(0.0) + f64::from(slope) * z.min(0.0),
                Activation::Relu6 => z.clamp(0.0, 6.0),
                Activation::HardSwish => z * (z + 3.0).clamp(0.0, 6.0) / 6.0,
                Activation::HardSigmoid => (z + 3.0).clamp(0.0, 6.0) / 6.0,
            })
            .collect();
        // Rounding is relative to the largest sum, which an activation may cut off.
        let error = difference(&y, &wanted) * largest(&wanted) / largest(&sums);
        assert!(error < TOLERANCE, "{activation:?} of {conv:?} of {input:?} by {method:?}");
    }
}

fn methods() -> Vec<Method> {
    let at = |level| Algorithm::ALL.map(|algorithm| Method::default().at(level).by(algorithm));
    // Miri follows the portable code; the instructions of the others are beyond it.
    let levels = if cfg!(miri) { vec![Level::Portable] } else { Level::available() };
    levels.into_iter().flat_map(at).collect()
}

/// Shapes that are known to be awkward, each with its reason.
#[test]
fn awkward_shapes_equal_their_definition() {
    let base = Conv2d::new(1, 1, [1, 1]);
    let cases = [
        // One value of everything.
        (base, [1, 1, 1, 1]),
        // The window is the whole input.
        (Conv2d { in_channels: 5, out_channels: 7, kernel: [4, 3], ..base }, [2, 5, 4, 3]),
        // Only padding and one pixel.
        (Conv2d { in_channels: 2, out_channels: 3, kernel: [3, 3], padding: [1, 1], ..base }, [1, 2, 1, 1]),
        // Padding wider than the kernel.
        (Conv2d { in_channels: 2, out_channels: 3, kernel: [2, 2], padding: [3, 4], ..base }, [1, 2, 3, 2]),
        // A stride beyond the kernel: pixels that no window reads.
        (Conv2d { in_channels: 3, out_channels: 4, kernel: [1, 2], stride: [3, 4], ..base }, [2, 3, 11, 13]),
        // Asymmetric everything.
        (
            Conv2d {
                in_channels: 6,
                out_channels: 4,
                kernel: [3, 5],
                stride: [2, 1],
                padding: [1, 2],
                dilation: [2, 1],
                groups: 2,
            },
            [2, 6, 17, 19],
        ),
        // Depthwise, with a multiplier.
        (
            Conv2d { in_channels: 9, out_channels: 18, kernel: [3, 3], padding: [1, 1], groups: 9, ..base },
            [2, 9, 14, 15],
        ),
        // Many filters, few tiles.
        (
            Conv2d { in_channels: 400, out_channels: 134, kernel: [3, 3], padding: [1, 1], ..base },
            [2, 400, 3, 4],
        ),
        // The layers of the networks, in small.
        (
            Conv2d { in_channels: 64, out_channels: 64, kernel: [3, 3], padding: [1, 1], ..base },
            [3, 64, 8, 8],
        ),
        (
            Conv2d { in_channels: 33, out_channels: 35, kernel: [3, 3], padding: [1, 1], ..base },
            [2, 33, 9, 11],
        ),
        (
            Conv2d { in_channels: 40, out_channels: 72, kernel: [3, 3], padding: [1, 1], ..base },
            [17, 40, 4, 4],
        ),
        (Conv2d { in_channels: 32, out_channels: 48, kernel: [3, 3], ..base }, [1, 32, 23, 37]),
        (
            Conv2d {
                in_channels: 3,
                out_channels: 16,
                kernel: [7, 7],
                stride: [2, 2],
                padding: [3, 3],
                ..base
            },
            [1, 3, 37, 41],
        ),
        (
            Conv2d {
                in_channels: 16,
                out_channels: 20,
                kernel: [4, 4],
                stride: [2, 2],
                padding: [1, 1],
                ..base
            },
            [2, 16, 16, 12],
        ),
        (Conv2d { in_channels: 24, out_channels: 40, stride: [2, 2], ..base }, [2, 24, 9, 8]),
        (Conv2d { in_channels: 70, out_channels: 130, ..base }, [2, 70, 7, 7]),
    ];
    for method in methods() {
        for (conv, input) in cases {
            check(method, conv, input);
        }
    }
}

/// A few small shapes that reach every path; for Miri, which is slow:
/// `MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-tree-borrows" cargo +nightly miri test -p opticus-kernels --test definition small`.
#[test]
fn small_shapes_equal_their_definition() {
    let base = Conv2d::new(2, 3, [3, 3]);
    let cases = [
        (Conv2d { padding: [1, 1], ..base }, [2, 2, 5, 3]),
        (Conv2d { stride: [2, 2], padding: [1, 0], ..base }, [1, 2, 6, 5]),
        (Conv2d { dilation: [2, 1], stride: [1, 3], ..base }, [1, 2, 5, 6]),
        (Conv2d { out_channels: 4, groups: 2, ..base }, [1, 2, 4, 3]),
        (base, [2, 2, 3, 3]),
    ];
    for method in methods() {
        for (conv, input) in cases {
            check(method, conv, input);
        }
    }
}

prop_compose! {
    fn any_convolution()(
        groups in 1usize..4, channels in 1usize..20, rows in 1usize..20, kernel in [1usize..5, 1usize..5],
        stride in [1usize..4, 1usize..4], padding in [0usize..4, 0usize..4], dilation in [1usize..3, 1usize..3],
        extra in [0usize..20, 0usize..20], batch in 1usize..4, depthwise in any::<bool>(),
    ) -> (Conv2d, [usize; 4]) {
        let (groups, channels, rows) = if depthwise { (channels, 1, 1) } else { (groups, channels, rows) };
        let conv = Conv2d {
            in_channels: groups * channels,
            out_channels: groups * rows,
            kernel, stride, padding, dilation, groups,
        };
        let side = |i: usize| ((kernel[i] - 1) * dilation[i] + 1).saturating_sub(2 * padding[i]).max(1) + extra[i];
        (conv, [batch, conv.in_channels, side(0), side(1)])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_shape_equals_its_definition((conv, input) in any_convolution()) {
        for method in methods() {
            check(method, conv, input);
        }
    }

    /// Any product of matrices, each contiguous by rows or by columns.
    #[test]
    fn any_matrix_product_equals_its_definition(
        rows in 1usize..70, inner in 0usize..600, cols in 1usize..90, turned in any::<[bool; 2]>(),
        with_bias in any::<bool>(),
    ) {
        let (a, b) = (values(rows * inner, 1), values(inner * cols, 2));
        let bias = values(cols, 3);
        let matrix = |v, rows, cols, turned: bool| {
            if turned { Matrix::new(v, cols, rows).transpose() } else { Matrix::new(v, rows, cols) }
        };
        let at = |v: &[f32], i: usize, j: usize, rows: usize, cols: usize, turned: bool| {
            f64::from(if turned { v[j * rows + i] } else { v[i * cols + j] })
        };
        let mut wanted = vec![0.0f64; rows * cols];
        for (position, sum) in wanted.iter_mut().enumerate() {
            let (i, j) = (position / cols, position % cols);
            let products = (0..inner)
                .map(|p| at(&a, i, p, rows, inner, turned[0]) * at(&b, p, j, inner, cols, turned[1]));
            *sum = products.sum::<f64>() + if with_bias { f64::from(bias[j]) } else { 0.0 };
            *sum = sum.max(0.0);
        }
        let mut out = vec![f32::NAN; rows * cols];
        gemm(
            matrix(&a, rows, inner, turned[0]),
            matrix(&b, inner, cols, turned[1]),
            with_bias.then_some(&bias[..]),
            Activation::Relu,
            &mut out,
        );
        prop_assert!(difference(&out, &wanted) < TOLERANCE);
    }

    /// The transposed convolution is the adjoint: `<convᵀ(x), y> = <x, conv(y)>`, and so are its gradients.
    #[test]
    fn transposed_convolution_equals_its_definition(
        (conv, input) in any_convolution(), cut in [0usize..3, 0usize..3],
    ) {
        let transposed = ConvTranspose2d {
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: [0, 1].map(|i| conv.padding[i].min((conv.kernel[i] - 1) * conv.dilation[i] / 2)),
            output_padding: [0, 1].map(|i| cut[i].min(conv.stride[i] - 1)),
            dilation: conv.dilation,
            groups: conv.groups,
        };
        let Ok(shape) = transposed.check(input) else { return Ok(()) };
        let mirror = Conv2d {
            in_channels: conv.out_channels,
            out_channels: conv.in_channels,
            padding: transposed.padding,
            ..conv
        };
        let mirror = mirror.check(shape.output_shape()).unwrap();
        prop_assert_eq!(mirror.output_shape(), input);
        let x = values(len(input), 1);
        let w = values(len(shape.weight_shape()), 2);
        let dy = values(len(shape.output_shape()), 3);
        let bias = values(conv.out_channels, 4);
        // The roles are exchanged: the input is the mirror's output.
        let wanted = definition(&mirror, &dy, &w, &x);
        let plane = shape.output_shape()[2] * shape.output_shape()[3];
        let wanted_y: Vec<f64> = (wanted.dx.iter().enumerate())
            .map(|(i, v)| (v + f64::from(bias[i / plane % conv.out_channels])).max(0.0))
            .collect();
        let mut y = vec![f32::NAN; dy.len()];
        Method::default().conv_transpose2d(&shape, &x, &w, Some(&bias), Activation::Relu, &mut y);
        prop_assert!(difference(&y, &wanted_y) < TOLERANCE);
        let mut dx = vec![f32::NAN; x.len()];
        conv_transpose2d_backward_data(&shape, &w, &dy, &mut dx);
        prop_assert!(difference(&dx, &wanted.y) < TOLERANCE);
        let mut dw = vec![f32::NAN; w.len()];
        conv_transpose2d_backward_weight(&shape, &x, &dy, &mut dw);
        prop_assert!(difference(&dw, &wanted.dw) < TOLERANCE);
    }
}

#[test]
fn the_bias_gradient_is_the_sum_over_images_and_pixels() {
    let shape = [3, 5, 7, 11];
    let dy = values(len(shape), 9);
    let mut db = vec![f32::NAN; 5];
    conv2d_backward_bias(shape, &dy, &mut db);
    for (channel, db) in db.iter().enumerate() {
        let wanted: f64 =
            (0..3).flat_map(|n| &dy[(n * 5 + channel) * 77..][..77]).map(|&v| f64::from(v)).sum();
        assert!((f64::from(*db) - wanted).abs() < 1e-5);
    }
}

/// The same bits with one, two and four threads.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let conv = Conv2d { padding: [1, 1], ..Conv2d::new(48, 80, [3, 3]) };
    let strided = Conv2d { stride: [2, 2], ..conv };
    let pointwise = Conv2d::new(48, 80, [1, 1]);
    let depthwise = Conv2d { in_channels: 48, out_channels: 48, groups: 48, ..conv };
    for conv in [conv, strided, pointwise, depthwise] {
        let shape = conv.check([5, 48, 19, 21]).unwrap();
        let x = values(len(shape.input_shape()), 1);
        let w = values(len(shape.weight_shape()), 2);
        let dy = values(len(shape.output_shape()), 3);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut y = vec![0.0; dy.len()];
                let mut dx = vec![0.0; x.len()];
                let mut dw = vec![0.0; w.len()];
                Method::default().conv2d(&shape, &x, &w, None, Activation::Relu, &mut y);
                Method::default().backward_data(&shape, &w, &dy, &mut dx);
                Method::default().backward_weight(&shape, &x, &dy, &mut dw);
                [y, dx, dw].map(|t| t.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
            })
        };
        let one = run(1);
        assert!(run(2) == one && run(4) == one, "{conv:?}");
    }
}

#[test]
fn an_empty_batch_is_no_work() {
    let conv = Conv2d::new(3, 4, [3, 3]);
    let shape = conv.check([0, 3, 8, 8]).unwrap();
    let w = values(len(shape.weight_shape()), 2);
    let mut dw = vec![f32::NAN; w.len()];
    Method::default().conv2d(&shape, &[], &w, None, Activation::None, &mut []);
    Method::default().backward_data(&shape, &w, &[], &mut []);
    Method::default().backward_weight(&shape, &[], &[], &mut dw);
    assert!(dw.iter().all(|&v| v == 0.0));
}

#[test]
fn shapes_that_cannot_work_are_refused_by_name() {
    let conv = Conv2d::new(3, 8, [3, 3]);
    let fault = |conv: Conv2d, input| conv.check(input).unwrap_err().fault();
    assert_eq!(fault(Conv2d { in_channels: 0, ..conv }, [1, 0, 8, 8]), Fault::NoChannels);
    assert_eq!(fault(Conv2d { out_channels: 0, ..conv }, [1, 3, 8, 8]), Fault::NoChannels);
    assert_eq!(fault(Conv2d { groups: 2, ..conv }, [1, 3, 8, 8]), Fault::Groups);
    assert_eq!(fault(Conv2d { groups: 0, ..conv }, [1, 3, 8, 8]), Fault::Groups);
    assert_eq!(fault(Conv2d { stride: [0, 1], ..conv }, [1, 3, 8, 8]), Fault::ZeroParameter);
    assert_eq!(fault(conv, [1, 4, 8, 8]), Fault::Channels);
    assert_eq!(fault(conv, [1, 3, 2, 8]), Fault::WindowLargerThanInput);
    assert_eq!(fault(conv, [1, 3, 0, 0]), Fault::WindowLargerThanInput);
    assert_eq!(fault(Conv2d { dilation: [4, 4], ..conv }, [1, 3, 8, 8]), Fault::WindowLargerThanInput);
    assert_eq!(fault(conv, [usize::MAX, 3, 8, 8]), Fault::TooLarge);
    assert_eq!(fault(Conv2d { padding: [usize::MAX, 0], ..conv }, [1, 3, 8, 8]), Fault::TooLarge);
    assert_eq!(fault(Conv2d { dilation: [usize::MAX, 1], ..conv }, [1, 3, 8, 8]), Fault::TooLarge);
    let message = conv.check([1, 3, 2, 8]).unwrap_err().to_string();
    assert!(message.contains("3→8") && message.contains("3×3") && message.contains("1×3×2×8"), "{message}");
}
