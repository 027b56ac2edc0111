//! Programs against their operations one by one, by the kernels that training uses.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::{Builder, Program, Value, plain, shapes};
use crate::{Algorithm, Averaged, Conv2d, Function, Level, Pool2d};

/// Numbers in -1..1 that look random and are the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn take(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|_| {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// Weights that keep the size of what they are applied to.
    fn weights(&mut self, outputs: usize, inputs: usize) -> Vec<f32> {
        let scale = (3.0 / inputs.max(1) as f32).sqrt();
        self.take(outputs * inputs).into_iter().map(|w| w * scale).collect()
    }
}

/// A network under construction that remembers channels.
struct Net {
    builder: Builder,
    numbers: Numbers,
}

impl Net {
    fn new(channels: usize, seed: u64) -> (Net, Value) {
        let (builder, x) = Builder::new(channels);
        (Net { builder, numbers: Numbers(seed | 1) }, x)
    }

    fn conv(&mut self, x: Value, conv: Conv2d) -> Value {
        let inputs = conv.in_channels / conv.groups * conv.kernel[0] * conv.kernel[1];
        let weight = self.numbers.weights(conv.out_channels, inputs);
        let bias = self.numbers.take(conv.out_channels);
        self.builder.conv(x, conv, weight, Some(&bias))
    }

    fn norm(&mut self, x: Value, channels: usize) -> Value {
        let (scale, shift) = (self.numbers.take(channels), self.numbers.take(channels));
        self.builder.affine(x, &scale, &shift)
    }

    /// Holds the program against its operations, for all instruction sets and both algorithms.
    fn check(self, outputs: &[Value], shape: [usize; 4]) {
        let Net { builder, mut numbers } = self;
        let x = numbers.take(shape.iter().product());
        let nodes = builder.nodes().to_vec();
        let shapes = shapes::of(&nodes, shape).unwrap();
        let expected = plain::run(&nodes, &shapes, &x);
        let mut program = builder.finish(outputs).unwrap();
        for level in Level::available() {
            program = program.at(level);
            for algorithm in [Algorithm::Implicit, Algorithm::Winograd] {
                program = program.by(algorithm);
                let got = program.run(&x, shape).unwrap();
                for (&Value(node), got) in outputs.iter().zip(&got) {
                    assert_eq!(got.shape, shapes[node]);
                    near(&got.values, &expected[node], &format!("{level:?} {algorithm:?}"));
                }
                assert_eq!(program.run(&x, shape).unwrap(), got, "the second run is the first");
                company(&program, &x, shape);
            }
        }
    }
}

/// A picture alone gives the same bits as in its batch.
fn company(program: &Program, x: &[f32], shape: [usize; 4]) {
    let [n, c, h, w] = shape;
    let all = program.run(x, shape).unwrap();
    let image = c * h * w;
    for i in 0..n {
        let alone = program.run(&x[i * image..(i + 1) * image], [1, c, h, w]).unwrap();
        for (alone, all) in alone.iter().zip(&all) {
            let len = alone.values.len();
            assert_eq!(alone.values, all.values[i * len..(i + 1) * len]);
        }
    }
}

