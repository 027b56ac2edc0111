//! Whole networks at inference, faster than operation by operation.
//!
//! A network is written down with a [`Builder`] as plain operations. [`Builder::finish`] folds per-channel scales
//! into the convolutions before them, hands activations and residual sums to the convolution that they follow, and
//! gives a [`Program`]. The first run for a shape chooses an algorithm for each convolution, packs its weights for it
//! once, and lays all activations out in one reused arena.
//!
//! ```
//! use opticus_kernels::inference::Builder;
//! use opticus_kernels::{Conv2d, Function};
//!
//! let (mut net, x) = Builder::new(3);
//! let y = net.conv(x, Conv2d { padding: [1, 1], ..Conv2d::new(3, 8, [3, 3]) }, vec![0.1; 8 * 3 * 9], None);
//! let y = net.affine(y, &[2.0; 8], &[1.0; 8]);
//! let y = net.apply(y, Function::Relu);
//! let program = net.finish(&[y])?;
//! let outputs = program.run(&[1.0; 3 * 32 * 32], [1, 3, 32, 32])?;
//! assert_eq!(outputs[0].shape, [1, 8, 32, 32]);
//! # Ok::<(), opticus_kernels::inference::ProgramError>(())
//! ```

mod builder;
mod depthwise;
mod direct;
mod fuse;
mod map;
mod pack;
#[cfg(test)]
mod plain;
mod pool;
mod schedule;
mod shapes;
mod step;
mod team;
#[cfg(test)]
mod tests;
pub(crate) mod tile;
mod winograd;

pub use builder::{Builder, Source, Value};
pub use shapes::ProgramError;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuse::Network;
use pack::Weights;
use schedule::Schedule;
use step::Memory;

use crate::Algorithm;
use crate::scratch::Scratch;
use crate::simd::{Level, SharedMut};

/// A network that can be run, by many threads at once.
#[derive(Debug)]
pub struct Program {
    network: Network,
    weights: Weights,
    level: Level,
    algorithm: Option<Algorithm>,
    recent: Mutex<Recent>,
}

/// What was decided for the shapes that ran last, and arenas that nobody uses.
#[derive(Debug, Default)]
struct Recent {
    schedules: Vec<([usize; 4], Arc<Schedule>)>,
    arenas: Vec<Arena>,
}

impl Recent {
    fn schedule(&self, shape: [usize; 4]) -> Option<Arc<Schedule>> {
        self.schedules.iter().find(|(known, _)| *known == shape).map(|(_, schedule)| schedule.clone())
    }

    /// Makes this the last one used, which is forgotten last.
    fn remember(&mut self, shape: [usize; 4], schedule: &Arc<Schedule>) {
        self.schedules.retain(|(known, _)| *known != shape);
        self.schedules.push((shape, schedule.clone()));
        if self.schedules.len() > REMEMBERED {
            self.schedules.remove(0);
        }
    }
}

struct Arena(Scratch);

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arena({} values)", self.0.len())
    }
}

/// Shapes that are remembered: those of whole and last batches, or of pictures of some sizes.
const REMEMBERED: usize = 4;

/// One output of a [`Program`].
#[derive(Clone, PartialEq, Debug)]
pub struct Output {
    /// `[batch, channels, height, width]`; vectors have a height and width of 1.
    pub shape: [usize; 4],
    /// The values in that order.
    pub values: Vec<f32>,
}

impl Program {
    fn new(network: Network) -> Program {
        Program {
            network,
            weights: Weights::default(),
            level: Level::best(),
            algorithm: None,
            recent: Mutex::default(),
        }
    }

    /// The same program at another instruction set.
    ///
    /// # Panics
    /// If the processor lacks it.
    pub fn at(self, level: Level) -> Program {
        assert!(Level::available().contains(&level), "{level:?} is not available on this processor");
        Program { level, weights: Weights::default(), recent: Mutex::default(), ..self }
    }

    /// The same program with one algorithm for the convolutions that can choose between [`Algorithm::Implicit`] and
    /// [`Algorithm::Winograd`].
    pub fn by(self, algorithm: Algorithm) -> Program {
        Program { algorithm: Some(algorithm), weights: Weights::default(), recent: Mutex::default(), ..self }
    }

    /// The outputs for the batch `x` of this `shape` (`[batch, channels, height, width]`), in the order they were
    /// asked for. The result of a picture does not depend, to the bit, on the company in its batch, nor on the
    /// number of threads.
    ///
    /// # Errors
    /// Shapes that an operation of the network cannot work on, and a length of `x` that is not the shape's.
    pub fn run(&self, x: &[f32], shape: [usize; 4]) -> Result<Vec<Output>, ProgramError> {
        let shapes = shapes::of(&self.network.nodes, shape)?;
        if x.len() != shape.iter().product::<usize>() {
            return Err(ProgramError::input_length(x.len(), shape));
        }
        let outputs = self.network.outputs.iter().map(|&output| shapes[output]);
        if shapes.iter().flatten().any(|&side| side == 0) {
            // Nothing to compute with.
            return Ok(outputs
                .map(|shape| Output { shape, values: vec![0.0; shape.iter().product()] })
                .collect());
        }
        let (schedule, mut arena) = self.prepare(shape, &shapes);
        let memory = Memory { input: x, arena: SharedMut(arena.0.as_mut_ptr()) };
        team::run(&schedule.tasks, |phase, mut task| {
            for step in &schedule.phases[phase] {
                let tasks = step.tasks();
                if task < tasks {
                    // SAFETY: the arena holds all maps of the schedule, whose phases write before they read and
                    // give each value a place of its own while it lives; the team runs each task once.
                    unsafe { step.run(self.level, &memory, task) };
                    return;
                }
                task -= tasks;
            }
        });
        let outputs = outputs
            .zip(&schedule.outputs)
            // SAFETY: every output is written.
            .map(|(shape, map)| Output { shape, values: unsafe { step::export(map, memory.arena) } })
            .collect();
        let mut recent = self.recent();
        if recent.arenas.len() < REMEMBERED {
            recent.arenas.push(arena);
        }
        Ok(outputs)
    }

    /// The schedule for this shape, and an arena for it.
    fn prepare(&self, shape: [usize; 4], shapes: &[[usize; 4]]) -> (Arc<Schedule>, Arena) {
        let known = self.recent().schedule(shape);
        // Not under the lock: packing is parallel, and a thread that waits for others may run other work meanwhile,
        // which may come here.
        let schedule = known.unwrap_or_else(|| {
            let made = Schedule::new(&self.network, shapes, &self.weights, self.level, self.algorithm);
            Arc::new(made)
        });
        let mut recent = self.recent();
        recent.remember(shape, &schedule);
        let arena = match recent.arenas.iter().position(|arena| arena.0.len() >= schedule.arena) {
            Some(at) => recent.arenas.swap_remove(at),
            None => Arena(Scratch::new(schedule.arena)),
        };
        (schedule, arena)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
