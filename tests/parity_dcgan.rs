//! DCGAN's networks and steps of their training against PyTorch in float64: `tests/golden/dcgan.json`, made by
//! `tools/reference/dcgan.py`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod reference;

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor, TensorData};
use opticus::nets::gan::{Discriminator, GanConfig, GanKind, Generator};
use opticus::nets::init::Scope;
use opticus::nets::state;
use opticus::tensors::TensorMap;
use opticus::train::{Optimizer, OptimizerConfig, Rule};
use reference::{assert_close, filled, formula, names_digest, statistics, values};
use serde::Deserialize;

/// Largest difference over largest reference.
const PICTURES: f64 = 1e-5;
const GRADIENTS: f64 = 1e-4;
const LOSSES: f64 = 1e-4;
/// Adam divides by the root of the squared gradient: the noise of single precision in a gradient near zero is a
/// whole step's noise in its weight. PyTorch's own single precision is 1.4e-3 off its double precision in the mean
/// and the deviation of all changes of a tensor, and 1.6e-2 in one change.
const CHANGES: f64 = 5e-3;
const ONE_CHANGE: f64 = 4e-2;

const GAIN: f32 = 0.75;
const BATCH: usize = 4;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: Reference,
    generator_names: String,
    discriminator_names: String,
    evaluated: Evaluated,
    gradients: Differentiated,
    trained: Trained,
}

/// The reference's configuration.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Reference {
    image_size: usize,
    channels: usize,
    latent: usize,
    generator_width: usize,
    discriminator_width: usize,
}

impl Reference {
    fn config(self) -> GanConfig {
        let Self { image_size, channels, latent, generator_width, discriminator_width } = self;
        let usual = GanConfig::defaults(GanKind::Dcgan, image_size, channels);
        GanConfig { latent, generator_width, discriminator_width, ..usual }
    }
}

#[derive(Deserialize)]
struct Evaluated {
    pictures: Vec<f64>,
    logits: Vec<f64>,
}