fn near(got: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(got.len(), wanted.len());
    // A maximum of nothing but padding is infinite.
    let finite = wanted.iter().filter(|w| w.is_finite());
    let size = finite.fold(1.0f32, |size, w| size.max(w.abs()));
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!(
            got == wanted || (got - wanted).abs() <= 2e-5 * size,
            "{what}: value {i} is {got}, not {wanted}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_convolution_with_all_that_follows(
        channels in prop_oneof![1usize..=40, Just(64usize)],
        rows in prop_oneof![1usize..=40, Just(64usize)],
        kernel in [1usize..=5, 1usize..=5],
        stride in [1usize..=3, 1usize..=3],
        padding in [0usize..=2, 0usize..=2],
        dilation in [1usize..=2, 1usize..=2],
        plane in [1usize..=17, 1usize..=17],
        batch in 1usize..=3,
        three in any::<bool>(),
        parts in 0u8..8,
        seed in any::<u64>(),
    ) {
        let mut conv = Conv2d { kernel, stride, padding, dilation, ..Conv2d::new(channels, rows, kernel) };
        if three {
            conv = Conv2d { padding, ..Conv2d::new(channels, rows, [3, 3]) };
        }
        let shape = [batch, channels, plane[0], plane[1]];
        prop_assume!(conv.check(shape).is_ok());
        let (mut net, x) = Net::new(channels, seed);
        let mut y = net.conv(x, conv);
        if parts & 1 != 0 {
            y = net.norm(y, rows);
        }
        if parts & 2 != 0 {
            let other = net.conv(x, conv);
            y = net.builder.add(y, other);
        }
        if parts & 4 != 0 {
            let functions = [Function::Relu, Function::HardSwish, Function::LeakyRelu(0.2), Function::Silu];
            y = net.builder.apply(y, functions[seed as usize % 4]);
        }
        net.check(&[y], shape);
    }

    #[test]
    fn each_channel_by_itself(
        channels in 2usize..=40,
        kernel in prop_oneof![Just(3usize), Just(5), 1usize..=4],
        stride in 1usize..=2,
        plane in [1usize..=20, 1usize..=20],
        batch in 1usize..=2,
        seed in any::<u64>(),
    ) {
        let conv = Conv2d {
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            groups: channels,
            ..Conv2d::new(channels, channels, [kernel; 2])
        };
        let shape = [batch, channels, plane[0], plane[1]];
        prop_assume!(conv.check(shape).is_ok());
        let (mut net, x) = Net::new(channels, seed);
        let y = net.conv(x, conv);
        let y = net.norm(y, channels);
        let y = net.builder.apply(y, Function::HardSwish);
        net.check(&[y], shape);
    }

    #[test]
    fn pools_of_any_kind(
        channels in 1usize..=20,
        kernel in [1usize..=4, 1usize..=4],
        stride in [1usize..=3, 1usize..=3],
        padding in [0usize..=2, 0usize..=2],
        dilation in [1usize..=2, 1usize..=2],
        ceil in any::<bool>(),
        plane in [1usize..=13, 1usize..=13],
        size in [1usize..=5, 1usize..=5],
        seed in any::<u64>(),
    ) {
        let pool = Pool2d { kernel, stride, padding, dilation, ceil };
        let dense = Pool2d { dilation: [1, 1], ..pool };
        let shape = [2, channels, plane[0], plane[1]];
        prop_assume!(pool.check(shape).is_ok() && dense.check(shape).is_ok());
        let (mut net, x) = Net::new(channels, seed);
        let greatest = net.builder.max_pool(x, pool);
        let mean = net.builder.avg_pool(x, dense, Averaged::WithPadding);
        let even = net.builder.adaptive_avg_pool(x, size);
        let global = net.builder.adaptive_avg_pool(x, [1, 1]);
        net.check(&[greatest, mean, even, global], shape);
    }
}

#[test]
fn a_residual_network_with_branches_joins_and_weighed_channels() {
    for (channels, width, plane) in [(3, 24, [19, 23]), (1, 32, [12, 12]), (16, 48, [9, 14])] {
        let (mut net, x) = Net::new(channels, 7);
        let same = |inputs, outputs| Conv2d { padding: [1, 1], ..Conv2d::new(inputs, outputs, [3, 3]) };
        let stem = net.conv(x, Conv2d { stride: [2, 2], ..same(channels, width) });
        let stem = net.norm(stem, width);
        let stem = net.builder.apply(stem, Function::Relu);
        let pooled = Pool2d { padding: [1, 1], stride: [2, 2], ..Pool2d::new([3, 3]) };
        let stem = net.builder.max_pool(stem, pooled);
        // A block whose shortcut is a convolution described after the main path.
        let y = net.conv(stem, same(width, width));
        let y = net.builder.apply(y, Function::Relu);
        let y = net.conv(y, same(width, width));
        let y = net.norm(y, width);
        let shortcut = net.conv(stem, Conv2d::new(width, width, [1, 1]));
        let y = net.builder.add(y, shortcut);
        let block = net.builder.apply(y, Function::Relu);
        // Channels weighed by their means.
        let means = net.builder.adaptive_avg_pool(block, [1, 1]);
        let squeezed = net.conv(means, Conv2d::new(width, 5, [1, 1]));
        let squeezed = net.builder.apply(squeezed, Function::Relu);
        let weights = net.conv(squeezed, Conv2d::new(5, width, [1, 1]));
        let weights = net.builder.apply(weights, Function::HardSigmoid);
        let weighed = net.builder.mul(block, weights);
        // Joined in place (whole blocks), and by copying.
        let wide = net.conv(weighed, same(width, 32));
        let narrow = net.conv(weighed, Conv2d::new(width, 16, [1, 1]));
        let joined = net.builder.concat(&[narrow, wide]);
        let joined = net.builder.apply(joined, Function::Relu);
        let thin = net.conv(joined, Conv2d { groups: 4, ..same(48, 20) });
        let odd = net.builder.concat(&[thin, joined]);
        let every = net.builder.every(odd, [2, 1]);
        let padded = net.builder.pad_channels(every, 3, 6);
        let square = net.builder.mul(padded, padded);
        let sum = net.builder.add(padded, square);
        let sum = net.norm(sum, 77);
        // Dense layers of a map, and of a vector.
        let shapes = shapes::of(net.builder.nodes(), [1, channels, plane[0], plane[1]]).unwrap();
        let inputs: usize = shapes[sum.0].iter().product();
        let (weight, bias) = (net.numbers.weights(30, inputs), net.numbers.take(30));
        let hidden = net.builder.linear(sum, 30, weight, Some(&bias));
        let hidden = net.builder.apply(hidden, Function::Tanh);
        let weight = net.numbers.weights(10, 30);
        let logits = net.builder.linear(hidden, 10, weight, None);
        let logits = net.builder.apply(logits, Function::Relu);
        // A coarse map at the size of a finer one, and unit vectors.
        let fine = net.builder.nearest(block, x);
        let scale = net.numbers.take(width);
        let unit = net.builder.normalize(block, &scale);
        net.check(&[logits, joined, block, sum, x, fine, unit], [2, channels, plane[0], plane[1]]);
    }
}

