//! Against the formulas in double precision; parity with PyTorch itself is tested where the rules are used.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

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

/// Rules with every number at work.
fn rules() -> Vec<Update> {
    let sgd = Sgd { lr: 0.1, decay: 0.01, momentum: None, nesterov: false, scale: 0.5 };
    let adam = Adam {
        step_size: 0.02,
        decay: 0.03,
        shrink: 0.99,
        beta1: 0.9,
        beta2: 0.999,
        rest1: 0.1,
        rest2: 0.001,
        root_correction: 0.3,
        epsilon: 1e-8,
        scale: 0.7,
    };
    vec![
        Update::Sgd(sgd),
        Update::Sgd(Sgd { momentum: Some(0.9), ..sgd }),
        Update::Sgd(Sgd { momentum: Some(0.9), nesterov: true, ..sgd }),
        Update::Adam(adam),
    ]
}

/// Weights and moments of one parameter.
#[derive(Clone, PartialEq, Debug)]
struct State {
    weights: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

fn state(rule: Update, len: usize, seed: u64) -> State {
    let (first, second) = match rule {
        Update::Sgd(Sgd { momentum: None, .. }) => (0, 0),
        Update::Sgd(_) => (len, 0),
        Update::Adam(_) => (len, len),
    };
    State {
        weights: values(len, seed),
        first: values(first, seed + 1),
        second: values(second, seed + 2).into_iter().map(f32::abs).collect(),
    }
}

fn parameter<'a>(state: &'a mut State, gradient: &'a [f32]) -> Parameter<'a> {
    Parameter { weights: &mut state.weights, gradient, first: &mut state.first, second: &mut state.second }
}

/// The formulas: weight, first and second moment.
fn definition(rule: Update, w: f64, g: f64, first: f64, second: f64) -> [f64; 3] {
    let f = f64::from;
    match rule {
        Update::Sgd(Sgd { lr, decay, momentum, nesterov, scale }) => {
            let g = g * f(scale) + f(decay) * w;
            let Some(momentum) = momentum.map(f) else { return [w - f(lr) * g, 0.0, 0.0] };
            let velocity = momentum * first + g;
            let step = if nesterov { g + momentum * velocity } else { velocity };
            [w - f(lr) * step, velocity, 0.0]
        }
        Update::Adam(a) => {
            let g = g * f(a.scale) + f(a.decay) * w;
            let m = f(a.beta1) * first + f(a.rest1) * g;
            let v = f(a.beta2) * second + f(a.rest2) * g * g;
            let step = m / (v.sqrt() / f(a.root_correction) + f(a.epsilon));
            [f(a.shrink) * w - f(a.step_size) * step, m, v]
        }
    }
}

#[test]
fn every_rule_equals_its_formula_at_any_length() {
    for rule in rules() {
        for len in [0, 1, 7, 16, 33, 1000, CHUNK + 5] {
            let (before, gradient) = (state(rule, len, 1), values(len, 9));
            for level in Level::available() {
                let mut after = before.clone();
                update_at(level, [(rule, parameter(&mut after, &gradient))]);
                for i in 0..len {
                    let at = |values: &[f32]| values.get(i).copied().map_or(0.0, f64::from);
                    let wanted = definition(
                        rule,
                        at(&before.weights),
                        at(&gradient),
                        at(&before.first),
                        at(&before.second),
                    );
                    let got = [at(&after.weights), at(&after.first), at(&after.second)];
                    for (got, wanted) in got.iter().zip(wanted) {
                        let error = (got - wanted).abs() / wanted.abs().max(1.0);
                        assert!(error < 1e-6, "{rule:?} by {level:?}, value {i}: {got}, not {wanted}");
                    }
                }
            }
        }
    }
}

#[test]
fn many_at_once_are_as_each_alone_on_any_number_of_threads_and_instructions() {
    let sizes = [3, 0, 2 * CHUNK + 11, 100, CHUNK];
    let all: Vec<(Update, State, Vec<f32>)> = sizes
        .iter()
        .zip(rules().into_iter().cycle())
        .map(|(&len, rule)| (rule, state(rule, len, len as u64), values(len, 77)))
        .collect();
    let mut alone = all.clone();
    for (rule, state, gradient) in &mut alone {
        update(*rule, parameter(state, gradient));
    }
    for threads in [1, 2, 4] {
        for level in Level::available() {
            let mut together = all.clone();
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                update_at(level, together.iter_mut().map(|(rule, state, g)| (*rule, parameter(state, g))));
            });
            assert!(together == alone, "{threads} threads, {level:?}");
        }
    }
}

#[test]
fn the_average_moves_by_the_rest() {
    for len in [0, 1, 50, CHUNK + 3] {
        let (mut averages, new) = (values(len, 1), values(len, 2));
        let before = averages.clone();
        update_average(&mut averages, &new, 0.9);
        for i in 0..len {
            let wanted = 0.9 * f64::from(before[i]) + 0.1 * f64::from(new[i]);
            assert!((f64::from(averages[i]) - wanted).abs() < 1e-6);
        }
    }
}

#[test]
fn the_sum_of_squares_is_right_for_any_length() {
    for length in [0, 1, 15, 16, 17, 1024, 1025, CHUNK, CHUNK + 1, 3 * CHUNK + 77] {
        let values = values(length, 3);
        let expected: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        assert!((sum_of_squares(&values) - expected).abs() <= 1e-6 * expected, "{length}");
    }
}

#[test]
#[should_panic(expected = "first moment has 0 values, its shape has 3")]
fn a_moment_that_is_missing_is_named() {
    let (mut weights, gradient) = (vec![0.0; 3], vec![0.0; 3]);
    let parameter = Parameter { weights: &mut weights, gradient: &gradient, first: &mut [], second: &mut [] };
    update(rules()[3], parameter);
}
