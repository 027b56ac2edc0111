//! The choice of algorithm against measured times.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use opticus_kernels::{Activation, Algorithm, Conv2d, ConvShape, Method, Pass};

/// Batch, input channels, output channels, side, kernel, stride, padding, groups.
const SHAPES: &[[usize; 8]] = &[
    [32, 3, 32, 64, 3, 1, 0, 1],
    [8, 3, 64, 32, 3, 1, 1, 1],
    [8, 8, 8, 64, 3, 1, 1, 1],
    [8, 16, 16, 64, 3, 1, 1, 1],
    [8, 16, 64, 32, 3, 1, 1, 1],
    [8, 64, 16, 32, 3, 1, 1, 1],
    [8, 32, 64, 55, 3, 1, 0, 1],
    [16, 64, 64, 32, 3, 1, 1, 1],
    [1, 64, 64, 56, 3, 1, 1, 1],
    [16, 128, 128, 16, 3, 1, 1, 1],
    [16, 256, 256, 8, 3, 1, 1, 1],
    [16, 512, 512, 4, 3, 1, 1, 1],
    [1, 256, 256, 14, 3, 1, 1, 1],
    [1, 512, 512, 7, 3, 1, 1, 1],
    [1, 512, 512, 4, 3, 1, 1, 1],
    [1, 64, 64, 5, 3, 1, 1, 1],
    [4, 128, 128, 2, 3, 1, 1, 1],
    [8, 96, 96, 28, 3, 1, 1, 96],
    [8, 96, 192, 14, 5, 2, 2, 96],
    [8, 64, 64, 28, 3, 1, 1, 4],
    [32, 100, 512, 4, 4, 1, 0, 1],
];

fn milliseconds(method: Method, shape: &ConvShape, pass: Pass) -> f64 {
    let len = |shape: [usize; 4]| shape.iter().product::<usize>();
    let fill = |len: usize| (0..len).map(|i| (i % 17) as f32 - 8.0).collect::<Vec<_>>();
    let mut x = fill(len(shape.input_shape()));
    let mut w = fill(len(shape.weight_shape()));
    let mut y = fill(len(shape.output_shape()));
    let mut once = || {
        let start = Instant::now();
        match pass {
            Pass::Forward => method.conv2d(shape, &x, &w, None, Activation::None, &mut y),
            Pass::BackwardData => method.backward_data(shape, &w, &y, &mut x),
            Pass::BackwardWeight => method.backward_weight(shape, &x, &y, &mut w),
        }
        start.elapsed().as_secs_f64() * 1e3
    };
    once();
    (0..15).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// Run on a quiet machine, with optimisation: `cargo test --release -p opticus-kernels --test cost_model -- --ignored`.
#[test]
#[ignore = "measures times: needs a quiet machine and a release build"]
fn the_chosen_algorithm_is_nearly_the_fastest() {
    let mut bad = Vec::new();
    for &[batch, inputs, outputs, side, kernel, stride, padding, groups] in SHAPES {
        let conv = Conv2d {
            stride: [stride; 2],
            padding: [padding; 2],
            groups,
            ..Conv2d::new(inputs, outputs, [kernel; 2])
        };
        let shape = conv.check([batch, inputs, side, side]).unwrap();
        for pass in Pass::ALL {
            let chosen = Algorithm::choose(&shape, pass);
            let times: Vec<_> = (Algorithm::ALL.into_iter())
                .filter(|algorithm| algorithm.supports(&shape, pass))
                .map(|algorithm| {
                    let time = milliseconds(Method::default().by(algorithm), &shape, pass);
                    (algorithm, time, algorithm.cost(&shape, pass) * 1e-6)
                })
                .collect();
            let best = times.iter().map(|t| t.1).fold(f64::INFINITY, f64::min);
            let taken = times.iter().find(|t| t.0 == chosen).map_or(f64::NAN, |t| t.1);
            let list: Vec<_> =
                times.iter().map(|(a, time, cost)| format!("{a:?} {time:.3} ms, cost {cost:.3}")).collect();
            let line = format!(
                "{batch}×{inputs}→{outputs} @{side} k{kernel} s{stride} g{groups} {pass:?}: {}",
                list.join("; ")
            );
            println!("{} {line}", if taken <= best * 1.3 { "  " } else { "!!" });
            if taken > best * 1.3 {
                bad.push(line);
            }
        }
    }
    assert!(bad.is_empty(), "a wrong choice costs more than a third:\n{}", bad.join("\n"));
}
