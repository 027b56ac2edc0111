//! The loop: a learner, its batches, and everything that must survive an interruption.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Position};
use super::learner::{BatchSource, Evaluation, Learner, StepContext};
use super::progress::{self, Progress};
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
    /// Stop after this many minutes of training, whichever comes first; 0: no such bound.
    pub minutes: f64,
    /// Examples a step.
    pub batch_size: usize,
    /// Steps whose gradients are added up before the optimiser moves.
    pub accumulate: usize,
    /// Stop after this many epochs without a better score; 0: never.
    pub patience: u32,
    /// Minutes between checkpoints inside an epoch; one is also written after every epoch.
    pub checkpoint_minutes: f64,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self { epochs: 30, minutes: 0.0, batch_size: 32, accumulate: 1, patience: 0, checkpoint_minutes: 5.0 }
    }
}

impl FitConfig {
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
        if !(1..=65_536).contains(&self.accumulate) {
            return refuse(format!("fit.accumulate is {}; it must be 1 to 65536", self.accumulate));
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
pub struct Run<'a> {
    /// Where it leaves its files.
    pub folder: &'a RunFolder,
    /// The loop's configuration, valid.
    pub config: &'a FitConfig,
    /// The learning rate of every step.
    pub schedule: &'a Schedule,
    /// Seed of the steps' randomness.
    pub seed: u64,
    /// What makes this run this run: a checkpoint with another identity is refused.
    pub identity: &'a str,
    /// Go on from the newest checkpoint.
    pub resume: bool,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Epochs finished.
    pub epochs: u64,
    /// The best score; its weights are in `best.safetensors`.
    pub best: f64,
    /// Seconds of training, earlier parts of a resumed run included.
    pub seconds: f64,
}

/// Trains until the last epoch, the allowed minutes or the end of patience, whichever comes first.
///
/// Writes `log.csv`, `checkpoints/`, `best.safetensors` and `last.safetensors` into the run folder. A resumed run
/// gives the weights and the log (but for times) of one that was never stopped.
///
/// # Errors
/// [`Error::Interrupted`] after Ctrl-C, with a checkpoint written; [`Error::Diverged`] if the loss is no longer a
/// number, with the last good checkpoint kept; whatever the learner, its batches or the disk report.
pub fn fit<L, S>(learner: &mut L, batches: &S, run: &Run<'_>, progress: &mut dyn Progress) -> Result<Fitted>
where
    L: Learner,
    S: BatchSource<Batch = L::Batch>,
{
    run.config.validate()?;
    let mut at = Position { run: run.identity.to_string(), ..Position::default() };
    if run.resume {
        match checkpoint::load_newest(&run.folder.checkpoints(), run.identity)? {
            Some((position, state, damaged)) => {
                for fault in damaged {
                    progress.message(&format!("left out a damaged checkpoint: {fault}"));
                }
                learner.load_state(state)?;
                at = position;
                progress.message(&format!("resumed after step {} (epoch {})", at.step, at.epoch + 1));
            }
            None => progress.message("no checkpoint yet; starting from the beginning"),
        }
        run.folder.truncate_log(at.log_rows)?;
    }
    let mut clock = Clock::new(at.elapsed_ms, run.config);
    while at.epoch < u64::from(run.config.epochs) {
        for batch in batches.epoch(at.epoch, at.batch as usize) {
            step(learner, batch?, &mut at, run)?;
            progress.step(&clock.position(&at, batches.batches(), run.config));
            if run.interrupted.load(Ordering::SeqCst) {
                save(learner, &mut at, run, &mut clock, progress)?;
                return Err(Error::Interrupted(format!(
                    "interrupted at step {}; nothing is lost: go on with --resume",
                    at.step
                )));
            }
            if clock.time_is_up() {
                break;
            }
            if clock.checkpoint_is_due() {
                save(learner, &mut at, run, &mut clock, progress)?;
            }
        }
        finish_epoch(learner, &mut at, run, &mut clock, batches.batches(), progress)?;
        let patience = u64::from(run.config.patience);
        if patience > 0 && at.stale >= patience && at.epoch < u64::from(run.config.epochs) {
            progress.message(&format!("no better score for {patience} epochs; stopped early"));
            break;
        }
        if clock.time_is_up() && at.epoch < u64::from(run.config.epochs) {
            progress.message(&format!("{} minutes are over; stopped", run.config.minutes));
            break;
        }
    }
    progress.finish();
    Ok(Fitted {
        epochs: at.epoch,
        best: at.best.map_or(f64::NAN, f64::from_bits),
        seconds: clock.elapsed().as_secs_f64(),
    })
}

fn step<L: Learner>(learner: &mut L, batch: L::Batch, at: &mut Position, run: &Run<'_>) -> Result<()> {
    let context = StepContext {
        epoch: at.epoch,
        step: at.step,
        lr: run.schedule.lr(at.step),
        seed: seed::mix(&[run.seed, at.step]),
    };
    let report = learner.step(batch, &context)?;
    if !report.loss.is_finite() {
        return Err(Error::Diverged(format!(
            "the loss is {} at epoch {}, step {} (learning rate {:.2e}); the last checkpoint is kept. Lower --lr, \
             add warm-up (schedule.warmup_epochs) or clip gradients (optimizer.clip_norm)",
            report.loss,
            at.epoch + 1,
            at.step,
            context.lr
        )));
    }
    let examples = report.examples as f64;
    let add = |sum: &mut u64, value: f64| *sum = (f64::from_bits(*sum) + value * examples).to_bits();
    add(&mut at.loss_sum, report.loss);
    add(&mut at.figure_sum, report.figure.unwrap_or(0.0));
    at.examples += report.examples as u64;
    at.batch += 1;
    at.step += 1;
    Ok(())
}

fn finish_epoch<L: Learner>(
    learner: &mut L,
    at: &mut Position,
    run: &Run<'_>,
    clock: &mut Clock,
    batches: usize,
    progress: &mut dyn Progress,
) -> Result<()> {
    let evaluation = learner.evaluate()?;
    let position = clock.position(at, batches, run.config);
    if !evaluation.score.is_finite() {
        return Err(Error::Diverged(format!(
            "the score is {} after epoch {}: the weights are no longer numbers. The last checkpoint is kept; lower --lr",
            evaluation.score, position.epoch
        )));
    }
    let best = at.best.is_none_or(|b| evaluation.score > f64::from_bits(b));
    if best {
        learner.write_model(&run.folder.file("best.safetensors"), &evaluation)?;
        at.best = Some(evaluation.score.to_bits());
        at.stale = 0;
    } else {
        at.stale += 1;
    }
    learner.write_model(&run.folder.file("last.safetensors"), &evaluation)?;
    log(run, at, &evaluation, clock)?;
    progress.epoch(&position, &evaluation, best);
    at.log_rows += 1;
    at.epoch += 1;
    (at.batch, at.loss_sum, at.figure_sum, at.examples) = (0, 0, 0, 0);
    save(learner, at, run, clock, progress)
}

/// One row an epoch. `seconds` is the only column that differs between two equal runs.
fn log(run: &Run<'_>, at: &Position, evaluation: &Evaluation, clock: &Clock) -> Result<()> {
    let examples = (at.examples as f64).max(1.0);
    let mut columns = vec!["epoch", "step", "lr", "train_loss", "train_figure"];
    let mut values = vec![
        (at.epoch + 1).to_string(),
        at.step.to_string(),
        format!("{:e}", run.schedule.lr(at.step.saturating_sub(1))),
        format!("{:.6}", f64::from_bits(at.loss_sum) / examples),
        format!("{:.6}", f64::from_bits(at.figure_sum) / examples),
    ];
    for (name, value) in &evaluation.figures {
        columns.push(name);
        values.push(format!("{value:.6}"));
    }
    columns.push("seconds");
    values.push(format!("{:.1}", clock.elapsed().as_secs_f64()));
    run.folder.log(&columns, &values)
}

fn save<L: Learner>(
    learner: &L,
    at: &mut Position,
    run: &Run<'_>,
    clock: &mut Clock,
    progress: &mut dyn Progress,
) -> Result<()> {
    at.elapsed_ms = clock.elapsed().as_millis() as u64;
    let path = checkpoint::save(&run.folder.checkpoints(), at, &learner.state()?)?;
    clock.saved = Instant::now();
    progress.checkpoint(&path);
    Ok(())
}

/// Time, kept apart from everything that must be reproducible.
struct Clock {
    started: Instant,
    before: Duration,
    saved: Instant,
    limit: Option<Duration>,
    interval: Duration,
    /// Steps and examples of this process, for the rate.
    first: Option<(u64, u64)>,
}

impl Clock {
    fn new(elapsed_ms: u64, config: &FitConfig) -> Self {
        let minutes = |m: f64| Duration::try_from_secs_f64(m * 60.0).unwrap_or(Duration::MAX);
        Self {
            started: Instant::now(),
            before: Duration::from_millis(elapsed_ms),
            saved: Instant::now(),
            limit: (config.minutes > 0.0).then(|| minutes(config.minutes)),
            interval: minutes(config.checkpoint_minutes),
            first: None,
        }
    }

    fn elapsed(&self) -> Duration {
        self.before.saturating_add(self.started.elapsed())
    }

    fn time_is_up(&self) -> bool {
        self.limit.is_some_and(|limit| self.elapsed() >= limit)
    }

    fn checkpoint_is_due(&self) -> bool {
        !self.interval.is_zero() && self.saved.elapsed() >= self.interval
    }

    fn position(&mut self, at: &Position, batches: usize, config: &FitConfig) -> progress::Position {
        let per_step = at.examples as f64 / (at.batch as f64).max(1.0);
        let first = *self.first.get_or_insert((at.step.saturating_sub(1), 0));
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let steps_per_second = (at.step - first.0) as f64 / seconds;
        let left = (u64::from(config.epochs) * batches as u64).saturating_sub(at.step) as f64;
        let by_steps = left / steps_per_second.max(1e-9);
        let by_time = self.limit.map_or(f64::INFINITY, |l| l.saturating_sub(self.elapsed()).as_secs_f64());
        let examples = (at.examples as f64).max(1.0);
        progress::Position {
            epoch: at.epoch + 1,
            epochs: u64::from(config.epochs),
            batch: at.batch as usize,
            batches,
            loss: f64::from_bits(at.loss_sum) / examples,
            figure: Some(f64::from_bits(at.figure_sum) / examples),
            rate: steps_per_second * per_step,
            seconds_left: by_steps.min(by_time),
        }
    }
}
