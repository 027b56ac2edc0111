//! What the reference scripts and the tests agree on: weights and inputs from one formula, and how results are
//! compared.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use opticus::tensors::{HostTensor, TensorMap};
use sha2::{Digest, Sha256};

/// `count` multiples of 2⁻²³ in [−1, 1): splitmix64 of (FNV-1a of the name) + index.
pub fn formula(name: &str, count: usize) -> impl Iterator<Item = f32> {
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

/// The same names and shapes with the formula's values.
pub fn filled(blank: TensorMap, norm_gain: f32) -> TensorMap {
    blank
        .into_iter()
        .map(|(name, tensor)| {
            let data = parameter(&name, &tensor.shape, norm_gain);
            (name, HostTensor { data, shape: tensor.shape })
        })
        .collect()
}

/// The values, row-major.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Mean, standard deviation, and three values by position.
pub fn statistics(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    vec![mean, deviation, values[0], values[values.len() / 3], values[values.len() - 1]]
}

/// Holds the largest difference against the largest reference.
pub fn assert_close(ours: &[f64], reference: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let largest = reference.iter().fold(0.0f64, |a, v| a.max(v.abs()));
    let worst = ours.iter().zip(reference).fold(0.0f64, |a, (x, y)| a.max((x - y).abs()));
    assert!(worst <= tolerance * largest, "{what}: {worst:e} of {largest:e}\n{ours:?}\n{reference:?}");
}

/// SHA-256 of all names and shapes.
pub fn names_digest(map: &TensorMap) -> String {
    let mut hash = Sha256::new();
    for (name, tensor) in map {
        hash.update(format!("{name} {:?}\n", tensor.shape));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every gradient there is, by the parameter's name.
pub fn gradients<M: Module>(module: &M, computed: &Gradients) -> BTreeMap<String, Vec<f64>> {
    let mut reader = GradientReader { path: Vec::new(), gradients: computed, found: BTreeMap::new() };
    module.visit(&mut reader);
    reader.found
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
