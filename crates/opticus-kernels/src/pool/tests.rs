//! Against the definitions, in the shortest loops that say them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;
use crate::simd::Level;

/// Whole numbers below 8, so that many are equal; sums of them are exact.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 60) as f32 - 8.0
        })
        .collect()
}

fn len(shape: [usize; 4]) -> usize {
    shape.iter().product()
}

/// The taps of a window that lie inside the input, as places in the input.
fn taps(shape: &PoolShape, output: usize) -> Vec<usize> {
    let [_, _, height, width] = shape.input_shape();
    let [_, _, height_out, width_out] = shape.output_shape();
    let pool = shape.pool();
    let (plane, y, x) =
        (output / (height_out * width_out), output / width_out % height_out, output % width_out);
    let mut places = Vec::new();
    for r in 0..pool.kernel[0] {
        for c in 0..pool.kernel[1] {
            let row = (y * pool.stride[0] + r * pool.dilation[0]) as isize - pool.padding[0] as isize;
            let col = (x * pool.stride[1] + c * pool.dilation[1]) as isize - pool.padding[1] as isize;
            if (0..height as isize).contains(&row) && (0..width as isize).contains(&col) {
                places.push((plane * height + row as usize) * width + col as usize);
            }
        }
    }
    places
}

fn check_max(pool: Pool2d, input: [usize; 4], special: bool) {
    let shape = pool.check(input).unwrap();
    let mut x = values(len(input), 1);
    if special {
        for i in (3..x.len()).step_by(17) {
            x[i] = f32::NAN;
        }
    }
    let dy = values(len(shape.output_shape()), 2);
    for relu in [false, true] {
        let (mut out, mut dx) = (vec![f32::NEG_INFINITY; dy.len()], vec![0.0f32; x.len()]);
        for i in 0..dy.len() {
            let mut winner = None;
            for place in taps(&shape, i) {
                if x[place] > out[i] || x[place].is_nan() {
                    (out[i], winner) = (x[place], Some(place));
                }
            }
            if relu && out[i] <= 0.0 {
                (out[i], winner) = (0.0, None);
            }
            if let Some(winner) = winner {
                dx[winner] += dy[i];
            }
        }
        for level in Level::available() {
            let shape = shape.at(level);
            let mut got = vec![7.5; out.len()];
            let mut winners = vec![0u32; out.len()];
            max_pool2d(&shape, &x, relu, &mut got, &mut winners);
            let same =
                |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
            assert!(same(&got, &out), "{pool:?} of {input:?}, relu {relu}, {level:?}: {got:?}, not {out:?}");
            let mut got_dx = vec![f32::NAN; x.len()];
            max_pool2d_backward(&shape, &dy, &winners, &mut got_dx);
            assert_eq!(got_dx, dx, "gradient of {pool:?} of {input:?}, relu {relu}, {level:?}");
            got.fill(7.5);
            max_pool2d_infer(&shape, &x, relu, &mut got);
            assert!(same(&got, &out), "inference of {pool:?} of {input:?}, {level:?}");
            if shape.taps() <= 255 {
                let mut winners = vec![0u8; out.len()];
                max_pool2d(&shape, &x, relu, &mut got, &mut winners);
                got_dx.fill(f32::NAN);
                max_pool2d_backward(&shape, &dy, &winners, &mut got_dx);
                assert_eq!(got_dx, dx, "gradient of {pool:?} of {input:?}, bytes, {level:?}");
            }
        }
    }
}

