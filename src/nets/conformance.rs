//! What every network must do, run for every row of [`NetKind`] by itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Gradients, Tensor};
use opticus_pixels::geometry::Size;

use super::init::{Init, Scope};
use super::layers::{Dropout, freeze_norms};
use super::{Backbone, NetConfig, NetKind, Predictor, Stem, state};
use crate::Error;
use crate::tensors::{HostTensor, TensorMap};

const CLASSES: usize = 5;

/// Small pictures, not square so that a swap of the axes shows.
fn configs() -> Vec<NetConfig> {
    let with_size = |&kind: &NetKind| match kind {
        NetKind::Squeezenet1_0 | NetKind::Vgg16 | NetKind::Vgg16Bn => (kind, Size::new(40, 36)),
        NetKind::InceptionV3 => (kind, Size::new(83, 75)),
        _ => (kind, Size::new(36, 28)),
    };
    let mut configs: Vec<_> = NetKind::ALL
        .iter()
        .map(with_size)
        .map(|(kind, size)| NetConfig::new(kind, CLASSES, 3, size))
        .collect();
    configs.push(NetConfig {
        stem: Stem::Small,
        ..NetConfig::new(NetKind::Resnet18, CLASSES, 1, Size::new(20, 28))
    });
    configs.push(NetConfig::new(NetKind::SimpleCnn, CLASSES, 1, Size::new(28, 28)));
    configs.push(NetConfig {
        fid_pools: true,
        ..NetConfig::new(NetKind::InceptionV3, CLASSES, 3, Size::new(75, 83))
    });
    configs
}

fn picture(count: usize, config: &NetConfig, device: &Device) -> Tensor<4> {
    let Size { width, height } = config.input;
    let shape = [count, config.in_channels, height as usize, width as usize];
    Scope::seeded(5, device).param("picture", shape, Init::Normal(1.0)).val().detach()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |worst, (x, y)| worst.max((x - y).abs()))
}

fn largest(a: &[f32]) -> f32 {
    a.iter().fold(0.0, |worst, x| worst.max(x.abs()))
}

/// Large networks made of the same parts as smaller ones are only checked where it matters.
fn is_huge(config: &NetConfig) -> bool {
    matches!(config.name, NetKind::Vgg16 | NetKind::Vgg16Bn | NetKind::Resnet34 | NetKind::Resnet101)
}

#[test]
fn the_published_parameter_counts() {
    let published = [
        (NetKind::SimpleCnn, 10, 224, 11_170_250),
        (NetKind::Resnet18, 1000, 224, 11_689_512),
        (NetKind::Resnet34, 1000, 224, 21_797_672),
        (NetKind::Resnet50, 1000, 224, 25_557_032),
        (NetKind::Resnet101, 1000, 224, 44_549_160),
        (NetKind::Resnet20, 10, 32, 269_722),
        (NetKind::Resnet56, 10, 32, 853_018),
        (NetKind::Vgg16, 1000, 224, 138_357_544),
        (NetKind::Vgg16Bn, 1000, 224, 138_365_992),
        (NetKind::Squeezenet1_0, 1000, 224, 1_248_424),
        (NetKind::MobilenetV3Small, 1000, 224, 2_542_856),
        (NetKind::MobilenetV3Large, 1000, 224, 5_483_032),
        (NetKind::SmallCnn, 10, 28, 145_242),
        // Without the auxiliary classifier.
        (NetKind::InceptionV3, 1000, 299, 23_834_568),
    ];
    let covered: BTreeSet<_> = published.iter().map(|row| row.0).collect();
    assert!(NetKind::ALL.iter().all(|kind| covered.contains(kind)), "a network without a published count");
    for (kind, classes, side, expected) in published {
        let net = NetConfig::new(kind, classes, 3, Size::new(side, side)).blank(&Device::flex()).unwrap();
        assert_eq!(state::parameter_count(&net), expected, "{kind}");
    }
}