#[derive(Deserialize)]
struct Differentiated {
    loss: f64,
    generator: BTreeMap<String, Vec<f64>>,
    discriminator: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Trained {
    /// Of each step: the discriminator on real and on made pictures, the generator.
    losses: Vec<[f64; 3]>,
    /// How much each tensor has changed since the beginning.
    generator: BTreeMap<String, Vec<f64>>,
    discriminator: BTreeMap<String, Vec<f64>>,
}

fn cases() -> Vec<Case> {
    let golden: Golden = serde_json::from_str(include_str!("golden/dcgan.json")).unwrap();
    golden.cases
}

fn networks(config: Reference, device: &Device) -> (Generator, Discriminator) {
    let config = config.config();
    let scope = Scope::blank(device);
    let generator = config.generator(&scope).unwrap();
    let discriminator = config.discriminator(&scope).unwrap();
    (load(generator), load(discriminator))
}

fn load<M: Module>(blank: M) -> M {
    let weights = filled(state::to_map(&blank), GAIN);
    state::load_map(blank, &weights).unwrap()
}

fn input<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = formula(name, shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn pictures(config: Reference) -> [usize; 4] {
    [BATCH, config.channels, config.image_size, config.image_size]
}

/// Binary cross-entropy of a sigmoid: `softplus(−logit)` for what should be real, `softplus(logit)` for what not.
fn loss(logits: Tensor<1>, real: bool) -> Tensor<1> {
    softplus(if real { logits.neg() } else { logits }, 1.0).mean()
}

#[test]
fn both_networks_have_torchs_names_pictures_and_logits() {
    for Case { config, generator_names, discriminator_names, evaluated, .. } in cases() {
        let device = Device::flex();
        let (generator, discriminator) = networks(config, &device);
        assert_eq!(names_digest(&state::to_map(&generator)), generator_names, "{config:?}");
        assert_eq!(names_digest(&state::to_map(&discriminator)), discriminator_names, "{config:?}");
        let made = generator.forward(input("latent", [BATCH, config.latent], &device), None);
        assert_eq!(made.dims(), pictures(config));
        let what = format!("{config:?}");
        assert_close(&statistics(&values(made)), &evaluated.pictures, PICTURES, &what);
        let logits = discriminator.forward(input("real", pictures(config), &device), None);
        assert_close(&values(logits), &evaluated.logits, PICTURES, &what);
    }
}

#[test]
fn gradients_of_both_networks_are_torchs() {
    for Case { config, gradients, .. } in cases() {
        let device = Device::flex().autodiff();
        let (generator, discriminator) = networks(config, &device);
        let made = generator.forward(input("latent", [BATCH, config.latent], &device), None);
        let loss = loss(discriminator.forward(made, None), true);
        assert_close(&values(loss.clone()), &[gradients.loss], LOSSES, "loss");
        let computed = loss.backward();
        for (who, ours, wanted) in [
            ("generator", reference::gradients(&generator, &computed), gradients.generator),
            ("discriminator", reference::gradients(&discriminator, &computed), gradients.discriminator),
        ] {
            assert_eq!(ours.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
            for (name, wanted) in wanted {
                let what = format!("{config:?}: {who}: {name}");
                assert_close(&statistics(&ours[&name]), &wanted, GRADIENTS, &what);
            }
        }
    }
}

#[test]
fn two_steps_of_training_lose_and_change_what_torchs_do() {
    let adam =
        OptimizerConfig { kind: Rule::Adam, weight_decay: 0.0, beta1: 0.5, ..OptimizerConfig::default() };
    for Case { config, trained, .. } in cases() {
        let device = Device::flex().autodiff();
        let (mut generator, mut discriminator) = networks(config, &device);
        let before = [state::to_map(&generator), state::to_map(&discriminator)];
        let [mut of_generator, mut of_discriminator] =
            [(); 2].map(|()| Optimizer::new(adam.clone()).unwrap());
        for (step, wanted) in trained.losses.into_iter().enumerate() {
            let real = input(&format!("real {step}"), pictures(config), &device);
            let made =
                generator.forward(input(&format!("latent {step}"), [BATCH, config.latent], &device), None);
            let on_real = loss(discriminator.forward(real, None), true);
            let on_made = loss(discriminator.forward(made.clone().detach(), None), false);
            let gradients = (on_real.clone() + on_made.clone()).backward();
            let gradients = GradientsParams::from_grads(gradients, &discriminator);
            discriminator = of_discriminator.step(discriminator, &gradients, 2e-4);
            let fooled = loss(discriminator.forward(made, None), true);
            let gradients = GradientsParams::from_grads(fooled.backward(), &generator);
            generator = of_generator.step(generator, &gradients, 2e-4);
            let losses = [on_real, on_made, fooled].map(|loss| values(loss)[0]);
            assert_close(&losses, &wanted, LOSSES, &format!("{config:?}: step {step}"));
        }
        let after = [state::to_map(&generator), state::to_map(&discriminator)];
        for ((before, after), wanted) in
            before.iter().zip(&after).zip([trained.generator, trained.discriminator])
        {
            assert_changes(before, after, wanted, &format!("{config:?}"));
        }
    }
}

fn assert_changes(before: &TensorMap, after: &TensorMap, wanted: BTreeMap<String, Vec<f64>>, what: &str) {
    assert_eq!(after.len(), wanted.len(), "{what}");
    for (name, wanted) in wanted {
        let pairs = after[&name].data.iter().zip(&before[&name].data);
        let change: Vec<f64> = pairs.map(|(after, before)| f64::from(*after) - f64::from(*before)).collect();
        let (what, change) = (format!("{what}: change of {name}"), statistics(&change));
        assert_close(&change[..2], &wanted[..2], CHANGES, &what);
        assert_close(&change, &wanted, ONE_CHANGE, &what);
    }
}

#[test]
fn impossible_configurations_name_the_setting() {
    let scope = Scope::blank(&Device::flex());
    let good = GanConfig::defaults(GanKind::Dcgan, 16, 3);
    assert!(good.validate().is_ok());
    for (config, named) in [
        (GanConfig { image_size: 8, ..good.clone() }, "image_size 8"),
        (GanConfig { image_size: 44, ..good.clone() }, "image_size 44"),
        (GanConfig { image_size: 256, ..good.clone() }, "image_size 256"),
        (GanConfig { channels: 2, ..good.clone() }, "2 channels"),
        (GanConfig { latent: 0, ..good.clone() }, "latent 0"),
        (GanConfig { generator_width: 0, ..good.clone() }, "generator_width 0"),
        (GanConfig { discriminator_width: 1 << 20, ..good.clone() }, "discriminator_width 1048576"),
    ] {
        for error in [config.generator(&scope).err(), config.discriminator(&scope).err()] {
            let error = error.unwrap();
            assert_eq!(error.exit_status(), 2);
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}

#[test]
fn initial_weights_follow_the_paper() {
    let config = GanConfig::defaults(GanKind::Dcgan, 64, 3);
    let scope = Scope::seeded(3, &Device::flex());
    let generator = state::to_map(&config.generator(&scope).unwrap());
    let discriminator = state::to_map(&config.discriminator(&scope).unwrap());
    for (map, name, mean) in [
        (&generator, "main.0.weight", 0.0),
        (&generator, "main.1.weight", 1.0),
        (&discriminator, "main.8.weight", 0.0),
        (&discriminator, "main.9.weight", 1.0),
    ] {
        let values: Vec<f64> = map[name].data.iter().map(|&v| f64::from(v)).collect();
        let found = statistics(&values);
        assert!((found[0] - mean).abs() < 4e-3 && (found[1] - 0.02).abs() < 2e-3, "{name}: {found:?}");
    }
    assert!(generator["main.1.bias"].data.iter().all(|&v| v == 0.0));
}
