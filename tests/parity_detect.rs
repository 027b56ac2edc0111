//! Detection against torchvision in float64: `tests/golden/detect.json`, made by `tools/reference/detect.py`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[expect(dead_code, reason = "only the formula is shared")]
mod reference;

use burn::tensor::{Device, Tensor, TensorData};
use opticus::detect::anchors::{AnchorGrid, DefaultBoxes};
use opticus::detect::coder::BoxCoder;
use opticus::detect::loss::regions::{self, AnchorSample, RegionSample};
use opticus::detect::matcher::{Match, Matcher};
use opticus::detect::transform::Transform;
use opticus::detect::two_stage::{RegionDetector, TwoStage};
use opticus::nets::NetKind;
use opticus::nets::detector::{Family, RegionNetConfig};
use opticus::nets::state;
use opticus_pixels::Size;
use opticus_pixels::geometry::Box2d;
use opticus_pixels::preprocess::Planes;
use reference::{filled, formula};
use serde_json::Value;

/// Of the last layers' weights: as the formula gives them, PyTorch's float32 is no nearer to its float64 than 1.5e-4 in
/// the scores and 0.05 px in the boxes.
const CALM_SCORES: f32 = 0.04;
const CALM_BOXES: f32 = 0.1;
/// Pixels; and probability.
const BOX: f64 = 0.05;
const SCORE: f64 = 1e-4;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/detect.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn lists(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(floats).collect()
}

/// Height, width.
fn size(value: &Value) -> Size {
    let [h, w] = floats(value)[..] else { panic!("a size has two sides") };
    Size::new(w as u32, h as u32)
}

fn sizes(value: &Value) -> Vec<Size> {
    value.as_array().unwrap().iter().map(size).collect()
}

fn boxes(value: &Value) -> Vec<Box2d> {
    floats(value).as_chunks::<4>().0.iter().map(|&[x1, y1, x2, y2]| Box2d::new(x1, y1, x2, y2)).collect()
}

fn same(ours: &[Box2d], reference: &[Box2d], tolerance: f64) {
    assert_eq!(ours.len(), reference.len());
    for (i, (ours, reference)) in ours.iter().zip(reference).enumerate() {
        for (a, b) in ours.to_corners().iter().zip(reference.to_corners()) {
            assert!((a - b).abs() <= tolerance, "box {i} is {ours:?}, not {reference:?}");
        }
    }
}

#[test]
fn anchors_and_default_boxes_are_torchvisions() {
    let golden = golden();
    let case = &golden["anchors"];
    let grid = AnchorGrid { sizes: lists(&case["sizes"]), ratios: floats(&case["ratios"]) };
    let made = grid.anchors(size(&case["input"]), &sizes(&case["maps"]));
    same(&made, &boxes(&case["anchors"]), 0.0);
    for case in golden["defaults"].as_array().unwrap() {
        let ratios = vec![vec![2.0], vec![2.0, 3.0], vec![]];
        let number = |name: &str, default| case[name].as_f64().unwrap_or(default);
        let mut defaults = DefaultBoxes::evenly(ratios, number("min_ratio", 0.15), number("max_ratio", 0.9));
        defaults.steps = case["steps"].as_array().map(|_| floats(&case["steps"]));
        let made = defaults.boxes(size(&case["input"]), &sizes(&case["maps"]));
        same(&made, &boxes(&case["boxes"]), 1e-4);
    }
}

/// As `boxes` of the script.
fn made_boxes(name: &str, count: usize, side: f64) -> Vec<Box2d> {
    let u: Vec<f64> = formula(name, 4 * count).map(f64::from).collect();
    u.as_chunks::<4>()
        .0
        .iter()
        .map(|u| {
            let corner = [u[0], u[1]].map(|u| (u + 1.0) / 2.0 * side * 0.7);
            let extent = [u[2], u[3]].map(|u| 2.0 + (u + 1.0) / 2.0 * side * 0.5);
            Box2d::from_xywh([corner[0], corner[1], extent[0], extent[1]])
        })
        .collect()
}