#[test]
fn logits_have_the_shape_and_come_from_the_trunk() {
    let device = Device::flex();
    for config in configs() {
        let net = config.init(1, &device).unwrap();
        let x = picture(2, &config, &device);
        let logits = net.forward(x.clone());
        assert_eq!(logits.dims(), [2, CLASSES], "{}", config.name);
        let logits = values(logits);
        assert!(logits.iter().all(|v| v.is_finite()), "{}", config.name);
        assert_eq!(logits, values(net.head(net.trunk(x))), "{}: forward is head after trunk", config.name);
    }
}

#[test]
fn feature_maps_get_coarser_by_their_strides_and_end_at_the_trunk() {
    let device = Device::flex();
    for config in configs().iter().filter(|config| !is_huge(config)) {
        let net = config.init(1, &device).unwrap();
        let x = picture(1, config, &device);
        let features = net.features(x.clone());
        assert!(features.len() >= 3, "{}", config.name);
        let Size { width, height } = config.input;
        for feature in &features {
            let [_, _, h, w] = feature.map.dims();
            for (input, output) in [(height as usize, h), (width as usize, w)] {
                // Convolutions without padding take up to four positions from the border.
                let ideal = input.div_ceil(feature.stride);
                assert!(
                    output <= ideal && output + 4 >= ideal,
                    "{}: {output} at /{}",
                    config.name,
                    feature.stride
                );
            }
        }
        assert!(features.windows(2).all(|pair| pair[1].stride == 2 * pair[0].stride), "{}", config.name);
        // Where the trunk adds a last convolution, features end with it too.
        assert_eq!(features.last().unwrap().map.dims(), net.trunk(x).dims(), "{}", config.name);
    }
}

#[test]
fn a_picture_does_not_depend_on_its_batch_outside_training() {
    let device = Device::flex();
    for config in configs().iter().filter(|config| !is_huge(config)) {
        let net = config.init(2, &device).unwrap();
        let batch = picture(3, config, &device);
        let together = values(net.forward(batch.clone()));
        let alone: Vec<f32> =
            (0..3).flat_map(|i| values(net.forward(batch.clone().narrow(0, i, 1)))).collect();
        let difference = largest_difference(&together, &alone);
        assert!(difference <= 1e-4 * largest(&together).max(1e-3), "{}: {difference}", config.name);
    }
}

#[test]
fn equal_seeds_give_equal_weights_and_others_do_not() {
    for config in configs().iter().filter(|config| !is_huge(config)) {
        let map = |seed| state::to_map(&config.init(seed, &Device::flex()).unwrap());
        let first = map(3);
        assert!(first == map(3), "{}", config.name);
        let other = map(4);
        let drawn = |name: &String| first[name].shape.len() > 1;
        for name in first.keys().filter(|name| drawn(name)) {
            assert_ne!(first[name], other[name], "{}: {name}", config.name);
        }
        // Names at construction are names in the state, or two parameters would share their draws.
        let mut seen: BTreeMap<Vec<u32>, &String> = BTreeMap::new();
        for name in first.keys().filter(|name| drawn(name)) {
            let head = first[name].data.iter().take(8).map(|v| v.to_bits()).collect();
            if let Some(twin) = seen.insert(head, name) {
                panic!("{}: {name} and {twin} were drawn alike", config.name);
            }
        }
    }
}

#[test]
fn state_goes_out_and_in_unchanged_on_both_kinds_of_device() {
    for config in configs().iter().filter(|config| !is_huge(config)) {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let mut map = state::to_map(&config.init(5, &device).unwrap());
            // Make running statistics as recognisable as the rest.
            for (shift, tensor) in map.values_mut().enumerate() {
                tensor.data.iter_mut().for_each(|v| *v += 1e-5 * shift as f32);
            }
            let loaded = config.load(&map, &device).unwrap();
            assert!(state::to_map(&loaded) == map, "{}", config.name);
            let x = picture(1, config, &Device::flex());
            let logits = values(loaded.valid().forward(x.clone()));
            assert_eq!(logits, values(loaded.clone().valid().forward(x)), "{}", config.name);
        }
    }
}

