//! The loop: a learner, its batches, and everything that must survive an interruption.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Best, Checkpoint, Place};
use super::clock::{Clock, planned_steps};
use super::learner::{BatchSource, Evaluation, Learner, LearnerState, StepContext, StepReport};
use super::progress::{Position, Progress};
use super::run::RunFolder;
use super::schedule::Schedule;
use super::seed;
use crate::error::{Error, Result};

/// Configuration of the loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// Passes over the training examples.
    pub epochs: u32,
    /// Stop after this many minutes of training, whichever comes first; 0: no such bound. Where the bound is found
    /// to bind, the learning rate follows the shorter run, so that it ends as low as planned.
    pub minutes: f64,
    /// Examples a step.
    pub batch_size: usize,
    /// Parts that a step's batch is worked through in, to save memory: their gradients are added up before the
    /// optimiser moves, so that steps, schedule and result (but for rounding) stay those of the whole batch.
    pub accumulate: usize,
    /// Stop after this many epochs without a better score; 0: never.
    pub patience: u32,
    /// Minutes between checkpoints inside an epoch, 0: none; one is also written after every epoch.
    pub checkpoint_minutes: f64,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self { epochs: 30, minutes: 0.0, batch_size: 32, accumulate: 1, patience: 0, checkpoint_minutes: 5.0 }
    }
}

impl FitConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value out of range.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(what));
        if self.epochs == 0 {
            return refuse("fit.epochs is 0; train for at least one".into());
        }
        if !(self.minutes.is_finite() && self.minutes >= 0.0) {
            return refuse(format!("fit.minutes is {}; it must be 0 (no bound) or more", self.minutes));
        }
        if !(1..=65_536).contains(&self.batch_size) {
            return refuse(format!("fit.batch_size is {}; it must be 1 to 65536", self.batch_size));
        }
        if !(1..=self.batch_size).contains(&self.accumulate) {
            return refuse(format!(
                "fit.accumulate is {}; it must be 1 to fit.batch_size, {}",
                self.accumulate, self.batch_size
            ));
        }
        if !(self.checkpoint_minutes.is_finite() && self.checkpoint_minutes >= 0.0) {
            return refuse(format!(
                "fit.checkpoint_minutes is {}; it must be 0 or more",
                self.checkpoint_minutes
            ));
        }
        Ok(())
    }
}

/// What a run is, besides its learner and batches.
#[derive(Debug)]
pub struct Run<'a> {
    /// Where it leaves its files.
    pub folder: &'a RunFolder,
    /// The loop's configuration.
    pub config: &'a FitConfig,
    /// The learning rate of every step.
    pub schedule: &'a Schedule,
    /// Seed of the steps' randomness.
    pub seed: u64,
    /// What makes this run this run, such as a sum over configuration and data: a checkpoint with another identity
    /// is refused.
    pub identity: &'a str,
    /// Go on from the newest checkpoint.
    pub resume: bool,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Epochs,
    /// The minutes allowed are over.
    Minutes,
    /// No better score for as many epochs as patience had.
    Patience,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// Epochs finished.
    pub epochs: u64,
    /// Steps taken.
    pub steps: u64,
    /// The best score; its weights are in `best.safetensors`. Not a number if nothing was evaluated.
    pub best: f64,
    /// Epochs finished when it was found.
    pub best_epoch: u64,
    /// Seconds of training, earlier parts of a resumed run included.
    pub seconds: f64,
    /// Why it ended.
    pub ended: Ended,
}

