#![allow(clippy::unwrap_used, clippy::expect_used)]

use opticus_pixels::Size;
use opticus_pixels::preprocess::{ChannelOrder, Fit};
use opticus_pixels::resize::Filter;

use super::heat::{grad_cam, grad_cam_plus_plus};
use super::*;
use crate::nets::{NetConfig, NetKind, state};
use crate::tensors::TensorMap;

const SIDE: u32 = 40;

fn device() -> Device {
    Device::flex()
}

/// A `simple-cnn` that says class 1 where there is something bright, and class 0 where there is not: its first
/// channel carries local brightness through all three convolutions, everything else is 0.
fn brightness_net() -> Net {
    let config = NetConfig::new(NetKind::SimpleCnn, 2, 1, Size::new(SIDE, SIDE));
    let net = config.init(1, &device()).unwrap();
    let mut map: TensorMap = state::to_map(&net);
    for (name, tensor) in &mut map {
        tensor.data.fill(0.0);
        match name.as_str() {
            // Output 0 is the mean of the nine neighbours of input 0.
            "conv1.weight" | "conv2.weight" | "conv3.weight" => tensor.data[..9].fill(1.0 / 9.0),
            // Unit 0 sums channel 0 over all places.
            "dense1.weight" => {
                let [_, inputs] = tensor.shape[..] else { panic!("dense1 is a matrix") };
                tensor.data[..inputs / 128].fill(1.0);
            }
            // Class 1 has unit 0 behind it.
            "dense2.weight" => tensor.data[128] = 4.0,
            "dense2.bias" => tensor.data[0] = 3.0,
            _ => {}
        }
    }
    config.load(&map, &device()).unwrap()
}

/// Grey noise, low, with a bright square of `side` pixels.
fn planted(left: u32, top: u32, side: u32) -> Planes {
    let data = (0..SIDE * SIDE)
        .map(|i| {
            let (x, y) = (i % SIDE, i / SIDE);
            let bright = (left..left + side).contains(&x) && (top..top + side).contains(&y);
            if bright { 1.0 } else { (i * 7919 % 97) as f32 / 4000.0 }
        })
        .collect();
    Planes { channels: 1, size: Size::new(SIDE, SIDE), data }
}

#[test]
fn the_peak_lies_on_the_patch_that_decides_and_deleting_there_beats_chance() {
    let explainer = Explainer::new(&brightness_net(), &device());
    for (left, top) in [(4, 4), (8, 25), (15, 14)] {
        let picture = planted(left, top, 10);
        let p = explainer.probabilities(&picture).unwrap();
        assert!(p[1] > 0.95, "the planted patch must decide: {p:?}");
        for method in Method::ALL {
            let heat = explainer.explain(&picture, 1, method).unwrap();
            let (x, y) = heat.peak().unwrap();
            assert!(
                (left..left + 10).contains(&x) && (top..top + 10).contains(&y),
                "{method}: peak at {x},{y}, patch at {left},{top}"
            );
            // The patch holds a sixteenth of the area.
            let density = heat.share_inside(left, top, left + 10, top + 10) * 16.0;
            assert!(density > 2.0, "{method}: the patch is only {density} times as hot as the picture");
            let score = explainer.faithfulness(&picture, &heat, 1, 3).unwrap();
            assert!(score.deletion_gain() > 0.1, "{method}: {score:?}");
        }
    }
}

#[test]
fn what_speaks_against_a_class_has_no_heat_for_it() {
    let explainer = Explainer::new(&brightness_net(), &device());
    let picture = planted(10, 10, 10);
    for method in [Method::GradCam, Method::GradCamPlusPlus] {
        // Class 0 lives on its bias alone: no place of the map speaks for it.
        let heat = explainer.explain(&picture, 0, method).unwrap();
        assert_eq!(heat.peak(), None, "{method}");
        assert!(heat.values.iter().all(|&v| v == 0.0));
    }
}

#[test]
fn occlusion_is_the_fall_in_probability_where_the_patch_is_covered() {
    let explainer = Explainer::new(&brightness_net(), &device());
    let picture = planted(20, 10, 8);
    let heat = explainer.occlude(&picture, 1, Occlusion { patch: 8, step: 1 }).unwrap();
    let (x, y) = heat.peak().unwrap();
    assert!((22..26).contains(&x) && (12..16).contains(&y), "{x},{y}");
    assert_eq!(heat.values.len(), (SIDE * SIDE) as usize);
    for bad in
        [Occlusion { patch: 0, step: 1 }, Occlusion { patch: 4, step: 0 }, Occlusion { patch: 41, step: 1 }]
    {
        assert!(matches!(explainer.occlude(&picture, 1, bad), Err(Error::Config(_))), "{bad:?}");
    }
}