#[test]
fn a_strict_load_names_every_difference() {
    let config = NetConfig::new(NetKind::SimpleCnn, CLASSES, 1, Size::new(28, 28));
    let mut map = state::to_map(&config.init(5, &Device::flex()).unwrap());
    map.remove("conv1.bias");
    map.insert("conv9.bias".into(), HostTensor { shape: vec![1], data: vec![0.0] });
    map.insert("dense2.bias".into(), HostTensor { shape: vec![7], data: vec![0.0; 7] });
    let Err(Error::ModelFile(message)) = config.load(&map, &Device::flex()) else { panic!("loaded") };
    for part in ["3 differences", "`conv1.bias` is missing", "`conv9.bias` is not part", "[7], not [5]"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let partial = state::load_partial(config.blank(&Device::flex()).unwrap(), &map);
    assert_eq!((partial.taken.len(), partial.left.len()), (8, 3));
    let loaded = state::to_map(&partial.module);
    assert_eq!(loaded["dense1.weight"], map["dense1.weight"]);
    assert!(loaded["dense2.bias"].data.iter().all(|&v| v == 0.0));
}

struct Gradient<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: BTreeMap<String, f32>,
    missing: Vec<String>,
}

impl ModuleVisitor for Gradient<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        match param.val().grad(self.gradients) {
            Some(gradient) => {
                let norm = values(gradient).iter().map(|v| v * v).sum::<f32>();
                self.found.insert(name, norm);
            }
            None => self.missing.push(name),
        }
    }
}

#[test]
fn a_training_step_reaches_every_parameter_and_only_moves_running_statistics() {
    let device = Device::flex().autodiff();
    for config in configs().iter().filter(|config| !is_huge(config)) {
        let config = NetConfig { dropout: Some(0.0), ..config.clone() };
        let net = config.init(6, &device).unwrap();
        let before = state::to_map(&net);
        let copy = net.clone();
        let logits = net.forward(picture(2, &config, &device));
        let gradients = (logits.clone() * logits.random_like(Distribution::Default)).sum().backward();
        let mut reader =
            Gradient { gradients: &gradients, path: Vec::new(), found: BTreeMap::new(), missing: Vec::new() };
        net.visit(&mut reader);
        assert!(
            reader.missing.iter().all(|name| state::is_buffer(name)),
            "{}: {:?}",
            config.name,
            reader.missing
        );
        for (name, norm) in reader.found {
            assert!(norm.is_finite(), "{}: {name} {norm}", config.name);
            assert!(!state::is_buffer(&name), "{}: {name} has a gradient", config.name);
        }
        let after = state::to_map(&net);
        for (name, tensor) in &before {
            let moved = tensor != &after[name];
            assert_eq!(moved, state::is_buffer(name), "{}: {name} moved: {moved}", config.name);
        }
        assert!(state::to_map(&copy) == before, "{}: a copy shares running statistics", config.name);
    }
}

#[test]
fn validation_and_frozen_networks_leave_running_statistics_alone() {
    let device = Device::flex().autodiff();
    for config in configs().iter().filter(|config| !is_huge(config)) {
        let net = config.init(7, &device).unwrap();
        let before = state::to_map(&net);
        let x = picture(2, config, &Device::flex());
        let valid = values(net.valid().forward(x.clone()));
        let frozen = values(net.clone().freeze().forward(Tensor::from_inner(x.clone())));
        let difference = largest_difference(&valid, &frozen);
        assert!(difference <= 1e-5 * largest(&valid).max(1.0), "{}: {difference}", config.name);
        assert!(state::to_map(&net) == before, "{}", config.name);
        // And a validated network trains again as before.
        let again = net.valid().train();
        again.forward(Tensor::from_inner(x));
        let has_buffers = before.keys().any(|name| state::is_buffer(name));
        assert_eq!(state::to_map(&again) != before, has_buffers, "{}", config.name);
    }
}

