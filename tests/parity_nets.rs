//! Every network against PyTorch in float64: `tests/golden/nets.json`, made by `tools/reference/nets.py`.
//!
//! Weights and inputs come from one formula on both sides, so that none need be committed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod reference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};
use opticus::nets::{Backbone, NetConfig, NetKind, import, state};
use opticus::tensors::TensorMap;
use opticus_pixels::geometry::Size;
use reference::{assert_close, filled, formula, names_digest, statistics, values};
use serde::Deserialize;

/// Largest difference over largest reference.
const LOGITS: f64 = 1e-4;
const FEATURES: f64 = 1e-4;
const GRADIENTS: f64 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    evaluated: Vec<Evaluated>,
    trained: Vec<Trained>,
    real: Vec<Real>,
}

#[derive(Deserialize)]
struct Evaluated {
    config: NetConfig,
    norm_gain: f32,
    parameters: usize,
    names: String,
    logits: Vec<f64>,
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    shape: Vec<usize>,
    statistics: Vec<f64>,
}

#[derive(Deserialize)]
struct Trained {
    config: NetConfig,
    norm_gain: f32,
    logits: Vec<f64>,
    loss: f64,
    gradients: BTreeMap<String, Vec<f64>>,
    buffers: BTreeMap<String, Vec<f64>>,
}

/// Published weights.
#[derive(Deserialize)]
struct Real {
    file: String,
    name: NetKind,
    input: Size,
    scale: f32,
    logits: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/nets.json")).unwrap()
}

fn weights(config: &NetConfig, norm_gain: f32) -> TensorMap {
    filled(state::to_map(&config.blank(&Device::flex()).unwrap()), norm_gain)
}

fn picture(count: usize, config: &NetConfig, device: &Device) -> Tensor<4> {
    let shape = [count, config.in_channels, config.input.height as usize, config.input.width as usize];
    let values: Vec<f32> = formula("input", shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[test]
fn every_network_has_torchs_names_logits_and_feature_maps() {
    for Evaluated { config, norm_gain, parameters, names, logits, features } in golden().evaluated {
        let name = config.name.name();
        let weights = weights(&config, norm_gain);
        assert_eq!(names_digest(&weights), names, "{name}: names and shapes {:?}", weights.keys());
        let net = config.load(&weights, &Device::flex()).unwrap();
        drop(weights);
        assert_eq!(state::parameter_count(&net), parameters, "{name}");
        let x = picture(2, &config, &Device::flex());
        assert_close(&values(net.forward(x.clone())), &logits, LOGITS, name);
        let maps = net.features(x);
        assert_eq!(maps.len(), features.len(), "{name}: feature maps");
        for (ours, reference) in maps.into_iter().zip(features) {
            assert_eq!(ours.map.dims().to_vec(), reference.shape, "{name}: feature map");
            let what = format!("{name}: feature map of stride {}", ours.stride);
            assert_close(&statistics(&values(ours.map)), &reference.statistics, FEATURES, &what);
        }
    }
}

#[test]
fn a_training_step_has_torchs_logits_loss_gradients_and_running_statistics() {
    for Trained { config, norm_gain, logits, loss, gradients, buffers } in golden().trained {
        let name = config.name.name();
        let device = Device::flex().autodiff();
        let net = config.load(&weights(&config, norm_gain), &device).unwrap();
        let outputs = net.forward(picture(4, &config, &device));
        assert_close(&values(outputs.clone()), &logits, LOGITS, name);
        let labels = Tensor::<2, Int>::from_data([[3], [7], [0], [1]], &device);
        let objective = log_softmax(outputs, 1).gather(1, labels).mean().neg();
        assert_close(&values(objective.clone()), &[loss], LOGITS, name);
        let computed = objective.backward();
        let found = reference::gradients(&net, &computed);
        for (parameter, reference) in gradients {
            let ours = found.get(&parameter).unwrap_or_else(|| panic!("{name}: no gradient of {parameter}"));
            assert_close(
                &statistics(ours),
                &reference,
                GRADIENTS,
                &format!("{name}: gradient of {parameter}"),
            );
        }
        let state = state::to_map(&net);
        for (buffer, reference) in buffers {
            let ours: Vec<f64> = state[&buffer].data.iter().map(|&v| f64::from(v)).collect();
            assert_close(&statistics(&ours), &reference, LOGITS, &format!("{name}: {buffer}"));
        }
    }
}

fn shared_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let named = std::env::var_os("OPTICUS_SHARED_DATA").map(PathBuf::from);
    [Some(beside), named].into_iter().flatten().find(|path| path.is_dir())
}

#[test]
fn published_weights_import_and_give_the_logits_of_other_engines() {
    let Some(data) = shared_data() else {
        println!("skipped: no shared data beside the project and OPTICUS_SHARED_DATA is not set");
        return;
    };
    let device = Device::flex();
    for Real { file, name, input, scale, logits } in golden().real {
        let bytes = std::fs::read(data.join(&file)).unwrap();
        let imported = import::adapt(import::read_weights(&bytes).unwrap(), name, input).unwrap();
        let net = imported.config.load(&imported.weights, &device).unwrap();
        let count = logits.len() / imported.config.classes;
        let outputs = net.forward(picture(count, &imported.config, &device).mul_scalar(scale));
        assert_close(&values(outputs), &logits, LOGITS, &file);
    }
}
