//! What a training run can be told, with defaults that suit a few hundred photos on a CPU.

use serde::{Deserialize, Serialize};

use crate::data::detection::augment::SceneAugment;
use crate::data::{Format, OnBad};
use crate::error::{Error, Result};
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
    /// Random changes to training pictures and their boxes.
    pub augment: SceneAugment,
    /// What is learnt from.
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
    /// A name of `opticus detect train --net`.
    pub name: String,
    /// The backbone, where the architecture leaves it open; its usual one when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<String>,
    /// Parts of the backbone, from the input on, that keep their weights: the stem and the stages of a residual
    /// network, entries of `features` of the others. Only with `--init-from`.
    pub freeze: usize,
    /// Whether the backbone's batch norms keep weights and statistics; by default with `--init-from`, as the
    /// statistics of a few pictures a step are poor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen_norms: Option<bool>,
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
    /// What to do with a picture that is missing or cannot be read.
    pub on_bad: OnBad,
    /// What to do with boxes that nothing can be learnt from: without area, outside, of unknown classes.
    pub on_bad_boxes: OnBad,
    /// Decoded pictures are kept in memory up to this many megabytes.
    pub cache_mb: usize,
}

/// What the network sees of a picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputSection {
    /// Pixels of the shorter side; the side of the square for one-stage detectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
}

/// What is learnt from: how many anchors and regions of each picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSection {
    /// Anchors of a picture that the proposing network learns from, half of them objects where there are so many.
    pub anchors: usize,
    /// Regions of a picture that the heads learn from, a quarter of them objects where there are so many.
    pub regions: usize,
    /// Proposals of a picture that these are chosen from.
    pub proposals: usize,
}

impl Default for NetSection {
    fn default() -> Self {
        Self { name: "faster-rcnn".into(), backbone: None, freeze: 0, frozen_norms: None }
    }
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            format: Format::Auto,
            val_split: None,
            on_bad: OnBad::Error,
            on_bad_boxes: OnBad::Skip,
            cache_mb: 1024,
        }
    }
}

impl Default for LossSection {
    fn default() -> Self {
        Self { anchors: 256, regions: 128, proposals: 500 }
    }
}

/// The recipe for a few hundred photos and a small network; what a draft says goes before it.
const RECIPE: [(&str, &str); 7] = [
    ("optimizer.lr", "5e-4"),
    ("optimizer.weight_decay", "0.01"),
    ("optimizer.clip_norm", "10.0"),
    ("schedule.warmup_epochs", "1.0"),
    ("ema.decay", "0.995"),
    ("fit.epochs", "40"),
    ("fit.batch_size", "4"),
];

impl RunConfig for TrainConfig {
    const COMMAND: &'static str = "detect train";

    fn net(&self) -> Option<&str> {
        Some(&self.net.name)
    }

    fn course(&self) -> Course<'_> {
        let Self { seed, optimizer, schedule, fit, .. } = self;
        Course { seed: *seed, optimizer, schedule, fit }
    }

    fn recipe(&self) -> &'static [(&'static str, &'static str)] {
        &RECIPE
    }

    fn validate(&self) -> Result<()> {
        let counts = [
            ("loss.anchors", self.loss.anchors),
            ("loss.regions", self.loss.regions),
            ("loss.proposals", self.loss.proposals),
        ];
        if let Some((name, value)) = counts.into_iter().find(|(_, value)| !(1..=100_000).contains(value)) {
            return Err(Error::Config(format!("{name} is {value}; give 1 to 100000")));
        }
        if let Some(size) = self.input.size.filter(|size| !(16..=4096).contains(size)) {
            return Err(Error::Config(format!("--image-size {size}: give 16 to 4096 pixels")));
        }
        self.augment.validate()?;
        self.optimizer.validate()?;
        self.ema.validate()?;
        self.fit.validate()
    }
}
