//! Detection against torchvision in float64: `tests/golden/detect.json`, made by `tools/reference/detect.py`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[expect(dead_code, reason = "only the formula is shared")]
mod reference;

use burn::tensor::{Device, Tensor, TensorData};
use opticus::detect::anchors::{AnchorGrid, DefaultBoxes};
use opticus::detect::coder::BoxCoder;
use opticus::detect::loss::multibox::multibox;
use opticus::detect::loss::regions::{self, AnchorSample, RegionSample};
use opticus::detect::matcher::{Match, Matcher};
use opticus::detect::net::{DetectorConfig, DetectorKind, DetectorNet, Stages};
use opticus::detect::one_stage::GridDetector;
use opticus::detect::transform::Transform;
use opticus::detect::two_stage::RegionDetector;
use opticus::nets::state;
use opticus_pixels::Size;
use opticus_pixels::geometry::Box2d;
use opticus_pixels::preprocess::Planes;
use opticus_pixels::suppress::Candidate;
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

/// A detector of ours with formula weights, the last layers' times these factors, on the formula's picture.
fn detected(
    config: &DetectorConfig,
    transform: &Transform,
    case: &Value,
    gain: f32,
    calm: &[(&str, f32)],
) -> Vec<Candidate> {
    let device = Device::flex();
    let blank = config.init(0, &device).unwrap();
    let mut weights = filled(state::to_map(&blank), gain);
    for (name, factor) in calm {
        let calmed: Vec<_> = weights.iter_mut().filter(|(n, _)| n.contains(name)).collect();
        assert!(!calmed.is_empty(), "{name}");
        calmed.into_iter().flat_map(|(_, tensor)| &mut tensor.data).for_each(|weight| *weight *= factor);
    }
    let net = config.load(&weights, &device).unwrap();
    assert_eq!(state::parameter_count(&net), case["parameters"].as_u64().unwrap() as usize);
    let size = size(&case["size"]);
    let data = formula("picture", 3 * size.area() as usize).map(|u| u / 2.0 + 0.5).collect();
    let picture = Planes { channels: 3, size, data };
    match (net, &config.stages) {
        (DetectorNet::Regions(net), Stages::Two(two)) => {
            RegionDetector::new(&net, two.clone(), transform.clone()).unwrap().detect(&picture, &[]).unwrap()
        }
        (DetectorNet::Grid(net), Stages::One(one)) => {
            GridDetector::new(&net, one.clone(), transform.clone()).unwrap().detect(&picture).unwrap()
        }
        _ => panic!("network and configuration differ"),
    }
}

fn equal(found: &[Candidate], case: &Value) {
    let labels: Vec<f64> = found.iter().map(|c| c.class as f64 + 1.0).collect();
    assert_eq!(labels, floats(&case["labels"]));
    let ours: Vec<Box2d> = found.iter().map(|c| c.bounds).collect();
    same(&ours, &boxes(&case["boxes"]), BOX);
    for (ours, reference) in found.iter().zip(floats(&case["scores"])) {
        assert!((ours.score - reference).abs() < SCORE, "{} is not {reference}", ours.score);
    }
}

fn faster_rcnn(name: &str, kind: DetectorKind, gain: f32) {
    let golden = golden();
    let case = &golden[name];
    let mut config = kind.config(case["classes"].as_u64().unwrap() as usize, None).unwrap();
    if let Stages::Two(two) = &mut config.stages {
        two.detections = 30;
    }
    let side = |name: &str| case[name].as_u64().unwrap() as u32;
    let transform = Transform { shorter: side("shorter"), longer: side("longer"), ..kind.transform() };
    let calm = [
        ("roi_heads.box_predictor.cls_score.weight", CALM_SCORES),
        ("roi_heads.box_predictor.bbox_pred.weight", CALM_BOXES),
    ];
    equal(&detected(&config, &transform, case, gain, &calm), case);
}

fn one_stage(name: &str, kind: DetectorKind, gain: f32, last: &str) {
    let golden = golden();
    let case = &golden[name];
    let mut config = kind.config(case["classes"].as_u64().unwrap() as usize, None).unwrap();
    if let Stages::One(one) = &mut config.stages {
        one.detections = 40;
    }
    let calm: Vec<(String, f32)> = ["classification", "regression"]
        .into_iter()
        .zip(floats(&case["calm"]))
        .flat_map(|(head, factor)| {
            (0..6).map(move |i| (format!("head.{head}_head.module_list.{i}.{last}weight"), factor as f32))
        })
        .collect();
    let calm: Vec<(&str, f32)> = calm.iter().map(|(name, factor)| (name.as_str(), *factor)).collect();
    equal(&detected(&config, &kind.transform(), case, gain, &calm), case);
}

#[test]
fn faster_rcnn_finds_what_torchvisions_finds() {
    faster_rcnn("resnet50_fpn", DetectorKind::FasterRcnnResnet50Fpn, 0.75);
}

#[test]
fn faster_rcnn_with_mobilenet_finds_what_torchvisions_finds() {
    faster_rcnn("mobilenet_v3_fpn", DetectorKind::FasterRcnnMobilenetV3Fpn, 0.9375);
}

#[test]
fn ssd300_finds_what_torchvisions_finds() {
    one_stage("ssd300", DetectorKind::Ssd300Vgg16, 0.75, "");
}

#[test]
fn ssdlite320_finds_what_torchvisions_finds() {
    one_stage("ssdlite320", DetectorKind::Ssdlite320MobilenetV3, 0.9375, "1.");
}

#[test]
fn the_multibox_loss_and_its_gradients_are_torchvisions() {
    let golden = golden();
    let case = &golden["multibox"];
    let default = made_boxes("multibox.default", 40, 60.0);
    let labels = case["labels"].as_array().unwrap().iter().map(whole);
    let truth: Vec<Vec<(usize, Box2d)>> = labels
        .enumerate()
        .map(|(i, labels)| {
            let bounds = made_boxes(&format!("multibox.truth.{i}"), labels.len(), 60.0);
            labels.into_iter().map(|label| label - 1).zip(bounds).collect()
        })
        .collect();
    let [losses, logits, corrections] =
        gradients(["multibox.logits", "multibox.corrections"], ([2, 40, 4], 2.0), [2, 40, 4], |a, b| {
            multibox(a, b, &default, &truth)
        });
    near(&losses, &[case["class"].as_f64().unwrap(), case["box"].as_f64().unwrap()], "loss");
    near(&logits, &floats(&case["logits"]), "gradient of logits");
    near(&corrections, &floats(&case["corrections"]), "gradient of corrections");
}
