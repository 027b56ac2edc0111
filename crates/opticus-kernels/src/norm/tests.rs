//! Against the definition in double precision.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;
use crate::simd::Level;

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

#[derive(Clone, Debug)]
struct Case {
    sizes: [usize; 3],
    /// What is added to the input: a mean far from zero.
    offset: f32,
    residual: bool,
    relu: bool,
    frozen: bool,
}

#[derive(Default)]
struct Wanted {
    out: Vec<f64>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    dx: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
    dresidual: Vec<f64>,
}

struct Data {
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    residual: Vec<f32>,
    dy: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
}

const EPSILON: f32 = 1e-5;

fn data(case: &Case) -> Data {
    let [batch, channels, plane] = case.sizes;
    let len = batch * channels * plane;
    Data {
        x: values(len, 1).into_iter().map(|v| v + case.offset).collect(),
        gamma: values(channels, 2),
        beta: values(channels, 3),
        residual: values(len, 4),
        dy: values(len, 5),
        mean: values(channels, 6),
        variance: values(channels, 7).into_iter().map(|v| v.abs() + 0.1).collect(),
    }
}

/// The definition. `positive` says where relu lets the gradient through.
fn definition(case: &Case, data: &Data, positive: &[bool]) -> Wanted {
    let [batch, channels, plane] = case.sizes;
    let mut wanted = Wanted::default();
    let len = batch * channels * plane;
    wanted.out = vec![0.0; len];
    wanted.dx = vec![0.0; len];
    wanted.dresidual = vec![0.0; len];
    for c in 0..channels {
        let places: Vec<usize> =
            (0..batch).flat_map(|n| (0..plane).map(move |p| (n * channels + c) * plane + p)).collect();
        let count = places.len() as f64;
        let mut mean = places.iter().map(|&i| f64::from(data.x[i])).sum::<f64>() / count;
        let mut variance = places.iter().map(|&i| (f64::from(data.x[i]) - mean).powi(2)).sum::<f64>() / count;
        if case.frozen {
            (mean, variance) = (f64::from(data.mean[c]), f64::from(data.variance[c]));
        }
        let inverse = 1.0 / (variance + f64::from(EPSILON)).sqrt();
        let (gamma, beta) = (f64::from(data.gamma[c]), f64::from(data.beta[c]));
        let normal = |i: usize| (f64::from(data.x[i]) - mean) * inverse;
        let dy = |i: usize| if case.relu && !positive[i] { 0.0 } else { f64::from(data.dy[i]) };
        for &i in &places {
            let mut y = gamma * normal(i) + beta;
            if case.residual {
                y += f64::from(data.residual[i]);
            }
            wanted.out[i] = if case.relu { y.max(0.0) } else { y };
        }
        let dbeta = places.iter().map(|&i| dy(i)).sum::<f64>();
        let dgamma = places.iter().map(|&i| dy(i) * normal(i)).sum::<f64>();
        for &i in &places {
            let through = if case.frozen { 0.0 } else { (dbeta + normal(i) * dgamma) / count };
            wanted.dx[i] = gamma * inverse * (dy(i) - through);
            wanted.dresidual[i] = dy(i);
        }
        wanted.mean.push(mean);
        wanted.variance.push(variance);
        wanted.dgamma.push(dgamma);
        wanted.dbeta.push(dbeta);
    }
    wanted
}

#[derive(Clone, PartialEq, Debug)]
struct Got {
    out: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    dx: Vec<f32>,
    dgamma: Vec<f32>,
    dbeta: Vec<f32>,
    dresidual: Vec<f32>,
}

fn compute(case: &Case, data: &Data, level: Level) -> Got {
    let shape = NormShape::inference(case.sizes).unwrap().at(level);
    let (len, channels) = (data.x.len(), case.sizes[1]);
    // Old values must not shine through.
    let (all, each) = (vec![f32::NAN; len], vec![f32::NAN; channels]);
    let mut got = Got {
        out: all.clone(),
        mean: each.clone(),
        variance: each.clone(),
        dx: all.clone(),
        dgamma: each.clone(),
        dbeta: each,
        dresidual: all,
    };
    let job = BatchNorm {
        x: &data.x,
        gamma: &data.gamma,
        beta: &data.beta,
        epsilon: EPSILON,
        residual: case.residual.then_some(&data.residual[..]),
        relu: case.relu,
    };
    if case.frozen {
        batch_norm_infer(&shape, &job, &data.mean, &data.variance, &mut got.out);
        (got.mean, got.variance) = (data.mean.clone(), data.variance.clone());
    } else {
        batch_norm_train(&shape, &job, &mut got.out, &mut got.mean, &mut got.variance);
    }
    let from = BatchNormUpstream {
        x: &data.x,
        relu: case.relu.then_some(&got.out[..]),
        dy: &data.dy,
        gamma: &data.gamma,
        mean: &got.mean,
        variance: &got.variance,
        epsilon: EPSILON,
        frozen: case.frozen,
    };
    let to = BatchNormGradients {
        dx: &mut got.dx,
        dgamma: &mut got.dgamma,
        dbeta: &mut got.dbeta,
        dresidual: case.residual.then_some(&mut got.dresidual[..]),
    };
    batch_norm_backward(&shape, &from, to);
    got
}

