//! What a training run can be told, with defaults that suit a folder of photos on a CPU.

use serde::{Deserialize, Serialize};

use crate::data::augment::AugmentConfig;
use crate::data::{Format, OnBad};
use crate::error::{Error, Result};
use crate::nets::NetKind;
use crate::train::{Course, EmaConfig, FitConfig, OptimizerConfig, RunConfig, ScheduleConfig};

/// Everything that decides a training run. Written, resolved, to the run folder's `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// The network.
    pub net: NetSection,
    /// The pictures.
    pub data: DataSection,
    /// What the network sees of a picture.
    pub input: InputSection,
    /// Random changes to training pictures.
    pub augment: AugmentConfig,
    /// The loss.
    pub loss: LossSection,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: ScheduleConfig,
    /// Averaged weights; evaluated and saved instead of the raw ones where `decay` > 0.
    pub ema: EmaConfig,
    /// The loop: epochs, minutes, batch size, patience, checkpoints.
    pub fit: FitConfig,
}

/// The network to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetSection {
    /// A name of `opticus classify train --net`.
    pub name: String,
    /// Dropout before the last layer, where the network has one; its definition's own value when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
}

/// The pictures to train on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// Kind of data set.
    pub format: Format,
    /// Part set aside where the data set has no validation part; `None`: [`DEFAULT_VAL_SPLIT`](super::dataset::DEFAULT_VAL_SPLIT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_split: Option<f64>,
    /// What to do with a picture that cannot be read.
    pub on_bad: OnBad,
    /// Decoded pictures are kept in memory up to this many megabytes.
    pub cache_mb: usize,
}

/// What the network sees of a picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputSection {
    /// Side of the square input in pixels; chosen from the pictures when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Channels: 1 grey or 3 colour; the data set's own when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Stretch pictures to the square instead of cropping its centre.
    pub stretch: bool,
}

/// The loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSection {
    /// Label smoothing, 0 to below 1.
    pub label_smoothing: f32,
}

impl Default for NetSection {
    fn default() -> Self {
        Self { name: NetKind::SmallCnn.name().into(), dropout: None }
    }
}

impl Default for DataSection {
    fn default() -> Self {
        Self { format: Format::Auto, val_split: None, on_bad: OnBad::Error, cache_mb: 1024 }
    }
}

impl RunConfig for TrainConfig {
    const COMMAND: &'static str = "classify train";

    fn net(&self) -> Option<&str> {
        Some(&self.net.name)
    }

    fn course(&self) -> Course<'_> {
        let Self { seed, optimizer, schedule, fit, .. } = self;
        Course { seed: *seed, optimizer, schedule, fit }
    }

    fn recipe(&self) -> &'static [(&'static str, &'static str)] {
        match self.net.name == NetKind::SimpleCnn.name() {
            true => &SIMPLE_CNN,
            false => &[],
        }
    }

    fn validate(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.loss.label_smoothing) {
            return Err(Error::Config(format!(
                "loss.label_smoothing is {}; it must be 0 to below 1",
                self.loss.label_smoothing
            )));
        }
        self.augment.validate()?;
        self.optimizer.validate()?;
        self.ema.validate()?;
        self.fit.validate()
    }
}

/// The article's recipe for `simple-cnn`: Adam with Keras' defaults. Everything not named here is common.
const SIMPLE_CNN: [(&str, &str); 4] = [
    ("optimizer.kind", "adam"),
    ("optimizer.lr", "1e-3"),
    ("optimizer.epsilon", "1e-7"),
    ("optimizer.weight_decay", "0.0"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::settings::Draft;

    #[test]
    fn the_command_of_a_configuration_makes_it_again() {
        let mut draft = Draft::new();
        for assignment in [
            "net.name=simple-cnn",
            "seed=7",
            "optimizer.lr=3e-3",
            "schedule.kind=one-cycle",
            "augment.affine.degrees=5.0",
            "augment.affine.scale=[0.9, 1.1]",
            "data.val_split=0.2",
            "input.size=32",
        ] {
            draft.set_text(assignment).unwrap();
        }
        let config = TrainConfig::from_draft(draft).unwrap();
        let command = config.command().unwrap();
        assert!(command.starts_with("classify train "), "{command}");

        // Read back as a shell would split it.
        let mut again = Draft::new();
        let mut words = command.split_whitespace().skip(2).peekable();
        while let Some(flag) = words.next() {
            let mut value = words.next().unwrap().to_owned();
            if value.starts_with('\'') {
                while !value.ends_with('\'') {
                    value = format!("{value} {}", words.next().unwrap());
                }
            }
            let value = value.trim_matches('\'');
            match flag {
                "--net" => again.set_text(&format!("net.name={value}")).unwrap(),
                "--seed" => again.set_text(&format!("seed={value}")).unwrap(),
                "--set" => again.set_text(value).unwrap(),
                other => panic!("{other}"),
            }
        }
        assert_eq!(TrainConfig::from_draft(again).unwrap(), config, "{command}");
    }

    #[test]
    fn a_default_configuration_needs_no_overrides() {
        let mut draft = Draft::new();
        draft.set_text("net.name=simple-cnn").unwrap();
        let command = TrainConfig::from_draft(draft).unwrap().command().unwrap();
        assert_eq!(command, "classify train --net simple-cnn --seed 0");
    }
}
