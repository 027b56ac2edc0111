//! The learning rate over a run.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The shape of the learning rate over a run, as a fraction of its peak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The peak throughout.
    Constant,
    /// Times `factor` after every `every` epochs (PyTorch's `StepLR`).
    Step,
    /// Times `factor` at each of the epochs in `milestones` (PyTorch's `MultiStepLR`).
    MultiStep,
    /// Half a cosine from the peak to `floor` (Loshchilov and Hutter 2017, equation 5, without restarts; PyTorch's
    /// `CosineAnnealingLR` over the steps after the warm-up).
    #[default]
    Cosine,
    /// Up from the peak over `start_divisor` by half a cosine over `rise` of the run, then down to that start over
    /// `end_divisor` by another: PyTorch's `OneCycleLR` with two phases (Smith and Topin 2018).
    OneCycle,
}

/// Configuration of a [`Schedule`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// The shape: `constant`, `step`, `multi-step`, `cosine` or `one-cycle`.
    pub kind: Shape,
    /// Epochs of linear warm-up before the shape begins, at most half of the run; not for `one-cycle`, which has
    /// its own.
    pub warmup_epochs: f64,
    /// Where the warm-up begins, as a fraction of the peak.
    pub warmup_start: f64,
    /// `step`: epochs between reductions, counted from the beginning of the run.
    pub every: u64,
    /// `multi-step`: epochs after which the rate is reduced, counted from the beginning of the run.
    pub milestones: Vec<u64>,
    /// `step` and `multi-step`: what each reduction multiplies by.
    pub factor: f64,
    /// `cosine`: the end, as a fraction of the peak.
    pub floor: f64,
    /// `one-cycle`: part of the run that the rate rises.
    pub rise: f64,
    /// `one-cycle`: the peak over the first rate.
    pub start_divisor: f64,
    /// `one-cycle`: the first rate over the last.
    pub end_divisor: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            kind: Shape::Cosine,
            warmup_epochs: 0.5,
            warmup_start: 0.01,
            every: 10,
            milestones: Vec::new(),
            factor: 0.1,
            floor: 0.0,
            rise: 0.3,
            start_divisor: 25.0,
            end_divisor: 1e4,
        }
    }
}

impl ScheduleConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    pub fn validate(&self) -> Result<()> {
        let within = |value: f64, ok: bool| value.is_finite() && ok;
        let checks = [
            ("warmup_epochs", self.warmup_epochs, self.warmup_epochs >= 0.0, "0 or more"),
            ("warmup_start", self.warmup_start, (0.0..=1.0).contains(&self.warmup_start), "0 to 1"),
            ("every", self.every as f64, self.every > 0, "at least 1"),
            ("factor", self.factor, self.factor > 0.0 && self.factor <= 1.0, "above 0 and at most 1"),
            ("floor", self.floor, (0.0..=1.0).contains(&self.floor), "0 to 1"),
            ("rise", self.rise, self.rise > 0.0 && self.rise < 1.0, "between 0 and 1"),
            ("start_divisor", self.start_divisor, self.start_divisor >= 1.0, "at least 1"),
            ("end_divisor", self.end_divisor, self.end_divisor >= 1.0, "at least 1"),
        ];
        if let Some((name, value, _, range)) =
            checks.into_iter().find(|(_, value, ok, _)| !within(*value, *ok))
        {
            return Err(Error::Config(format!("schedule.{name} is {value}; it must be {range}")));
        }
        if !self.milestones.is_sorted_by(|a, b| a < b) {
            return Err(Error::Config(format!(
                "schedule.milestones is {:?}; the epochs must rise",
                self.milestones
            )));
        }
        if self.kind == Shape::MultiStep && self.milestones.is_empty() {
            return Err(Error::Config(
                "schedule.milestones is empty; `multi-step` needs at least one epoch".into(),
            ));
        }
        Ok(())
    }
}

/// The learning rate of every step of a run: a pure function of the step.
#[derive(Clone, Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    peak: f64,
    steps: u64,
    warmup: u64,
    /// Steps at which the rate is reduced, rising.
    reductions: Vec<u64>,
}