/// Trains until the last epoch, the allowed minutes or the end of patience, whichever comes first.
///
/// Writes `log.csv`, `checkpoints/`, `best.safetensors` and `last.safetensors` into the run folder. A resumed run
/// gives the weights and the log (but for times) of one that was never stopped.
///
/// # Errors
/// [`Error::Interrupted`] after Ctrl-C, with a checkpoint written; [`Error::Diverged`] if loss, score or weights
/// are no longer numbers, with the last good checkpoint kept; [`Error::ModelFile`] if the checkpoint to resume
/// from is of another run or all are damaged; whatever the learner, its batches or the disk report.
pub fn fit<L, S>(learner: &mut L, source: &S, run: &Run<'_>, progress: &mut dyn Progress) -> Result<Fitted>
where
    L: Learner,
    S: BatchSource<Batch = L::Batch>,
{
    run.config.validate()?;
    let batches = source.batches();
    if batches == 0 {
        return Err(Error::Input(
            "there are no batches to learn from: too few pictures for one batch".into(),
        ));
    }
    let place = match run.resume {
        true => resume(learner, run, progress)?,
        false => Place::default(),
    };
    let mut fit = Fit {
        schedule: shortened(run.schedule, place.planned_steps),
        clock: Clock::start(run.config, place.elapsed_ms),
        planned: place.planned_steps.is_some(),
        learner,
        source,
        run,
        progress,
        place,
        batches,
    };
    let ended = fit.train()?;
    let fitted = fit.fitted(ended);
    fit.progress.finish(&fitted);
    Ok(fitted)
}

/// Brings learner and log back to the newest checkpoint.
fn resume<L: Learner>(learner: &mut L, run: &Run<'_>, progress: &mut dyn Progress) -> Result<Place> {
    let newest = checkpoint::load_newest(&run.folder.checkpoints(), run.identity)?;
    let place = match newest {
        Some(newest) => {
            for fault in newest.damaged {
                progress.message(&format!("left out: {fault}"));
            }
            let Checkpoint { place, state, .. } = newest.checkpoint;
            learner.load_state(state)?;
            progress.message(&format!("going on after step {}, in epoch {}", place.step, place.epoch + 1));
            place
        }
        None => {
            progress.message("no checkpoint was written yet; starting from the beginning");
            Place::default()
        }
    };
    run.folder.truncate_log(place.log_rows)?;
    Ok(place)
}

fn shortened(schedule: &Schedule, planned: Option<u64>) -> Cow<'_, Schedule> {
    match planned {
        Some(steps) => Cow::Owned(schedule.ending_at(steps)),
        None => Cow::Borrowed(schedule),
    }
}

/// A run in progress.
struct Fit<'a, L: Learner, S> {
    learner: &'a mut L,
    source: &'a S,
    run: &'a Run<'a>,
    progress: &'a mut dyn Progress,
    place: Place,
    clock: Clock,
    schedule: Cow<'a, Schedule>,
    /// Whether the minutes allowed were compared with the pace yet.
    planned: bool,
    batches: usize,
}

