//! What a training run can be told, with defaults that suit a folder of photos on a CPU.

use serde::{Deserialize, Serialize};

use crate::data::augment::AugmentConfig;
use crate::data::{Format, OnBad};
use crate::error::{Error, Result};
use crate::nets::NetKind;
use crate::settings::Draft;
use crate::train::{EmaConfig, FitConfig, OptimizerConfig, ScheduleConfig};

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

impl TrainConfig {
    /// The configuration that a draft describes; what it leaves open is filled in for its network.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key that is unknown or out of range.
    pub fn from_draft(mut draft: Draft) -> Result<Self> {
        let named: Self = draft.resolve()?;
        if named.net.name == NetKind::SimpleCnn.name() {
            for (key, value) in SIMPLE_CNN {
                if !draft.has(key) {
                    draft.set_text(&format!("{key}={value}"))?;
                }
            }
        }
        let config: Self = draft.resolve()?;
        config.validate()?;
        Ok(config)
    }

    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    pub fn validate(&self) -> Result<()> {
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