#[test]
fn a_picture_is_explained_through_the_one_preprocessing_path() {
    let preprocessing = Preprocessing {
        size: Size::new(SIDE, SIDE),
        fit: Fit::CenterCrop { resize_shorter: SIDE },
        filter: Filter::Bilinear,
        mean: vec![0.0],
        std: vec![1.0],
        channels: ChannelOrder::Grey,
        scale: 1.0 / 255.0,
    };
    // Twice as wide as high: the centre crop begins at column 20 and sees the patch at 10..20.
    let (width, height) = (2 * SIDE, SIDE);
    let bright = |i: u32| (30..40).contains(&(i % width)) && (20..30).contains(&(i / width));
    let data = (0..width * height).map(|i| if bright(i) { 255 } else { 4 }).collect();
    let image = Image8 { size: Size::new(width, height), channels: 1, data };
    let explainer = Explainer::new(&brightness_net(), &device());
    let explanation = explainer.explain_picture(&preprocessing, &image, None, Method::GradCam).unwrap();
    assert_eq!((explanation.class, explanation.seen.size), (1, Size::new(SIDE, SIDE)));
    let planes = preprocessing.apply(&image);
    assert_eq!(explanation.probability, explainer.probabilities(&planes).unwrap()[1]);
    let (x, y) = explanation.heat.peak().unwrap();
    assert!((10..20).contains(&x) && (20..30).contains(&y), "{x},{y}");
    // Asked for another class, it answers for that one.
    let other = explainer.explain_picture(&preprocessing, &image, Some(0), Method::Occlusion).unwrap();
    assert!(other.class == 0 && other.probability < 0.05);

    let overlay = explanation.overlay(100);
    assert_eq!((overlay.size, overlay.channels), (Size::new(3 * SIDE, 3 * SIDE), 3));
    let at = |x: u32, y: u32| &overlay.data[((y * overlay.size.width + x) * 3) as usize..][..3];
    let (hot, cold) = (at(3 * x + 1, 3 * y + 1), at(118, 2));
    assert!(hot[0] > hot[2], "the peak is red: {hot:?}");
    assert!(cold.iter().all(|&v| v < 60), "where nothing speaks for it, the picture shows: {cold:?}");
    assert_eq!(explanation.overlay(10).size, Size::new(SIDE, SIDE));
}

#[test]
fn a_class_that_is_none_is_refused() {
    let explainer = Explainer::new(&brightness_net(), &device());
    for method in Method::ALL {
        assert!(matches!(explainer.explain(&planted(1, 1, 5), 2, method), Err(Error::Input(_))), "{method}");
    }
}

/// For every architecture: the gradient flows through its head in inference mode, and looking changes nothing.
#[test]
fn every_small_network_can_be_explained_and_stays_as_it_was() {
    use NetKind::{Resnet34, Resnet50, Resnet101, Vgg16, Vgg16Bn};
    let large = [Resnet34, Resnet50, Resnet101, Vgg16, Vgg16Bn];
    explain_each(&NetKind::ALL.iter().copied().filter(|kind| !large.contains(kind)).collect::<Vec<_>>());
}

#[test]
#[ignore = "VGG-16 has 138 million parameters: some 30 s and 2 GB"]
fn every_network_can_be_explained_and_stays_as_it_was() {
    explain_each(NetKind::ALL);
}

fn explain_each(kinds: &[NetKind]) {
    for &kind in kinds {
        let side = if kind == NetKind::InceptionV3 { 75 } else { 64 };
        let size = Size::new(side, side);
        let config = NetConfig::new(kind, 3, 3, size);
        // As it comes out of training: on a device with gradients.
        let net = Module::train(config.init(5, &device()).unwrap());
        let before = state::to_map(&net);
        let data = (0..3 * side * side).map(|i| ((i * 7919) % 251) as f32 / 125.0 - 1.0).collect();
        let planes = Planes { channels: 3, size, data };
        let explainer = Explainer::new(&net, &device());
        let first = explainer.probabilities(&planes).unwrap();
        let heat = explainer.explain(&planes, 1, Method::GradCam).unwrap();
        assert_eq!(heat, explainer.explain(&planes, 1, Method::GradCam).unwrap(), "{kind}: dropout is on");
        assert!(heat.values.iter().all(|v| (0.0..=1.0).contains(v)), "{kind}");
        assert_eq!(first, explainer.probabilities(&planes).unwrap(), "{kind}");
        assert_eq!(before, state::to_map(&net), "{kind}: explaining moved the running statistics");
    }
}

#[test]
fn formulas_equal_a_calculation_by_hand() {
    // Two maps of two cells; gradients (0.5, 0.25) and (−1, 0).
    let (maps, gradients) = ([1.0, 3.0, 2.0, 0.0], [0.5, 0.25, -1.0, 0.0]);
    // Weights 0.375 and −0.5.
    assert_eq!(grad_cam(&maps, &gradients, 2), [0.375 - 1.0, 1.125]);
    // α = g² / (2g² + 4g³) = 1 / (2 + 4g): 0.25 and 1/3 for the first map; the second has no positive gradient.
    let weight = 0.5 / 4.0 + 0.25 / 3.0;
    let ours = grad_cam_plus_plus(&maps, &gradients, 2);
    assert!((ours[0] - weight).abs() < 1e-6 && (ours[1] - 3.0 * weight).abs() < 1e-6, "{ours:?}");
}

#[test]
fn a_grid_lies_in_the_middle_with_its_cells_one_stride_apart() {
    // Cells at 3.5 ± 2: pixels 1.5 and 5.5 of 0..=7.
    let grid = Grid { columns: 2, rows: 1, stride: 4 };
    let row = grid.spread(&[0.0, 1.0], Size::new(8, 1));
    assert_eq!(row, [0.0, 0.0, 0.125, 0.375, 0.625, 0.875, 1.0, 1.0]);
    // A grid of one cell is the same everywhere.
    assert_eq!(Grid { columns: 1, rows: 1, stride: 32 }.spread(&[0.5], Size::new(2, 2)), [0.5; 4]);
}

#[test]
fn methods_have_the_names_that_users_type() {
    for method in Method::ALL {
        assert_eq!(method.name().parse::<Method>().unwrap(), method);
        assert_eq!(serde_json::to_value(method).unwrap(), method.name());
    }
    assert!(matches!("saliency".parse::<Method>(), Err(Error::Config(_))));
}