impl<L: Learner, S: BatchSource<Batch = L::Batch>> Fit<'_, L, S> {
    fn train(&mut self) -> Result<Ended> {
        self.progress.start(&self.position());
        loop {
            if self.place.epoch >= u64::from(self.run.config.epochs) {
                return Ok(Ended::Epochs);
            }
            if self.place.batch == 0 {
                let patience = u64::from(self.run.config.patience);
                if patience > 0 && self.place.stale >= patience {
                    self.progress.message(&format!("no better score for {patience} epochs; stopped early"));
                    return Ok(Ended::Patience);
                }
                if self.place.step > 0 && self.clock.time_is_up() {
                    return Ok(self.time_over());
                }
            }
            if self.run.interrupted.load(Ordering::SeqCst) {
                return self.interrupted();
            }
            self.epoch()?;
            if self.place.batch < self.batches as u64 {
                // So that a resumed run with more minutes goes on inside the epoch, the checkpoint stays there:
                // what this epoch's part is worth is evaluated and logged, but not counted.
                self.save()?;
                self.evaluate()?;
                return Ok(self.time_over());
            }
            self.finish_epoch()?;
        }
    }

    /// Takes the steps of the epoch from here on, all of them unless the time is up.
    fn epoch(&mut self) -> Result<()> {
        if self.place.step > 0 && self.clock.time_is_up() {
            return Ok(());
        }
        let source = self.source;
        let from = usize::try_from(self.place.batch).unwrap_or(usize::MAX).min(self.batches);
        for batch in source.epoch(self.place.epoch, from).take(self.batches - from) {
            self.step(batch?)?;
            self.progress.step(&self.position());
            if self.run.interrupted.load(Ordering::SeqCst) {
                return self.interrupted();
            }
            if self.clock.time_is_up() {
                return Ok(());
            }
            if self.clock.checkpoint_is_due() {
                self.save()?;
            }
            self.plan_once();
        }
        if self.place.batch < self.batches as u64 {
            return Err(Error::Input(format!(
                "epoch {} ended after {} of {} batches: the data changed while it was being read",
                self.place.epoch + 1,
                self.place.batch,
                self.batches
            )));
        }
        Ok(())
    }

    fn step(&mut self, batch: L::Batch) -> Result<()> {
        let Place { epoch, step, .. } = self.place;
        let context =
            StepContext { epoch, step, lr: self.schedule.lr(step), seed: seed::mix(&[self.run.seed, step]) };
        let StepReport { loss, examples, figures, notes } = self.learner.step(batch, &context)?;
        notes.iter().for_each(|note| self.progress.message(note));
        if !loss.is_finite() {
            return Err(self.diverged(&format!("the loss is {loss}")));
        }
        let place = &mut self.place;
        let add =
            |sum: &mut u64, value: f64| *sum = (f64::from_bits(*sum) + value * examples as f64).to_bits();
        add(&mut place.loss_sum, loss);
        if place.figure_sums.is_empty() {
            place.figure_sums = figures.iter().map(|(name, _)| (name.to_string(), 0)).collect();
        }
        for ((_, sum), (_, value)) in place.figure_sums.iter_mut().zip(&figures) {
            add(sum, *value);
        }
        place.examples += examples as u64;
        place.batch += 1;
        place.step += 1;
        self.clock.stepped(examples as u64);
        Ok(())
    }

    /// Evaluates, keeps the model if it is the best, writes the last one and a row of the log.
    fn evaluate(&mut self) -> Result<()> {
        let start = Instant::now();
        // Before anything is written: weights that are not numbers must not replace a good model.
        self.finite_state()?;
        self.progress.evaluating(&self.position());
        let evaluation = self.learner.evaluate()?;
        if !evaluation.score.is_finite() {
            return Err(self.diverged(&format!("the score is {}", evaluation.score)));
        }
        let best = self.place.best.is_none_or(|best| evaluation.score > f64::from_bits(best.score));
        if best {
            self.learner.write_model(&self.run.folder.best(), &evaluation)?;
            self.place.best = Some(Best { score: evaluation.score.to_bits(), epoch: self.place.epoch + 1 });
            self.place.stale = 0;
        } else {
            self.place.stale += 1;
        }
        self.learner.write_model(&self.run.folder.last(), &evaluation)?;
        self.clock.evaluated_since(start);
        self.log(&evaluation)?;
        self.progress.epoch(&self.position(), &evaluation, best);
        Ok(())
    }

    fn finish_epoch(&mut self) -> Result<()> {
        self.evaluate()?;
        let place = &mut self.place;
        place.log_rows += 1;
        place.epoch += 1;
        (place.batch, place.examples, place.loss_sum) = (0, 0, 0);
        place.figure_sums.clear();
        self.plan();
        self.save()
    }

    /// One row an epoch. The last column, seconds, is the only one that differs between two equal runs.
    fn log(&self, evaluation: &Evaluation) -> Result<()> {
        let at = self.position();
        let mut titles: Vec<String> = ["epoch", "step", "lr", "train_loss"].map(String::from).to_vec();
        let mut values = vec![
            at.epoch.to_string(),
            at.step.to_string(),
            format!("{:e}", at.lr),
            format!("{:.6}", at.loss),
        ];
        for (name, value) in &at.figures {
            titles.push(format!("train_{name}"));
            values.push(format!("{value:.6}"));
        }
        for (name, value) in &evaluation.figures {
            titles.push((*name).to_string());
            values.push(format!("{value:.6}"));
        }
        titles.push("seconds".into());
        values.push(format!("{:.1}", self.clock.elapsed().as_secs_f64()));
        self.run.folder.add_to_log(&titles, &values)
    }

    fn save(&mut self) -> Result<()> {
        let start = Instant::now();
        let state = self.finite_state()?;
        self.place.elapsed_ms = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let checkpoint = Checkpoint { run: self.run.identity.into(), place: self.place.clone(), state };
        let path = checkpoint::save(&self.run.folder.checkpoints(), &checkpoint)?;
        self.clock.checkpoint_saved();
        self.clock.rested_since(start);
        self.progress.checkpoint(&path);
        Ok(())
    }

    /// The learner's state, if all of it is numbers.
    fn finite_state(&self) -> Result<LearnerState> {
        let state = self.learner.state()?;
        match state.first_not_finite() {
            Some(name) => Err(self.diverged(&format!("`{name}` holds values that are not numbers"))),
            None => Ok(state),
        }
    }

    fn interrupted<T>(&mut self) -> Result<T> {
        if self.place.batch > 0 {
            self.save()?;
        }
        Err(Error::Interrupted(format!(
            "interrupted after step {}, in epoch {}; nothing is lost: go on with --resume",
            self.place.step,
            self.place.epoch + 1
        )))
    }

    fn diverged(&self, what: &str) -> Error {
        let Place { epoch, step, .. } = self.place;
        Error::Diverged(format!(
            "{what} at epoch {}, step {step} (learning rate {:.2e}); the last checkpoint is kept. Lower --lr, lengthen \
             the warm-up (schedule.warmup_epochs) or clip gradients (optimizer.clip_norm)",
            epoch + 1,
            self.schedule.lr(step)
        ))
    }

    fn time_over(&mut self) -> Ended {
        self.progress.message(&format!("the {} minutes allowed are over; stopped", self.run.config.minutes));
        Ended::Minutes
    }

    /// Compares the pace with the minutes allowed as soon as there is something to judge by.
    fn plan_once(&mut self) {
        const ENOUGH: f64 = 0.03;
        if let Some(limit) = self.clock.limit()
            && !self.planned
            && self.clock.elapsed() >= limit.mul_f64(ENOUGH)
        {
            self.plan();
            if let Some(steps) = self.place.planned_steps {
                self.progress.message(&format!(
                    "{} minutes are enough for about {:.1} of {} epochs; the learning rate follows that",
                    self.run.config.minutes,
                    steps as f64 / self.batches as f64,
                    self.run.config.epochs
                ));
            }
        }
    }

    /// Fits the schedule to the minutes allowed, while there is enough left of them to bother.
    fn plan(&mut self) {
        const LATE: f64 = 0.8;
        let Some(limit) = self.clock.limit() else { return };
        let elapsed = self.clock.elapsed();
        if elapsed < limit.mul_f64(LATE) {
            self.place.planned_steps =
                planned_steps(self.place.step, self.run.schedule.steps(), elapsed, limit);
            self.schedule = shortened(self.run.schedule, self.place.planned_steps);
        }
        self.planned = true;
    }

    fn position(&self) -> Position {
        let Place { epoch, batch, step, examples, .. } = self.place;
        let mean = |sum: u64| f64::from_bits(sum) / examples as f64;
        let epochs = u64::from(self.run.config.epochs);
        let steps = self.place.planned_steps.unwrap_or(epochs * self.batches as u64);
        let left = steps.saturating_sub(step);
        Position {
            epoch: (epoch + 1).min(epochs),
            epochs,
            batch: batch as usize,
            batches: self.batches,
            step,
            steps,
            lr: self.schedule.lr(step.saturating_sub(1)),
            loss: mean(self.place.loss_sum),
            figures: self.place.figure_sums.iter().map(|(name, sum)| (name.clone(), mean(*sum))).collect(),
            rate: self.clock.rate(),
            seconds_left: self.clock.seconds_left(left, left.div_ceil(self.batches as u64)),
        }
    }

    fn fitted(&self, ended: Ended) -> Fitted {
        Fitted {
            epochs: self.place.epoch,
            steps: self.place.step,
            best: self.place.best.map_or(f64::NAN, |best| f64::from_bits(best.score)),
            best_epoch: self.place.best.map_or(0, |best| best.epoch),
            seconds: self.clock.elapsed().as_secs_f64(),
            ended,
        }
    }
}

#[cfg(test)]
mod tests;
