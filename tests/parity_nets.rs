//! Every network against PyTorch in float64: `tests/golden/nets.json`, made by `tools/reference/nets.py`.
//!
//! Weights and inputs come from one formula on both sides, so that none need be committed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData, activation::log_softmax};
use opticus::nets::{Backbone, NetConfig, NetKind, import, state};
use opticus::tensors::{HostTensor, TensorMap};
use opticus_pixels::geometry::Size;
use serde::Deserialize;
use sha2::{Digest, Sha256};

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

/// `count` multiples of 2⁻²³ in [−1, 1): splitmix64 of (FNV-1a of the name) + index.
fn formula(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed =
        name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    (1..=count as u64).map(move |index| {
        let z = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
    })
}

fn parameter(name: &str, shape: &[usize], norm_gain: f32) -> Vec<f32> {
    let u = formula(name, shape.iter().product());
    match name.rsplit('.').next().unwrap() {
        _ if shape.len() > 1 => {
            let fan_in: usize = shape[1..].iter().product();
            let bound = (6.0 / fan_in as f64).sqrt() as f32;
            u.map(|u| u * bound).collect()
        }
        "running_var" => u.map(|u| 1.0 + 0.5 * u).collect(),
        "weight" => u.map(|u| norm_gain + 0.25 * u).collect(),
        _ => u.map(|u| 0.125 * u).collect(),
    }
}

fn weights(config: &NetConfig, norm_gain: f32) -> TensorMap {
    let blank = state::to_map(&config.blank(&Device::flex()).unwrap());
    blank
        .into_iter()
        .map(|(name, tensor)| {
            let data = parameter(&name, &tensor.shape, norm_gain);
            (name, HostTensor { data, shape: tensor.shape })
        })
        .collect()
}

fn picture(count: usize, config: &NetConfig, device: &Device) -> Tensor<4> {
    let shape = [count, config.in_channels, config.input.height as usize, config.input.width as usize];
    let values: Vec<f32> = formula("input", shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Mean, standard deviation, and three values by position.
fn statistics(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    vec![mean, deviation, values[0], values[values.len() / 3], values[values.len() - 1]]
}

fn assert_close(ours: &[f64], reference: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let largest = reference.iter().fold(0.0f64, |a, v| a.max(v.abs()));
    let worst = ours.iter().zip(reference).fold(0.0f64, |a, (x, y)| a.max((x - y).abs()));
    assert!(worst <= tolerance * largest, "{what}: {worst:e} of {largest:e}\n{ours:?}\n{reference:?}");
}

fn names_digest(map: &TensorMap) -> String {
    let mut hash = Sha256::new();
    for (name, tensor) in map {
        hash.update(format!("{name} {:?}\n", tensor.shape));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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

struct GradientReader<'a> {
    path: Vec<String>,
    gradients: &'a Gradients,
    found: BTreeMap<String, Vec<f64>>,
}

impl ModuleVisitor for GradientReader<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            self.found.insert(self.path.join("."), values(gradient));
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
        let mut reader = GradientReader { path: Vec::new(), gradients: &computed, found: BTreeMap::new() };
        net.visit(&mut reader);
        for (parameter, reference) in gradients {
            let ours =
                reader.found.get(&parameter).unwrap_or_else(|| panic!("{name}: no gradient of {parameter}"));
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
