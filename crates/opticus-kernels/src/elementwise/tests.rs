//! Against the functions in double precision, and their gradients against differences of those.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::functions::{erf, exp, sigmoid, tanh};
use super::*;

const ALL: [Function; 12] = [
    Function::Relu,
    Function::LeakyRelu(0.2),
    Function::LeakyRelu(-0.5),
    Function::LeakyRelu(1.5),
    Function::Relu6,
    Function::Silu,
    Function::HardSwish,
    Function::HardSigmoid,
    Function::Gelu,
    Function::GeluTanh,
    Function::Tanh,
    Function::Sigmoid,
];

/// The error function by its series (Abramowitz and Stegun 7.1.6), which has only positive terms.
fn erf64(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

fn definition(function: Function, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match function {
        Function::Relu => x.max(0.0),
        Function::LeakyRelu(slope) if x <= 0.0 => f64::from(slope) * x,
        Function::LeakyRelu(_) => x,
        Function::Relu6 => x.clamp(0.0, 6.0),
        Function::Silu => x * sigmoid(x),
        Function::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Function::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Function::Gelu => 0.5 * x * (1.0 + erf64(x / 2f64.sqrt())),
        Function::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Function::Tanh => x.tanh(),
        Function::Sigmoid => sigmoid(x),
    }
}

/// Every 997th single-precision number between the bounds, and both bounds.
fn numbers(from: f32, to: f32) -> impl Iterator<Item = f32> {
    let spread = |from: f32, to: f32| (from.to_bits()..=to.to_bits()).step_by(997).map(f32::from_bits);
    let negative = spread(1e-30, (-from).max(1e-30)).map(|x| -x);
    negative
        .chain(spread(1e-30, to.max(1e-30)))
        .filter(move |x| (from..=to).contains(x))
        .chain([0.0, from, to])
}

/// The largest relative error over a range.
fn worst(name: &str, range: [f32; 2], f: fn(f32) -> f32, wanted: impl Fn(f64) -> f64) -> f64 {
    let (mut worst, mut at) = (0.0, 0.0);
    for x in numbers(range[0], range[1]) {
        let (got, wanted) = (f64::from(f(x)), wanted(f64::from(x)));
        let error = if got == wanted { 0.0 } else { ((got - wanted) / wanted).abs() };
        if error.is_nan() || error > worst {
            (worst, at) = (error, x);
        }
    }
    println!("{name}: relative error at most {worst:.2e}, at {at}");
    worst
}

#[test]
fn the_transcendental_functions_are_as_accurate_as_they_say() {
    assert!(worst("exp", [-87.0, 88.7], exp, f64::exp) < 1.5e-7);
    assert!(worst("sigmoid", [-87.0, 100.0], sigmoid, |x| 1.0 / (1.0 + (-x).exp())) < 3e-7);
    assert!(worst("tanh", [-20.0, 20.0], tanh, f64::tanh) < 3e-7);
    assert!(worst("erf", [-6.0, 6.0], erf, erf64) < 3e-7);
}

#[test]
fn the_ends_of_the_numbers_are_right() {
    assert_eq!(exp(f32::INFINITY), f32::INFINITY);
    assert_eq!(exp(89.0), f32::INFINITY);
    assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    assert_eq!(exp(0.0), 1.0);
    assert!((f64::from(exp(-100.0)) - (-100f64).exp()).abs() < 2e-45, "{:e}", exp(-100.0));
    for f in [tanh, erf] {
        assert_eq!([f(f32::INFINITY), f(f32::NEG_INFINITY), f(0.0), f(1e30)], [1.0, -1.0, 0.0, 1.0]);
        assert!(f(-0.0).is_sign_negative());
    }
    assert_eq!([sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY), sigmoid(0.0)], [1.0, 0.0, 0.5]);
    for function in ALL {
        for level in Level::available() {
            let mut y = [0.0; 1];
            apply_at(level, function, &[f32::NAN], &mut y);
            assert!(y[0].is_nan(), "{function:?} by {level:?}");
        }
    }
}