#[test]
fn maps_of_one_pixel_are_read_by_larger_windows() {
    let (mut net, x) = Net::new(20, 9);
    let a = net.conv(x, Conv2d::new(20, 24, [1, 1]));
    let wide = net.conv(a, Conv2d { padding: [0, 1], ..Conv2d::new(24, 16, [1, 3]) });
    let tall = net.conv(a, Conv2d { padding: [1, 0], ..Conv2d::new(24, 32, [3, 1]) });
    let joined = net.builder.concat(&[wide, tall]);
    net.check(&[joined], [3, 20, 1, 1]);
}

#[test]
fn threads_do_not_change_a_bit() {
    let build = || {
        let (mut net, x) = Net::new(3, 3);
        let same = |inputs, outputs| Conv2d { padding: [1, 1], ..Conv2d::new(inputs, outputs, [3, 3]) };
        let a = net.conv(x, Conv2d { stride: [2, 2], ..same(3, 64) });
        let b = net.conv(a, same(64, 64));
        let c = net.builder.add(a, b);
        let c = net.builder.apply(c, Function::Relu);
        let d = net.conv(c, Conv2d::new(64, 160, [1, 1]));
        (net.builder.finish(&[d]).unwrap(), net.numbers.take(2 * 3 * 64 * 64))
    };
    let results: Vec<_> = [1, 2, 5]
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (program, x) = build();
            pool.install(|| program.run(&x, [2, 3, 64, 64]).unwrap())
        })
        .into();
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn many_threads_may_run_one_program() {
    use rayon::prelude::*;
    let (mut net, x) = Net::new(3, 3);
    let y = net.conv(x, Conv2d { padding: [1, 1], ..Conv2d::new(3, 64, [3, 3]) });
    let y = net.conv(y, Conv2d { padding: [1, 1], ..Conv2d::new(64, 64, [3, 3]) });
    let program = net.builder.finish(&[y]).unwrap();
    let x = net.numbers.take(3 * 32 * 32);
    let results: Vec<_> = (0..16).into_par_iter().map(|_| program.run(&x, [1, 3, 32, 32]).unwrap()).collect();
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn what_cannot_work_is_refused_with_the_operation_named() {
    let (mut net, x) = Builder::new(3);
    let y = net.conv(x, Conv2d::new(3, 8, [3, 3]), vec![0.0; 8 * 3 * 9], None);
    let program = net.finish(&[y]).unwrap();
    let error = program.run(&[0.0; 3 * 2 * 2], [1, 3, 2, 2]).unwrap_err().to_string();
    assert!(error.contains("operation 1") && error.contains("larger than the padded input"), "{error}");
    let error = program.run(&[0.0; 4 * 4], [1, 1, 4, 4]).unwrap_err().to_string();
    assert!(error.contains("3 channels"), "{error}");
    let error = program.run(&[0.0; 7], [1, 3, 4, 4]).unwrap_err().to_string();
    assert!(error.contains("7 values"), "{error}");
    assert_eq!(program.run(&[], [0, 3, 4, 4]).unwrap()[0].shape, [0, 8, 2, 2]);

    let (mut net, x) = Builder::new(3);
    let y = net.conv(x, Conv2d::new(3, 8, [3, 3]), vec![0.0; 5], None);
    let error = net.finish(&[y]).unwrap_err().to_string();
    assert!(error.contains("5 values") && error.contains("216"), "{error}");
}
