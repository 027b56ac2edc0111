//! Options of every `train`.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use clap::Args;

use crate::error::{Error, Result};
use crate::settings::Draft;
use crate::train::{Existing, Order};

/// What every training run can be told.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Run folder to make: log, checkpoints, best and last model, report.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Typed TOML configuration; presets are in configs/.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override of one configuration value, e.g. --set optimizer.weight_decay=5e-4. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Passes over the training pictures.
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Stop after this many minutes of training, if --epochs has not been reached.
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    pub minutes: Option<f64>,
    /// Pictures a step.
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Peak learning rate.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Go on with an interrupted run in --out, to exactly the result it would have had.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Replace a run that is already in --out.
    #[arg(long)]
    pub overwrite: bool,
    /// Start from the weights of another Opticus model; tensors that do not fit are left out and named.
    #[arg(long, value_name = "FILE")]
    pub init_from: Option<PathBuf>,
}

impl RunArgs {
    /// The run that was asked for.
    pub fn order<'a, C>(
        &'a self,
        config: &'a C,
        device: &'a Device,
        interrupted: &'a AtomicBool,
    ) -> Order<'a, C> {
        Order {
            config,
            init_from: self.init_from.as_deref(),
            out: &self.out,
            existing: match (self.resume, self.overwrite) {
                (true, _) => Existing::Resume,
                (_, true) => Existing::Overwrite,
                _ => Existing::Refuse,
            },
            device,
            interrupted,
        }
    }

    /// The configuration of a run: presets and file, then `--set`, then the flags that have a name of their own;
    /// `flags` are those of the job.
    ///
    /// # Errors
    /// [`Error::Config`] naming file, key or value.
    pub fn draft<const N: usize>(&self, flags: [(&str, Option<toml::Value>); N]) -> Result<Draft> {
        let mut draft = match &self.config {
            Some(path) => Draft::from_file(path)?,
            None => Draft::new(),
        };
        for assignment in &self.set {
            draft.set_text(assignment)?;
        }
        let common = [
            ("fit.epochs", self.epochs.map(|n| i64::from(n).into())),
            ("fit.minutes", self.minutes.map(Into::into)),
            ("fit.batch_size", self.batch_size.map(|n| integer(n as u64)).transpose()?),
            ("optimizer.lr", self.lr.map(Into::into)),
        ];
        for (key, value) in flags.into_iter().chain(common) {
            if let Some(value) = value {
                draft.set(key, value)?;
            }
        }
        Ok(draft)
    }
}

/// A number as TOML has it.
///
/// # Errors
/// [`Error::Config`] for one that is too large.
pub fn integer(value: u64) -> Result<toml::Value> {
    i64::try_from(value)
        .map(Into::into)
        .map_err(|_| Error::Config(format!("{value} is too large; give at most {}", i64::MAX)))
}