#[test]
fn every_function_equals_its_definition() {
    let x: Vec<f32> = numbers(-12.0, 12.0).step_by(7).collect();
    for function in ALL {
        for level in Level::available() {
            let mut y = vec![f32::NAN; x.len()];
            apply_at(level, function, &x, &mut y);
            for (&x, &y) in x.iter().zip(&y) {
                let wanted = definition(function, f64::from(x));
                // Sigmoids and tangents keep their relative accuracy; the others are measured by their argument.
                let scale = match function {
                    Function::Sigmoid | Function::Tanh => wanted.abs(),
                    Function::HardSigmoid => wanted.abs().max(0.5),
                    Function::HardSwish => f64::from(x.abs()),
                    _ => wanted.abs().max(f64::from(x.abs())),
                };
                let error = (f64::from(y) - wanted).abs();
                assert!(error <= 4e-7 * scale, "{function:?}({x}) by {level:?}: {y}, not {wanted}");
            }
        }
    }
}

#[test]
fn every_gradient_equals_the_difference_of_its_function() {
    let x: Vec<f32> = (0..4001).map(|i| (i as f32 - 2000.0) / 250.0 + 1.3e-4).collect();
    let dy: Vec<f32> = (0..x.len()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    for function in ALL {
        for level in Level::available() {
            let mut y = x.clone();
            apply_in_place_at(level, function, &mut y);
            let kept = if function.keeps() == Kept::Input { &x } else { &y };
            let mut dx = vec![f32::NAN; x.len()];
            differentiate_at(level, function, kept, &dy, &mut dx);
            for i in 0..x.len() {
                let (x, step) = (f64::from(x[i]), 1e-5);
                let slope = (definition(function, x + step) - definition(function, x - step)) / (2.0 * step);
                let wanted = slope * f64::from(dy[i]);
                let error = (f64::from(dx[i]) - wanted).abs();
                assert!(error < 2e-6, "{function:?} at {x} by {level:?}: {}, not {wanted}", dx[i]);
            }
            let mut gradient = dy.clone();
            differentiate_in_place_at(level, function, kept, &mut gradient);
            assert_eq!(gradient, dx, "{function:?} in place by {level:?}");
        }
    }
}

#[test]
fn any_length_thread_count_and_instruction_set_gives_the_same_bits() {
    for len in [0, 1, 5, 16, 31, 1000, CHUNK, 2 * CHUNK + 13] {
        let x: Vec<f32> = (0..len).map(|i| ((i * 7919) % 2003) as f32 / 200.0 - 5.0).collect();
        for function in ALL {
            let one_by_one: Vec<f32> = x
                .iter()
                .map(|&x| {
                    let mut y = [x];
                    apply_in_place_at(Level::Portable, function, &mut y);
                    y[0]
                })
                .collect();
            for level in Level::available() {
                for threads in if len > CHUNK { vec![1, 2, 4] } else { vec![1] } {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut y = vec![f32::NAN; len];
                    pool.install(|| apply_at(level, function, &x, &mut y));
                    assert!(y == one_by_one, "{function:?}, {len} values, {threads} threads, {level:?}");
                }
            }
        }
    }
}

#[test]
fn sums_through_relu() {
    for len in [0, 3, 100, CHUNK + 9] {
        let a: Vec<f32> = (0..len).map(|i| (i % 17) as f32 - 8.0).collect();
        let b: Vec<f32> = (0..len).map(|i| (i % 5) as f32 - 2.0).collect();
        let wanted: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a + b).max(0.0)).collect();
        let (mut out, mut place) = (vec![f32::NAN; len], a.clone());
        add_relu(&a, &b, &mut out);
        add_relu_in_place(&mut place, &b);
        assert_eq!(out, wanted);
        assert_eq!(place, wanted);
    }
}
