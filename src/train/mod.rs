//! The training loop of every job: it knows no job's name.
//!
//! A job implements [`Learner`] (one step, one evaluation, its state) and [`BatchSource`] (the batches of an epoch
//! from any batch on); [`fit`](fit()) does the rest: learning rate, log, best and last model, checkpoints, early
//! stopping, interruption and resumption. A resumed run equals the uninterrupted one bit for bit, because all that
//! is random is a pure function of the seed and the step, and a checkpoint holds everything else.

pub mod checkpoint;
mod clock;
pub mod ema;
pub mod fit;
pub mod learner;
mod names;
pub mod optimizer;
pub mod order;
pub mod progress;
pub mod run;
pub mod schedule;
pub mod seed;
mod values;

pub use ema::{Ema, EmaConfig};
pub use fit::{Ended, FitConfig, Fitted, Run, fit};
pub use learner::{BatchSource, Evaluation, Figures, Learner, LearnerState, StepContext, StepReport};
pub use optimizer::{Optimizer, OptimizerConfig, Rule};
pub use order::{Course, Order, RunConfig};
pub use progress::{Position, Progress, Silent};
pub use run::{Existing, RunFolder};
pub use schedule::{Schedule, ScheduleConfig, Shape};
