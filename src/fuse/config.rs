//! What a training run can be told, with defaults that suit some photos on a CPU.

use serde::{Deserialize, Serialize};

use crate::data::OnBad;
use crate::error::{Error, Result};
use crate::nets::fusion::{FusionNetConfig, REACH};
use crate::train::{Course, EmaConfig, FitConfig, OptimizerConfig, RunConfig, ScheduleConfig};

/// Everything that decides a training run. Written, resolved, to the run folder's `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// The network.
    pub net: FusionNetConfig,
    /// The photos, and what is made of them.
    pub data: DataSection,
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

/// The photos, and the pairs that are made of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// Part of the photos set aside to choose the best epoch by, 0 to 1; at least one photo.
    pub val_split: f64,
    /// What to do with a picture that cannot be read.
    pub on_bad: OnBad,
    /// Decoded pictures are kept in memory up to this many megabytes.
    pub cache_mb: usize,
    /// Side in pixels of the square pieces that pairs are made of.
    pub crop: u32,
    /// Pieces that make an epoch.
    pub crops: usize,
}

/// The loss: `1 − MEF-SSIM + gradient · |∇F − ∇*|`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossSection {
    /// Weight of the gradients' difference from the strongest source's.
    pub gradient: f32,
}

impl Default for DataSection {
    fn default() -> Self {
        Self { val_split: 0.1, on_bad: OnBad::Error, cache_mb: 1024, crop: 80, crops: 1600 }
    }
}

impl Default for LossSection {
    fn default() -> Self {
        Self { gradient: 5.0 }
    }
}

/// The recipe: what differs from the house's usual settings.
const RECIPE: [(&str, &str); 5] = [
    ("optimizer.kind", "adam"),
    ("optimizer.weight_decay", "0.0"),
    ("schedule.kind", "one-cycle"),
    ("fit.epochs", "20"),
    ("fit.batch_size", "16"),
];

impl RunConfig for TrainConfig {
    const COMMAND: &'static str = "fuse train";

    fn net(&self) -> Option<&str> {
        None
    }

    fn course(&self) -> Course<'_> {
        let Self { seed, optimizer, schedule, fit, .. } = self;
        Course { seed: *seed, optimizer, schedule, fit }
    }

    fn recipe(&self) -> &'static [(&'static str, &'static str)] {
        &RECIPE
    }

    fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(what));
        let smallest = 4 * REACH as u32;
        if !(smallest..=1024).contains(&self.data.crop) {
            return refuse(format!("data.crop is {}; give {smallest} to 1024", self.data.crop));
        }
        if !(1..=10_000_000).contains(&self.data.crops) {
            return refuse(format!("data.crops is {}; give 1 to 10000000", self.data.crops));
        }
        if !(0.0..=1e4).contains(&self.loss.gradient) {
            return refuse(format!("loss.gradient is {}; give 0 to 10000", self.loss.gradient));
        }
        if self.fit.accumulate != 1 {
            return refuse("fit.accumulate: pieces are small enough for one pass; leave it at 1".into());
        }
        self.net.validate()?;
        self.optimizer.validate()?;
        self.ema.validate()?;
        self.fit.validate()
    }
}