#[test]
fn frozen_norms_keep_everything_and_nothing_else_does() {
    let device = Device::flex().autodiff();
    let config = configs().into_iter().find(|config| config.name == NetKind::Resnet20).unwrap();
    let net = freeze_norms(config.init(7, &device).unwrap());
    let before = state::to_map(&net);
    let x = picture(2, &config, &Device::flex());
    let gradients = net.forward(Tensor::from_inner(x)).sum().backward();
    let mut seen =
        Gradient { gradients: &gradients, path: Vec::new(), found: BTreeMap::new(), missing: Vec::new() };
    net.visit(&mut seen);
    let of_norm = |name: &&String| name.contains("bn") || name.contains("downsample.1");
    assert_eq!((seen.found.keys().filter(of_norm).count(), seen.found.len()), (0, 21));
    assert!(state::to_map(&net) == before);
}

#[test]
fn dropout_acts_in_training_only_and_follows_the_devices_seed() {
    let device = Device::flex().autodiff();
    let layer = Dropout::new(0.25);
    let ones = Tensor::<2>::ones([100, 100], &device);
    let draw = |seed| {
        device.seed(seed);
        values(layer.forward(ones.clone()))
    };
    let dropped = draw(1);
    assert!(dropped.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    let share = dropped.iter().filter(|&&v| v == 0.0).count() as f64 / 1e4;
    assert!((share - 0.25).abs() < 0.03, "{share}");
    assert_ne!(dropped, draw(2));
    // The generator belongs to the process: another test may draw between our seed and our draw.
    assert!((0..50).any(|_| draw(1) == dropped));
    assert_eq!(values(layer.valid().forward(ones.clone())), values(ones.clone()));
    assert_eq!(values(layer.clone().freeze().forward(ones.clone())), values(ones.clone()));
    assert_eq!(values(layer.forward(Tensor::<2>::ones([3, 3], &Device::flex()))), [1.0; 9]);
}

#[test]
fn pictures_too_small_are_refused_naming_the_layer_and_the_smallest_do_run() {
    let smallest = [
        (NetKind::SimpleCnn, 22, "conv3"),
        (NetKind::SmallCnn, 8, "blocks.4"),
        (NetKind::Squeezenet1_0, 21, "features.11"),
        (NetKind::InceptionV3, 75, "Mixed_7a"),
    ];
    let device = Device::flex();
    for (kind, side, layer) in smallest {
        let refused = NetConfig::new(kind, CLASSES, 3, Size::new(side - 1, side)).validate();
        let Err(Error::Config(message)) = refused else { panic!("{kind} accepts {}", side - 1) };
        assert!(message.contains(layer), "{message}");
        let config = NetConfig::new(kind, CLASSES, 3, Size::new(side, side));
        let logits = config.init(1, &device).unwrap().forward(picture(1, &config, &device));
        assert_eq!(logits.dims(), [1, CLASSES]);
    }
    for kind in [NetKind::Resnet18, NetKind::Resnet20, NetKind::MobilenetV3Small] {
        let config = NetConfig::new(kind, CLASSES, 3, Size::new(1, 1));
        assert_eq!(
            config.init(1, &device).unwrap().forward(picture(1, &config, &device)).dims(),
            [1, CLASSES]
        );
    }
    let vgg = NetConfig::new(NetKind::Vgg16, CLASSES, 3, Size::new(31, 64)).validate();
    assert!(matches!(vgg, Err(Error::Config(message)) if message.contains("fifth max-pool")));
}

#[test]
fn settings_out_of_range_are_configuration_errors() {
    let good = NetConfig::new(NetKind::Resnet18, CLASSES, 3, Size::new(32, 32));
    let bad = [
        NetConfig { classes: 0, ..good.clone() },
        NetConfig { classes: usize::MAX, ..good.clone() },
        NetConfig { in_channels: 0, ..good.clone() },
        NetConfig { in_channels: 1 << 40, ..good.clone() },
        NetConfig { input: Size::new(0, 32), ..good.clone() },
        NetConfig { input: Size::new(u32::MAX, 32), ..good.clone() },
        NetConfig { dropout: Some(1.0), ..good.clone() },
        NetConfig { dropout: Some(f64::NAN), ..good.clone() },
        NetConfig { classifier_padding: 1, ..good.clone() },
        NetConfig { fid_pools: true, ..good.clone() },
        NetConfig { name: NetKind::Vgg16, stem: Stem::Small, ..good.clone() },
        NetConfig { name: NetKind::SimpleCnn, input: Size::new(4096, 4096), ..good.clone() },
    ];
    assert!(good.validate().is_ok());
    for config in bad {
        assert!(matches!(config.validate(), Err(Error::Config(_))), "{config:?}");
    }
}

#[test]
fn a_configuration_reads_back_and_its_defaults_stay_out_of_the_file() {
    for config in configs() {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<NetConfig>(&text).unwrap(), config);
        assert_eq!(config.name.name().parse::<NetKind>().unwrap(), config.name);
    }
    let text = r#"{"name":"resnet18","classes":10,"in_channels":3,"input":{"width":224,"height":224}}"#;
    let config: NetConfig = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&config).unwrap(), text);
    assert!(serde_json::from_str::<NetConfig>(&text.replace("classes", "clases")).is_err());
    assert!("resnet19".parse::<NetKind>().is_err());
}

