//! The learning rate over a run.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The shape of the learning rate over a run, as a fraction of its peak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The peak throughout.
    Constant,
    /// The peak times `factor` to the number of `every`-epoch periods passed (PyTorch's `StepLR`).
    Step,
    /// Half a cosine from the peak to `floor` (Loshchilov and Hutter 2017, equation 5, without restarts).
    #[default]
    Cosine,
    /// Up from `1/25` of the peak by a half cosine over `rise` of the run, then down to `1/250000` by another:
    /// PyTorch's `OneCycleLR` with its defaults (Smith and Topin 2018).
    OneCycle,
}

/// Configuration of a [`Schedule`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// The shape.
    pub kind: Shape,
    /// Epochs of linear warm-up from near 0 before the shape begins (not for one-cycle, which has its own).
    pub warmup_epochs: f64,
    /// `step`: epochs between reductions.
    pub every: u64,
    /// `step`: what each reduction multiplies by.
    pub factor: f64,
    /// `cosine`: the end, as a fraction of the peak.
    pub floor: f64,
    /// `one-cycle`: part of the run that the rate rises.
    pub rise: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { kind: Shape::Cosine, warmup_epochs: 0.5, every: 10, factor: 0.1, floor: 0.0, rise: 0.3 }
    }
}

/// The learning rate of every step of a run: a pure function of the step.
#[derive(Clone, Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    peak: f64,
    steps_per_epoch: u64,
    steps: u64,
}

impl Schedule {
    /// The schedule of a run of `epochs` epochs of `steps_per_epoch` steps with this peak rate.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    pub fn new(config: &ScheduleConfig, peak: f64, steps_per_epoch: u64, epochs: u64) -> Result<Self> {
        let refuse = |what: &str, value: f64, range: &str| {
            Err(Error::Config(format!("schedule.{what} is {value}; it must be {range}")))
        };
        if !(peak.is_finite() && peak >= 0.0) {
            return Err(Error::Config(format!("optimizer.lr is {peak}; it must be a number, 0 or more")));
        }
        if !(config.warmup_epochs.is_finite() && config.warmup_epochs >= 0.0) {
            return refuse("warmup_epochs", config.warmup_epochs, "0 or more");
        }
        if config.every == 0 {
            return refuse("every", 0.0, "at least 1");
        }
        if !(config.factor > 0.0 && config.factor <= 1.0) {
            return refuse("factor", config.factor, "above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&config.floor) {
            return refuse("floor", config.floor, "0 to 1");
        }
        if !(config.rise > 0.0 && config.rise < 1.0) {
            return refuse("rise", config.rise, "between 0 and 1");
        }
        let steps_per_epoch = steps_per_epoch.max(1);
        let steps = steps_per_epoch.saturating_mul(epochs.max(1));
        Ok(Self { config: config.clone(), peak, steps_per_epoch, steps })
    }

    /// The learning rate of step `step`, from 0. Beyond the planned end it stays at its last value.
    pub fn lr(&self, step: u64) -> f64 {
        let step = step.min(self.steps - 1);
        if self.config.kind == Shape::OneCycle {
            return self.one_cycle(step);
        }
        let warmup = (self.config.warmup_epochs * self.steps_per_epoch as f64).min(self.steps as f64 / 2.0);
        if (step as f64) < warmup {
            return self.peak * (step as f64 + 1.0) / (warmup + 1.0);
        }
        let fraction = match self.config.kind {
            Shape::Constant | Shape::OneCycle => 1.0,
            Shape::Step => {
                let periods = step / self.steps_per_epoch / self.config.every;
                self.config.factor.powi(periods.min(1000) as i32)
            }
            Shape::Cosine => {
                let done = (step as f64 - warmup) / (self.steps as f64 - warmup).max(1.0);
                self.config.floor
                    + (1.0 - self.config.floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        };
        self.peak * fraction
    }

    /// `OneCycleLR(max_lr=peak, total_steps=steps, pct_start=rise)` of PyTorch, two phases, cosine annealing.
    fn one_cycle(&self, step: u64) -> f64 {
        let anneal = |from: f64, to: f64, done: f64| {
            to + (from - to) / 2.0 * (1.0 + (std::f64::consts::PI * done).cos())
        };
        let (initial, last) = (self.peak / 25.0, self.peak / 25.0 / 1e4);
        let top = self.config.rise * self.steps as f64 - 1.0;
        let step_f = step as f64;
        if step_f <= top {
            return anneal(initial, self.peak, step_f / top.max(1.0));
        }
        let end = self.steps as f64 - 1.0;
        anneal(self.peak, last, ((step_f - top) / (end - top).max(1.0)).min(1.0))
    }
}
