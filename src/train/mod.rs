//! The training loop of every job: it knows no job's name.
//!
//! A job implements [`Learner`] (one step, one evaluation, its state) and [`BatchSource`] (the batches of an
//! epoch from any batch on); [`fit::fit`] does the rest.

pub mod checkpoint;
pub mod ema;
pub mod fit;
pub mod learner;
pub mod optimizer;
pub mod progress;
pub mod run;
pub mod schedule;
pub mod seed;

pub use ema::{Ema, EmaConfig};
pub use fit::{FitConfig, Fitted, fit};
pub use learner::{BatchSource, Evaluation, Learner, LearnerState, StepContext, StepReport};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use progress::{Progress, Silent};
pub use run::RunFolder;
pub use schedule::{Schedule, ScheduleConfig};
