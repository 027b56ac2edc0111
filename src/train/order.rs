//! A whole run of any job: from its configuration to its last epoch.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fit::{FitConfig, Fitted, Run, fit};
use super::learner::{BatchSource, Learner};
use super::optimizer::OptimizerConfig;
use super::progress::Progress;
use super::run::{Existing, RunFolder, identity};
use super::schedule::{Schedule, ScheduleConfig};
use crate::error::{Error, Result};
use crate::files;
use crate::settings::{self, Draft};

/// What the configuration of a run has, whatever its job.
pub trait RunConfig: Serialize + DeserializeOwned {
    /// The command that trains by it, e.g. `classify train`.
    const COMMAND: &'static str;

    /// The name of the network, where there are several.
    fn net(&self) -> Option<&str>;

    /// What the loop needs of it.
    fn course(&self) -> Course<'_>;

    /// What suits the network best, for what a draft leaves open: dotted keys and values in TOML.
    fn recipe(&self) -> &'static [(&'static str, &'static str)];

    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    fn validate(&self) -> Result<()>;

    /// The configuration that a draft describes; what it leaves open is filled in for its network.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key that is unknown or out of range.
    fn from_draft(mut draft: Draft) -> Result<Self> {
        let named: Self = draft.resolve()?;
        for (key, value) in named.recipe() {
            if !draft.has(key) {
                draft.set_text(&format!("{key}={value}"))?;
            }
        }
        let config: Self = draft.resolve()?;
        config.validate()?;
        Ok(config)
    }

    /// The command that makes this configuration, as provenance: every value that is not its network's usual one.
    ///
    /// # Errors
    /// [`Error::Config`] if a value cannot be written as TOML.
    fn command(&self) -> Result<String> {
        let mut draft = Draft::new();
        if let Some(name) = self.net() {
            draft.set("net.name", name)?;
        }
        settings::command(Self::COMMAND, self, &Self::from_draft(draft)?)
    }
}

/// What the loop needs of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// Seed of everything random.
    pub seed: u64,
    /// The optimiser, whose rate is the schedule's peak.
    pub optimizer: &'a OptimizerConfig,
    /// The learning rate over time.
    pub schedule: &'a ScheduleConfig,
    /// The loop.
    pub fit: &'a FitConfig,
}

/// What to train, to where.
#[derive(Debug)]
pub struct Order<'a, C> {
    /// Everything that decides the result.
    pub config: &'a C,
    /// Another model to take fitting weights from.
    pub init_from: Option<&'a Path>,
    /// The run folder.
    pub out: &'a Path,
    /// What to do with a run that is already there.
    pub existing: Existing,
    /// Where to compute.
    pub device: &'a Device,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

impl<C: RunConfig> Order<'_, C> {
    /// The run's name, for titles: that of its folder.
    pub fn name(&self) -> String {
        files::name_of(self.out)
    }

    /// The resolved configuration as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] if a value cannot be written as TOML.
    pub fn configuration(&self) -> Result<String> {
        toml::to_string_pretty(self.config)
            .map_err(|e| Error::Config(format!("the configuration cannot be written as TOML: {e}")))
    }

    /// Makes or opens the run folder, with the configuration in it.
    ///
    /// # Errors
    /// As [`RunFolder::open`] and [`RunFolder::write_config`].
    pub fn open(&self) -> Result<RunFolder> {
        let configuration = self.configuration()?;
        let folder = RunFolder::open(self.out, self.existing)?;
        folder.write_config(&configuration)?;
        Ok(folder)
    }

    /// Trains to the end, as [`fit()`]. A checkpoint is resumed only if it is of the same configuration and the same
    /// `content`: a sum over all data that the run learns from.
    ///
    /// # Errors
    /// As [`fit()`] and [`Schedule::new`].
    pub fn fit<L, S>(
        &self,
        learner: &mut L,
        source: &S,
        folder: &RunFolder,
        content: &str,
        progress: &mut dyn Progress,
    ) -> Result<Fitted>
    where
        L: Learner,
        S: BatchSource<Batch = L::Batch>,
    {
        let Course { seed, optimizer, schedule, fit: config } = self.config.course();
        let (steps, epochs) = (source.batches() as u64, u64::from(config.epochs));
        let schedule = Schedule::new(schedule, optimizer.lr, steps, epochs)?;
        let run = Run {
            folder,
            config,
            schedule: &schedule,
            seed,
            identity: &identity(&self.configuration()?, content, self.init_from),
            resume: self.existing == Existing::Resume,
            interrupted: self.interrupted,
        };
        fit(learner, source, &run, progress)
    }
}