/// Largest difference, relative to the largest wanted value (at least `least`).
fn difference(got: &[f32], wanted: &[f64], least: f64) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let scale = wanted.iter().fold(least, |m, v| m.max(v.abs()));
    // A difference that is no number must not be lost: `max` would drop it.
    got.iter().zip(wanted).fold(0.0f64, |m, (&g, &w)| {
        let d = (f64::from(g) - w).abs();
        if d <= m { m } else { d }
    }) / scale
}

fn check(case: &Case) {
    let data = data(case);
    for level in Level::available() {
        let got = compute(case, &data, level);
        let positive: Vec<bool> = got.out.iter().map(|&y| y > 0.0).collect();
        let wanted = definition(case, &data, &positive);
        // The input itself is only known to half a unit in the last place, which the mean's distance magnifies.
        let near = 1e-5 + f64::from(case.offset.abs()) * 2e-6;
        let spread =
            wanted.variance.iter().fold(f64::INFINITY, |m, &v| m.min(v)).max(0.0) + f64::from(EPSILON);
        let near = near / spread.sqrt().min(1.0);
        assert!(difference(&got.mean, &wanted.mean, 1.0) < 1e-6, "mean of {case:?} by {level:?}");
        assert!(
            difference(&got.variance, &wanted.variance, 1e-3) < 1e-5,
            "variance of {case:?} by {level:?}"
        );
        assert!(difference(&got.out, &wanted.out, 1.0) < near, "output of {case:?} by {level:?}");
        assert!(difference(&got.dx, &wanted.dx, 1.0) < near, "dx of {case:?} by {level:?}");
        // Sums of so many values of either sign: measured by what such a sum usually amounts to.
        let usual = ((case.sizes[0] * case.sizes[2]) as f64).sqrt();
        assert!(difference(&got.dgamma, &wanted.dgamma, usual) < near, "dgamma of {case:?} by {level:?}");
        assert!(difference(&got.dbeta, &wanted.dbeta, usual) < 1e-5, "dbeta of {case:?} by {level:?}");
        if case.residual {
            assert!(difference(&got.dresidual, &wanted.dresidual, 1.0) < 1e-6, "{case:?} by {level:?}");
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = prop_oneof![
        [1..5usize, 1..6usize, 1..70usize],
        [1..40usize, 1..20usize, 1..4usize],
        [1..4usize, 1..3usize, 2000..5000usize],
    ];
    (sizes, -3.0..3.0f32, any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(sizes, offset, residual, relu, frozen)| Case { sizes, offset, residual, relu, frozen })
        // The variance of a handful of values can be next to nothing, and its gradient next to infinite.
        .prop_filter("too few values", |case| case.sizes[0] * case.sizes[2] > 3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_shape_equals_its_definition(case in cases()) {
        check(&case);
    }
}

/// One of every way to cut the work.
#[test]
fn large_shapes_equal_their_definition() {
    for sizes in [[4, 2, 20_000], [64, 40, 49], [3, 20, 3136], [300, 3, 200], [2, 1, 70_001]] {
        check(&Case { sizes, offset: 0.5, residual: true, relu: true, frozen: false });
        check(&Case { sizes, offset: 0.0, residual: false, relu: false, frozen: true });
    }
}

#[test]
fn a_mean_far_from_zero_costs_no_digits_of_the_variance() {
    let case = Case { sizes: [8, 2, 3000], offset: 1000.0, residual: false, relu: false, frozen: false };
    let data = data(&case);
    for level in Level::available() {
        let got = compute(&case, &data, level);
        let wanted = definition(&case, &data, &[]);
        assert!(difference(&got.variance, &wanted.variance, 1e-9) < 1e-5, "{level:?}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for sizes in [[4, 2, 20_000], [64, 40, 49], [3, 20, 3136]] {
        let case = Case { sizes, offset: 0.5, residual: true, relu: true, frozen: false };
        let data = data(&case);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| compute(&case, &data, Level::best()))
        };
        let one = with(1);
        assert!(one == with(2) && one == with(4), "{sizes:?}");
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let case = Case { sizes: [2, 1, 40], offset: 0.0, residual: false, relu: true, frozen: true };
    let mut data = data(&case);
    data.x[3] = f32::NAN;
    for level in Level::available() {
        assert!(compute(&case, &data, level).out[3].is_nan(), "{level:?}");
    }
}

#[test]
fn sizes_that_cannot_work_are_named() {
    let fault = |sizes| NormShape::training(sizes).map_err(|e| e.fault());
    assert_eq!(fault([2, 0, 4]), Err(NormFault::NoChannels));
    assert_eq!(fault([0, 3, 4]), Err(NormFault::NoValues));
    assert_eq!(fault([3, 3, 0]), Err(NormFault::NoValues));
    assert_eq!(fault([usize::MAX, 3, 2]), Err(NormFault::TooLarge));
    let message = NormShape::training([0, 3, 4]).unwrap_err().to_string();
    assert!(message.contains("0 images × 3 channels × 4 pixels"), "{message}");
    let empty = Case { sizes: [0, 3, 4], offset: 0.0, residual: true, relu: true, frozen: true };
    let got = compute(&empty, &data(&empty), Level::best());
    assert_eq!(got.dgamma, [0.0; 3]);
}