impl Schedule {
    /// The schedule of a run of `epochs` epochs of `steps_per_epoch` steps with this peak rate.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    pub fn new(config: &ScheduleConfig, peak: f64, steps_per_epoch: u64, epochs: u64) -> Result<Self> {
        if !(peak.is_finite() && peak >= 0.0) {
            return Err(Error::Config(format!("optimizer.lr is {peak}; it must be a number, 0 or more")));
        }
        config.validate()?;
        let steps_per_epoch = steps_per_epoch.max(1);
        let steps = steps_per_epoch.saturating_mul(epochs.max(1));
        let warmup = match config.kind {
            Shape::OneCycle => 0,
            _ => ((config.warmup_epochs * steps_per_epoch as f64).round() as u64).min(steps / 2),
        };
        let at: Vec<u64> = match config.kind {
            Shape::Step => (1..).map(|n| n * config.every).take_while(|epoch| *epoch < epochs).collect(),
            Shape::MultiStep => config.milestones.clone(),
            _ => Vec::new(),
        };
        let reductions = at.into_iter().map(|epoch| epoch.saturating_mul(steps_per_epoch)).collect();
        Ok(Self { config: config.clone(), peak, steps, warmup, reductions })
    }

    /// Steps that the schedule is laid out for.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The same shape over fewer steps, for a run whose time ends before its epochs do. The warm-up stays as long
    /// as it was, or half of the run.
    #[must_use]
    pub fn ending_at(&self, steps: u64) -> Self {
        let steps = steps.clamp(1, self.steps);
        let moved = |at: &u64| (u128::from(*at) * u128::from(steps) / u128::from(self.steps)) as u64;
        Self {
            steps,
            warmup: self.warmup.min(steps / 2),
            reductions: self.reductions.iter().map(moved).collect(),
            ..self.clone()
        }
    }

    /// The learning rate of step `step`, from 0. Beyond the planned end it stays at its last value.
    pub fn lr(&self, step: u64) -> f64 {
        let step = step.min(self.steps - 1);
        if step < self.warmup {
            let start = self.config.warmup_start;
            return self.peak * (start + (1.0 - start) * step as f64 / self.warmup as f64);
        }
        match self.config.kind {
            Shape::Constant => self.peak,
            Shape::Step | Shape::MultiStep => {
                let passed = self.reductions.iter().filter(|at| **at <= step).count();
                self.peak * self.config.factor.powi(passed as i32)
            }
            Shape::Cosine => {
                let done = (step - self.warmup) as f64 / (self.steps - self.warmup) as f64;
                anneal(self.peak, self.peak * self.config.floor, done)
            }
            Shape::OneCycle => self.one_cycle(step as f64),
        }
    }

    fn one_cycle(&self, step: f64) -> f64 {
        let first = self.peak / self.config.start_divisor;
        let last = first / self.config.end_divisor;
        let top = self.config.rise * self.steps as f64 - 1.0;
        let end = self.steps as f64 - 1.0;
        match step <= top {
            true if top > 0.0 => anneal(first, self.peak, step / top),
            true => self.peak,
            false => anneal(self.peak, last, (step - top) / (end - top)),
        }
    }
}

/// Half a cosine between two rates; `done` from 0 to 1.
fn anneal(from: f64, to: f64, done: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * done).cos())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        peak: f64,
        schedules: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        config: serde_json::Value,
        steps_per_epoch: u64,
        epochs: u64,
        rates: Vec<f64>,
    }

    #[test]
    fn every_rate_of_every_shape_equals_pytorchs() {
        let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/optim.json")).unwrap();
        for Case { config: mut json, steps_per_epoch, epochs, rates } in golden.schedules {
            // The reference has no warm-up where it names none.
            json.as_object_mut().unwrap().entry("warmup_epochs").or_insert(0.0.into());
            let config: ScheduleConfig = serde_json::from_value(json).unwrap();
            let schedule = Schedule::new(&config, golden.peak, steps_per_epoch, epochs).unwrap();
            assert_eq!(schedule.steps(), rates.len() as u64);
            for (step, expected) in rates.iter().enumerate() {
                let lr = schedule.lr(step as u64);
                assert!(
                    (lr - expected).abs() <= 1e-9 * golden.peak,
                    "{config:?}: step {step}: {lr}, not {expected}"
                );
            }
            assert_eq!(schedule.lr(u64::MAX), schedule.lr(schedule.steps() - 1));
        }
    }

    #[test]
    fn a_shorter_run_ends_as_low_as_the_planned_one() {
        for kind in [Shape::Step, Shape::MultiStep, Shape::Cosine, Shape::OneCycle] {
            let config =
                ScheduleConfig { kind, milestones: vec![10, 50], every: 30, ..ScheduleConfig::default() };
            let long = Schedule::new(&config, 1.0, 10, 100).unwrap();
            let short = long.ending_at(200);
            assert_eq!(short.steps(), 200);
            let (end, planned) = (short.lr(199), long.lr(999));
            assert!(end <= planned + 1e-4, "{kind:?}: {end} at the end, {planned} planned");
            assert!(short.lr(100) <= long.lr(100) || kind == Shape::OneCycle, "{kind:?} falls sooner");
            assert_eq!(long.ending_at(5000).steps(), 1000);
        }
    }

    #[test]
    fn the_shortest_runs_have_rates_too() {
        for kind in [Shape::Constant, Shape::Step, Shape::Cosine, Shape::OneCycle] {
            for (steps_per_epoch, epochs) in [(0, 0), (1, 1), (1, 2), (2, 1), (1, 3), (10, 1)] {
                let config = ScheduleConfig { kind, warmup_epochs: 5.0, ..ScheduleConfig::default() };
                let schedule = Schedule::new(&config, 0.1, steps_per_epoch, epochs).unwrap();
                for step in 0..schedule.steps() + 2 {
                    let lr = schedule.lr(step);
                    assert!(
                        (0.0..=0.1 + 1e-12).contains(&lr),
                        "{kind:?} {steps_per_epoch}x{epochs}: {lr} at {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        type Change = fn(&mut ScheduleConfig);
        let cases: [(&str, Change); 6] = [
            ("schedule.warmup_epochs", |c| c.warmup_epochs = f64::NAN),
            ("schedule.every", |c| c.every = 0),
            ("schedule.factor", |c| c.factor = 1.5),
            ("schedule.rise", |c| c.rise = 1.0),
            ("schedule.milestones", |c| c.milestones = vec![3, 3]),
            ("schedule.milestones", |c| c.kind = Shape::MultiStep),
        ];
        for (name, change) in cases {
            let mut config = ScheduleConfig::default();
            change(&mut config);
            let error = Schedule::new(&config, 0.1, 1, 1).unwrap_err();
            assert!(matches!(error, Error::Config(_)) && error.to_string().starts_with(name), "{error}");
        }
        assert!(Schedule::new(&ScheduleConfig::default(), f64::NAN, 1, 1).is_err());
    }
}
