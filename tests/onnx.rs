//! Exported networks, run by another engine: the same numbers come out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use burn::tensor::{Device, Tensor, TensorData};
use opticus::nets::{Backbone, NetConfig, NetKind, Stem, onnx};
use opticus_pixels::geometry::Size;
use rten::{Model, NodeId, Value};

/// Numbers in -1..1, the same for the same seed.
fn noise(count: usize, mut state: u32) -> Vec<f32> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Runs the file on pictures `[n, c, h, w]`: the named outputs.
fn run(model: &Model, outputs: &[&str], shape: [usize; 4], pictures: &[f32]) -> Vec<Vec<f32>> {
    let input = model.node_id("input").unwrap();
    let ids: Vec<NodeId> = outputs.iter().map(|name| model.node_id(name).unwrap()).collect();
    let tensor = Value::from_shape(&shape[..], pictures.to_vec()).unwrap();
    let found = model.run(vec![(input, tensor.into())], &ids, None).unwrap();
    found
        .into_iter()
        .map(|value| {
            let ([batch, _], values) = value.into_shape_vec::<f32, 2>().unwrap();
            assert_eq!(batch, shape[0]);
            values
        })
        .collect()
}

/// The greatest difference, relative to the greatest magnitude.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(scale > 1e-3 && scale.is_finite(), "the reference says nothing: {scale}");
    a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / scale
}

fn config(kind: NetKind, side: u32) -> NetConfig {
    NetConfig::new(kind, 7, 3, Size { width: side, height: side })
}

/// Running statistics away from 0 and 1, so that a mistake in them shows.
fn unsettled(config: &NetConfig, seed: u64) -> opticus::nets::Net {
    let device = Device::flex();
    let mut weights = opticus::nets::state::to_map(&config.init(seed, &device).unwrap());
    for (index, (name, tensor)) in weights.iter_mut().enumerate() {
        let (middle, spread) = match name.rsplit('.').next() {
            Some("running_mean" | "bias") => (0.0, 0.1),
            Some("running_var") => (1.0, 0.5),
            _ => continue,
        };
        let noise = noise(tensor.data.len(), index as u32 + 1);
        tensor.data.iter_mut().zip(noise).for_each(|(v, r)| *v = middle + spread * r);
    }
    config.load(&weights, &device).unwrap()
}

/// Exports, runs elsewhere and compares: two sets of pictures, batches of 1 and 3.
fn conforms(config: &NetConfig) {
    let what = format!("{config:?}");
    let net = unsettled(config, 5);
    let model = Model::load(onnx::export(&net, config, &[])).unwrap();
    let [h, w] = [config.input.height, config.input.width].map(|side| side as usize);
    for (batch, seed) in [(1, 11), (3, 12)] {
        let shape = [batch, config.in_channels, h, w];
        let pictures = noise(shape.iter().product(), seed);
        let x = Tensor::<4>::from_data(TensorData::new(pictures.clone(), shape), &Device::flex());
        let ours: Vec<f32> = net.forward(x).into_data().iter().collect();
        let theirs = run(&model, &["logits", "probabilities"], shape, &pictures);
        let apart = difference(&ours, &theirs[0]);
        assert!(apart < 1e-4, "{what}, batch {batch}: logits differ by {apart}");
        for (row, logits) in theirs[1].chunks(config.classes).zip(ours.chunks(config.classes)) {
            let sum: f32 = row.iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{what}: probabilities sum to {sum}");
            let most = |values: &[f32]| (0..values.len()).max_by(|&i, &j| values[i].total_cmp(&values[j]));
            assert_eq!(most(row), most(logits), "{what}: the likeliest class differs");
        }
    }
}

#[test]
fn every_network_computes_the_same_elsewhere() {
    for &kind in NetKind::ALL {
        conforms(&config(kind, if kind == NetKind::InceptionV3 { 75 } else { 64 }));
    }
}

#[test]
fn grey_oblong_and_small_stem_networks_too() {
    let size = Size { width: 40, height: 30 };
    conforms(&NetConfig::new(NetKind::SimpleCnn, 10, 1, size));
    conforms(&NetConfig { stem: Stem::Small, ..NetConfig::new(NetKind::Resnet18, 3, 1, size) });
}

#[test]
fn the_file_carries_its_metadata_and_the_names_of_the_weights() {
    let config = config(NetKind::Resnet18, 32);
    let net = config.init(0, &Device::flex()).unwrap();
    let words = [("classes".to_owned(), "[\"cat\",\"dog\"]".to_owned())];
    let bytes = onnx::export(&net, &config, &words);
    let contains = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(contains("classes") && contains("[\"cat\",\"dog\"]"));
    for name in opticus::nets::state::to_map(&net).keys() {
        assert!(contains(name), "{name} is not in the file");
    }
    assert_eq!(bytes, onnx::export(&net, &config, &words), "the same network gives the same bytes");
}