#[test]
fn codes_of_boxes_are_torchvisions() {
    let golden = golden();
    let (target, reference) = (made_boxes("target", 6, 100.0), made_boxes("reference", 6, 100.0));
    let encoded: Vec<f64> = (target.iter().zip(&reference))
        .flat_map(|(t, r)| BoxCoder::HEAD.encode(*t, *r).map(f64::from))
        .collect();
    for (a, b) in encoded.iter().zip(floats(&golden["codes"]["encoded"])) {
        assert!((a - b).abs() < 1e-5, "{a} is not {b}");
    }
    let codes: Vec<f32> = formula("code", 24).map(|u| u * 40.0).collect();
    let decoded: Vec<Box2d> = (codes.as_chunks::<4>().0.iter().zip(&reference))
        .map(|(code, r)| BoxCoder::HEAD.decode(*code, *r))
        .collect();
    same(&decoded, &boxes(&golden["codes"]["decoded"]), 1e-3);
    let back = BoxCoder::HEAD.decode(BoxCoder::HEAD.encode(target[0], reference[0]), reference[0]);
    same(&[back], &target[..1], 1e-4);
}

#[test]
fn matches_are_torchvisions() {
    let golden = golden();
    let (truth, candidates) = (made_boxes("truth", 5, 60.0), made_boxes("candidates", 200, 60.0));
    for (name, matcher) in
        [("proposals", Matcher::PROPOSALS), ("heads", Matcher::HEADS), ("ssd", Matcher::SSD)]
    {
        let ours: Vec<f64> = matcher
            .run(&truth, &candidates)
            .into_iter()
            .map(|m| match m {
                Match::Object(i) => i as f64,
                Match::Background => -1.0,
                Match::Neither => -2.0,
            })
            .collect();
        let reference = floats(&golden["matches"][name]);
        assert!(reference.iter().any(|&m| m >= 0.0), "{name}: nothing matches");
        assert_eq!(ours, reference, "{name}");
    }
}

/// Loss and gradients of both inputs, of `first + 2 · second`.
fn gradients<const A: usize, const B: usize>(
    [a, b]: [&str; 2],
    (shape, scale): ([usize; A], f32),
    other: [usize; B],
    loss: impl Fn(Tensor<A>, Tensor<B>) -> (Tensor<1>, Tensor<1>),
) -> [Vec<f32>; 3] {
    let device = Device::flex().autodiff();
    let values =
        |name: &str, count: usize, scale: f32| formula(name, count).map(|v| v * scale).collect::<Vec<_>>();
    let first = TensorData::new(values(a, shape.iter().product(), scale), shape);
    let first = Tensor::<A>::from_data(first, &device).require_grad();
    let second = TensorData::new(values(b, other.iter().product(), 1.0), other);
    let second = Tensor::<B>::from_data(second, &device).require_grad();
    let (x, y) = loss(first.clone(), second.clone());
    let losses = [x.clone(), y.clone()].map(|loss| loss.into_scalar::<f32>()).to_vec();
    let grads = (x + y * 2.0).backward();
    [losses, state::host(first.grad(&grads).unwrap()), state::host(second.grad(&grads).unwrap())]
}

fn near(ours: &[f32], reference: &[f64], what: &str) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    for (i, (ours, reference)) in ours.iter().zip(reference).enumerate() {
        assert!((f64::from(*ours) - reference).abs() < 2e-6, "{what} {i}: {ours} is not {reference}");
    }
}