fn check_average(pool: Pool2d, input: [usize; 4]) {
    let pool = Pool2d { dilation: [1, 1], ..pool };
    let Ok(shape) = pool.check(input) else { return };
    let (x, dy) = (values(len(input), 1), values(len(shape.output_shape()), 2));
    let [_, _, height_out, width_out] = shape.output_shape();
    for averaged in [Averaged::WithPadding, Averaged::InputOnly] {
        let (mut out, mut dx) = (vec![0.0f64; dy.len()], vec![0.0f64; x.len()]);
        for i in 0..dy.len() {
            let places = taps(&shape, i);
            let along = |axis: usize, window: usize| {
                let begin = window * pool.stride[axis];
                (begin + pool.kernel[axis]).min(input[2 + axis] + 2 * pool.padding[axis]) - begin
            };
            let count = match averaged {
                Averaged::WithPadding => along(0, i / width_out % height_out) * along(1, i % width_out),
                Averaged::InputOnly => places.len(),
            } as f64;
            for place in places {
                out[i] += f64::from(x[place]) / count;
                dx[place] += f64::from(dy[i]) / count;
            }
        }
        for level in Level::available() {
            let shape = shape.at(level);
            let (mut got, mut got_dx) = (vec![f32::NAN; out.len()], vec![f32::NAN; x.len()]);
            avg_pool2d(&shape, averaged, &x, &mut got);
            near(&got, &out, 1e-5, &format!("{averaged:?} {pool:?} of {input:?}, {level:?}"));
            avg_pool2d_backward(&shape, averaged, &dy, &mut got_dx);
            near(&got_dx, &dx, 1e-4, &format!("gradient, {averaged:?} {pool:?} of {input:?}, {level:?}"));
        }
    }
}

fn near(got: &[f32], wanted: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), wanted.len());
    for (&got, &wanted) in got.iter().zip(wanted) {
        assert!(
            (f64::from(got) - wanted).abs() <= tolerance * wanted.abs().max(1.0),
            "{what}: {got}, not {wanted}"
        );
    }
}

fn cases() -> impl Strategy<Value = (Pool2d, [usize; 4])> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    let square = prop_oneof![Just([2, 2]), Just([3, 3]), Just([1, 1])];
    let free = (pair(1..5), pair(1..4), pair(1..3));
    let usual = (square, prop_oneof![Just([1, 1]), Just([2, 2])], Just([1, 1]));
    let parameters = prop_oneof![free, usual];
    (parameters, pair(0..3), any::<bool>(), [0..3usize, 1..4, 1..12, 1..50]).prop_filter_map(
        "shapes that cannot work",
        |((kernel, stride, dilation), padding, ceil, input)| {
            let pool = Pool2d { kernel, stride, padding, dilation, ceil };
            pool.check(input).ok().map(|_| (pool, input))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_maximum_equals_its_definition((pool, input) in cases(), special in any::<bool>()) {
        check_max(pool, input, special);
    }

    #[test]
    fn any_average_equals_its_definition((pool, input) in cases()) {
        check_average(pool, input);
    }

    #[test]
    fn any_adaptive_average_equals_its_definition(
        planes in 0..4usize, input in [1..9usize, 1..30usize], output in [1..5usize, 1..12usize]
    ) {
        let [height, width] = input;
        let (x, dy) = (values(planes * height * width, 1), values(planes * output[0] * output[1], 2));
        let (mut out, mut dx) = (vec![0.0f64; dy.len()], vec![0.0f64; x.len()]);
        for i in 0..dy.len() {
            let (plane, y, x0) = (i / (output[0] * output[1]), i / output[1] % output[0], i % output[1]);
            let along = |i: usize, axis: usize| {
                let begin = (i as f64 * input[axis] as f64 / output[axis] as f64 + 1e-9).floor() as usize;
                let end = ((i + 1) as f64 * input[axis] as f64 / output[axis] as f64 - 1e-9).ceil() as usize;
                begin..end
            };
            let count = (along(y, 0).len() * along(x0, 1).len()) as f64;
            for row in along(y, 0) {
                for col in along(x0, 1) {
                    let place = (plane * height + row) * width + col;
                    out[i] += f64::from(x[place]) / count;
                    dx[place] += f64::from(dy[i]) / count;
                }
            }
        }
        let (mut got, mut got_dx) = (vec![f32::NAN; out.len()], vec![f32::NAN; x.len()]);
        adaptive_avg_pool2d(input, output, &x, &mut got);
        near(&got, &out, 1e-5, "forward");
        adaptive_avg_pool2d_backward(input, output, &dy, &mut got_dx);
        near(&got_dx, &dx, 1e-4, "backward");
    }
}

/// The pools of well-known networks, at sizes that are spread over threads.
#[test]
fn large_pools_equal_their_definition() {
    let stem = Pool2d { stride: [2, 2], padding: [1, 1], ..Pool2d::new([3, 3]) };
    let squeeze = Pool2d { stride: [2, 2], ceil: true, ..Pool2d::new([3, 3]) };
    let inception = Pool2d { stride: [1, 1], padding: [1, 1], ..Pool2d::new([3, 3]) };
    let spatial = Pool2d { stride: [1, 1], padding: [2, 2], ..Pool2d::new([5, 5]) };
    for (pool, input) in [
        (Pool2d::new([2, 2]), [2, 3, 111, 113]),
        (Pool2d { ceil: true, ..Pool2d::new([2, 2]) }, [2, 3, 111, 113]),
        (stem, [2, 5, 112, 112]),
        (squeeze, [2, 5, 109, 110]),
        (inception, [3, 40, 28, 28]),
        (spatial, [3, 40, 20, 20]),
        (Pool2d::new([20, 20]), [3, 40, 20, 20]),
    ] {
        check_max(pool, input, false);
        check_max(pool, input, true);
        check_average(pool, input);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let shape =
        Pool2d { stride: [2, 2], padding: [1, 1], ..Pool2d::new([3, 3]) }.check([2, 9, 112, 112]).unwrap();
    let x: Vec<f32> = values(len(shape.input_shape()), 1).iter().map(|v| v / 3.0).collect();
    let dy: Vec<f32> = values(len(shape.output_shape()), 1).iter().map(|v| v / 3.0).collect();
    let with = |threads: usize| {
        let (mut out, mut winners) = (vec![0.0; dy.len()], vec![0u8; dy.len()]);
        let (mut mean, mut global) = (vec![0.0; dy.len()], vec![0.0; 18]);
        let (mut dx, mut dx_mean) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            max_pool2d(&shape, &x, false, &mut out, &mut winners);
            max_pool2d_backward(&shape, &dy, &winners, &mut dx);
            avg_pool2d(&shape, Averaged::WithPadding, &x, &mut mean);
            avg_pool2d_backward(&shape, Averaged::WithPadding, &dy, &mut dx_mean);
            adaptive_avg_pool2d([112, 112], [1, 1], &x, &mut global);
        });
        (out, winners, dx, mean, dx_mean, global)
    };
    let one = with(1);
    assert!(one == with(2) && one == with(4));
}

