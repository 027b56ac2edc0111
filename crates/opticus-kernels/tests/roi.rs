//! Regions against torchvision (`tools/reference/roi.py`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use opticus_kernels::{Roi, RoiAlign, RoiPool, roi_align, roi_align_backward, roi_pool, roi_pool_backward};
use serde_json::Value;

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn numbers<const N: usize>(value: &Value) -> [usize; N] {
    let numbers: Vec<usize> =
        value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
    numbers.try_into().unwrap()
}

fn near(got: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(got.len(), wanted.len());
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((got - wanted).abs() < 2e-5, "{what}: value {i} is {got}, not {wanted}");
    }
}

#[test]
fn regions_and_their_gradients_are_torchvisions() {
    let golden: Value = serde_json::from_str(include_str!("golden/roi.json")).unwrap();
    let map: [usize; 4] = numbers(&golden["map"]);
    let x = floats(&golden["x"]);
    let scale = golden["scale"].as_f64().unwrap() as f32;
    let rois: Vec<Roi> = (golden["rois"].as_array().unwrap().iter())
        .map(|roi| {
            let [image, corners @ ..]: [f32; 5] = floats(roi).try_into().unwrap();
            Roi { image: image as usize, corners }
        })
        .collect();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 10);
    for case in cases {
        let what = format!("{} {} {} {}", case["kind"], case["bins"], case["samples"], case["aligned"]);
        let bins: [usize; 2] = numbers(&case["bins"]);
        let count = rois.len() * map[1] * bins[0] * bins[1];
        let dy: Vec<f32> = (0..count).map(|i| -1.0 + 2.0 * i as f32 / (count - 1) as f32).collect();
        let (mut y, mut dx) = (vec![f32::NAN; count], vec![f32::NAN; x.len()]);
        if case["kind"] == "align" {
            let samples = Some(case["samples"].as_u64().unwrap() as usize).filter(|&samples| samples > 0);
            let align = RoiAlign { bins, scale, samples, aligned: case["aligned"].as_bool().unwrap() };
            roi_align(&align, map, &x, &rois, &mut y);
            roi_align_backward(&align, map, &dy, &rois, &mut dx);
        } else {
            let pool = RoiPool { bins, scale };
            let mut winners = vec![0; count];
            roi_pool(&pool, map, &x, &rois, &mut y, &mut winners);
            roi_pool_backward(&pool, map, &dy, &rois, &winners, &mut dx);
        }
        near(&y, &floats(&case["y"]), &what);
        near(&dx, &floats(&case["dx"]), &format!("gradient, {what}"));
    }
}

#[test]
fn regions_of_nonsense_are_finite() {
    let rois =
        [[f32::NAN; 4], [f32::INFINITY; 4], [-1e30, -1e30, 1e30, 1e30], [f32::MAX, 0.0, f32::MIN, 5.0]]
            .map(|corners| Roi { image: 0, corners });
    let x = [1.0; 2 * 4 * 4];
    let map = [1, 2, 4, 4];
    for samples in [None, Some(2)] {
        for aligned in [false, true] {
            let align = RoiAlign { bins: [2, 2], scale: 0.5, samples, aligned };
            let (mut y, mut dx) = ([f32::NAN; 4 * 2 * 4], [f32::NAN; 32]);
            roi_align(&align, map, &x, &rois, &mut y);
            roi_align_backward(&align, map, &y, &rois, &mut dx);
            assert!(y.iter().chain(&dx).all(|v| v.is_finite()));
        }
    }
    let pool = RoiPool { bins: [2, 2], scale: 0.5 };
    let (mut y, mut winners, mut dx) = ([f32::NAN; 32], [0; 32], [f32::NAN; 32]);
    roi_pool(&pool, map, &x, &rois, &mut y, &mut winners);
    roi_pool_backward(&pool, map, &y, &rois, &winners, &mut dx);
    assert!(y.iter().chain(&dx).all(|v| v.is_finite()));
}

#[test]
fn nothing_comes_of_nothing() {
    let align = RoiAlign { bins: [2, 2], scale: 0.5, samples: None, aligned: true };
    roi_align(&align, [1, 2, 4, 4], &[0.0; 32], &[], &mut []);
    let mut dx = [1.0; 32];
    roi_align_backward(&align, [1, 2, 4, 4], &[], &[], &mut dx);
    assert_eq!(dx, [0.0; 32]);
}