fn whole(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

fn made_codes(name: &str, count: usize) -> Vec<[f32; 4]> {
    formula(name, 4 * count).map(|v| v * 0.5).collect::<Vec<f32>>().as_chunks::<4>().0.to_vec()
}

#[test]
fn losses_and_their_gradients_are_torchvisions() {
    let golden = golden();
    let case = &golden["losses"]["proposals"];
    let (objects, background) = (whole(&case["objects"]), whole(&case["background"]));
    let codes = made_codes("loss.wanted", objects.len());
    let sample = AnchorSample { objects, background, codes };
    let [losses, logits, corrections] =
        gradients(["loss.logits", "loss.corrections"], ([60], 4.0), [60, 4], |a, b| {
            regions::proposals(a, b, &sample)
        });
    near(&losses, &[case["object"].as_f64().unwrap(), case["box"].as_f64().unwrap()], "loss");
    near(&logits, &floats(&case["logits"]), "gradient of logits");
    near(&corrections, &floats(&case["corrections"]), "gradient of corrections");

    let case = &golden["losses"]["heads"];
    let labels = whole(&case["labels"]);
    let codes = made_codes("heads.wanted", labels.len());
    let codes = labels.iter().zip(codes).map(|(label, code)| (*label > 0).then_some(code)).collect();
    let sample = RegionSample { labels, codes };
    let [losses, logits, corrections] =
        gradients(["heads.logits", "heads.corrections"], ([9, 4], 3.0), [9, 16], |a, b| {
            regions::heads(a, b, &sample)
        });
    near(&losses, &[case["class"].as_f64().unwrap(), case["box"].as_f64().unwrap()], "loss");
    near(&logits, &floats(&case["logits"]), "gradient of logits");
    near(&corrections, &floats(&case["corrections"]), "gradient of corrections");
}

#[test]
fn a_picture_without_objects_is_all_background() {
    assert_eq!(Matcher::PROPOSALS.run(&[], &made_boxes("candidates", 3, 60.0)), [Match::Background; 3]);
}

#[test]
fn faster_rcnn_finds_what_torchvisions_finds() {
    let golden = golden();
    let case = &golden["resnet50_fpn"];
    let config = RegionNetConfig {
        family: Family::FasterRcnn,
        backbone: NetKind::Resnet50,
        maps: vec![0, 1, 2, 3],
        classes: case["classes"].as_u64().unwrap() as usize,
        anchors: 3,
        channels: 256,
        hidden: 1024,
    };
    let device = Device::flex();
    let mut weights = filled(state::to_map(&config.blank(&device).unwrap()), 0.75);
    for (name, calm) in [("cls_score", CALM_SCORES), ("bbox_pred", CALM_BOXES)] {
        let calmed = weights.get_mut(&format!("roi_heads.box_predictor.{name}.weight")).unwrap();
        calmed.data.iter_mut().for_each(|weight| *weight *= calm);
    }
    let net = config.load(&weights, &device).unwrap();
    assert_eq!(state::parameter_count(&net), case["parameters"].as_u64().unwrap() as usize);
    let anchors = AnchorGrid {
        sizes: [32.0, 64.0, 128.0, 256.0, 512.0].map(|size| vec![size]).to_vec(),
        ratios: vec![0.5, 1.0, 2.0],
    };
    let transform = Transform {
        shorter: case["shorter"].as_u64().unwrap() as u32,
        longer: case["longer"].as_u64().unwrap() as u32,
        ..Transform::default()
    };
    let config = TwoStage { detections: 30, ..TwoStage::new(config, anchors) };
    let detector = RegionDetector::new(&net, config, transform).unwrap();
    let size = size(&case["size"]);
    let data = formula("picture", 3 * size.area() as usize).map(|u| u / 2.0 + 0.5).collect();
    let found = detector.detect(&Planes { channels: 3, size, data }, &[]).unwrap();
    let labels: Vec<f64> = found.iter().map(|c| c.class as f64 + 1.0).collect();
    assert_eq!(labels, floats(&case["labels"]));
    let ours: Vec<Box2d> = found.iter().map(|c| c.bounds).collect();
    same(&ours, &boxes(&case["boxes"]), BOX);
    for (ours, reference) in found.iter().zip(floats(&case["scores"])) {
        assert!((ours.score - reference).abs() < SCORE, "{} is not {reference}", ours.score);
    }
}