#[test]
fn an_empty_map_leaves_everything() {
    let config = NetConfig::new(NetKind::Resnet20, CLASSES, 3, Size::new(32, 32));
    let partial = state::load_partial(config.blank(&Device::flex()).unwrap(), &TensorMap::new());
    assert!(partial.taken.is_empty());
    assert!(partial.left.iter().all(|left| matches!(left, state::Difference::Missing(_))));
}

/// Weights and running statistics that are no trivial ones.
struct Stir(u64);

impl burn::module::ModuleMapper for Stir {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        let (id, value, _) = param.consume();
        let noise = Scope::seeded(self.0, &value.device()).param("noise", value.dims(), Init::Uniform(0.25));
        Param::initialized(id, value.clone() + noise.val() * (value.abs() + 1.0))
    }
}

#[test]
fn the_program_computes_what_the_network_does_whatever_the_company() {
    let device = Device::flex();
    for config in configs() {
        // Odd sides, where windows and halvings do not come out even.
        let size = if config.name == NetKind::InceptionV3 { Size::new(81, 77) } else { Size::new(41, 37) };
        let config = NetConfig { input: size, ..config };
        let net = config.init(1, &device).unwrap();
        // Only what a norm keeps and adds is stirred that much: deep networks would overflow.
        let stirred = state::to_map(&net.clone().map(&mut Stir(7)));
        let map = state::to_map(&net).into_iter().map(|(name, value)| match stirred.get(&name) {
            Some(stirred) if value.shape.len() == 1 => (name, stirred.clone()),
            _ => (name, value),
        });
        let net = config.load(&map.collect(), &device).unwrap();
        let x = picture(3, &config, &device);
        let expected = values(net.valid().forward(x.clone()));
        let (shape, x) = (x.dims(), values(x));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Predictor::new(&net, config.picture()).unwrap().logits(&x, shape).unwrap())
        };
        let got = run(2);
        assert!(expected.iter().all(|v| v.is_finite()), "{}", config.name);
        let difference = largest_difference(&got, &expected);
        let size = largest(&expected);
        assert!(difference < 1e-4 * size.max(1.0), "{}: {difference} of {size}", config.name);
        assert_eq!(run(1), got, "{}: threads", config.name);
        let predictor = Predictor::new(&net, config.picture()).unwrap();
        let [_, c, h, w] = shape;
        let (row, picture) = (got.len() / 3, c * h * w);
        for i in 0..3 {
            let alone = predictor.logits(&x[i * picture..(i + 1) * picture], [1, c, h, w]).unwrap();
            assert_eq!(alone, got[i * row..(i + 1) * row], "{}: company", config.name);
        }
        assert!(predictor.logits(&[0.0; 5], shape).is_err());
    }
}