#[test]
fn output_sizes_are_pytorchs() {
    // `torch.nn.functional.max_pool2d(torch.zeros(1, 1, n, n), k, s, p, d, ceil).shape[-1]`, PyTorch 2.
    for (n, k, s, p, d, ceil, wanted) in [
        (109, 3, 2, 0, 1, true, 54),
        (110, 3, 2, 0, 1, true, 55),
        (110, 3, 2, 0, 1, false, 54),
        (5, 2, 2, 1, 1, true, 3),
        (3, 2, 3, 1, 1, true, 2),
        (2, 3, 2, 0, 1, true, 1),
        (7, 3, 2, 1, 2, true, 3),
    ] {
        let pool = Pool2d { kernel: [k; 2], stride: [s; 2], padding: [p; 2], dilation: [d; 2], ceil };
        let shape = pool.check([1, 1, n, n]).unwrap();
        assert_eq!(shape.output_shape()[3], wanted, "{pool:?} of {n}");
    }
}

#[test]
fn shapes_that_cannot_work_are_named() {
    let base = Pool2d::new([2, 2]);
    let fault = |pool: Pool2d, input| pool.check(input).map_err(|e| e.fault());
    assert_eq!(fault(Pool2d { stride: [0, 1], ..base }, [1, 1, 4, 4]), Err(PoolFault::ZeroParameter));
    assert_eq!(fault(Pool2d { padding: [2, 0], ..base }, [1, 1, 4, 4]), Err(PoolFault::Padding));
    assert_eq!(fault(base, [1, 1, 4, 1]), Err(PoolFault::WindowLargerThanInput));
    assert_eq!(fault(Pool2d { ceil: true, ..base }, [1, 1, 0, 3]), Err(PoolFault::WindowLargerThanInput));
    assert_eq!(fault(base, [usize::MAX, 2, 4, 4]), Err(PoolFault::TooLarge));
    assert_eq!(fault(Pool2d { dilation: [usize::MAX; 2], ..base }, [1, 1, 4, 4]), Err(PoolFault::TooLarge));
    let message = base.check([1, 3, 4, 1]).unwrap_err().to_string();
    assert!(message.contains("kernel 2×2") && message.contains("1×3×4×1"), "{message}");
}
