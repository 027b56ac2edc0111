//! Work worth timing: the layers of well-known networks, each pass by itself, and the processor's own limit.

mod convolutions;
mod memory;

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::simd::{Kernel, Level, Simd};

/// One pass of one layer.
#[derive(Clone, Debug)]
pub struct Work {
    /// The network and the layer.
    pub layer: &'static str,
    /// The pass.
    pub pass: &'static str,
    make: Make,
}

/// Allocates what the pass needs, so that only what is timed holds memory.
#[derive(Clone, Copy, Debug)]
enum Make {
    Convolution(&'static convolutions::Layer, crate::Pass),
    Memory(usize),
}

/// A pass with its memory.
pub struct Ready {
    /// Floating-point operations of the definition (a fast algorithm does fewer); zero where memory is the limit.
    pub operations: f64,
    /// Bytes of all tensors that are read or written.
    pub bytes: f64,
    run: Box<dyn FnMut() + Send>,
}

impl Ready {
    /// Runs the pass once.
    pub fn run(&mut self) {
        (self.run)();
    }
}

impl Work {
    /// Everything there is, by network.
    pub fn all() -> Vec<Work> {
        let mut all = convolutions::all();
        all.extend(memory::all());
        all
    }

    /// The pass, ready to run.
    pub fn ready(&self) -> Ready {
        match self.make {
            Make::Convolution(layer, pass) => convolutions::ready(layer, pass),
            Make::Memory(index) => memory::ready(index),
        }
    }
}

/// The median and the least time of `run`, of at least three runs and `least` time, after one that warms up.
pub fn time(least: Duration, mut run: impl FnMut()) -> [Duration; 2] {
    run();
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 3 || begin.elapsed() < least {
        let start = Instant::now();
        run();
        times.push(start.elapsed());
    }
    times.sort();
    [times[times.len() / 2], times[0]]
}

/// Floating-point operations a second that all threads reach together with sums that never leave the registers: what
/// no kernel can exceed, but an algorithm that multiplies less than the definition.
pub fn peak() -> f64 {
    const ROUNDS: usize = 1 << 16;
    let mut operations = 0.0;
    let [_, best] = time(Duration::from_millis(300), || {
        operations = rayon::broadcast(|_| {
            let (mut operations, mut sum) = (0, 0.0);
            Level::best().run(Multiply {
                rounds: black_box(ROUNDS),
                operations: &mut operations,
                sum: &mut sum,
            });
            black_box(sum);
            operations as f64
        })
        .into_iter()
        .sum();
    });
    operations / best.as_secs_f64()
}

/// Chains of multiply-adds, as many as hide each other's latency.
struct Multiply<'a> {
    rounds: usize,
    operations: &'a mut usize,
    sum: &'a mut f32,
}

impl Kernel for Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const CHAINS: usize = 12;
        let (factor, summand) = (s.splat(black_box(0.5)), s.splat(black_box(1.0)));
        let mut chains = [s.zero(); CHAINS];
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = s.fma(*chain, factor, summand);
            }
        }
        let mut lanes = [0.0; 16];
        let total = chains.into_iter().fold(s.zero(), |total, chain| s.add(total, chain));
        // SAFETY: a vector has at most sixteen lanes.
        unsafe { s.store(lanes.as_mut_ptr(), total) };
        *self.sum = lanes.iter().sum();
        *self.operations = 2 * CHAINS * S::LANES * self.rounds;
    }
}

/// Numbers in [-1, 1), the same each time.
fn values(len: usize) -> Vec<f32> {
    let mut state = 88_172_645_463_325_252u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn chains_count_their_operations_and_reach_their_limit() {
        // 0, 1, 1.5, 1.75, … towards 2; twelve chains in sixteen lanes, or as many as there are.
        let (mut operations, mut sum) = (0, 0.0);
        Level::best().run(Multiply { rounds: 60, operations: &mut operations, sum: &mut sum });
        let lanes = operations / (2 * 12 * 60);
        assert_eq!(operations, 2 * 12 * 60 * lanes);
        assert_eq!(sum, (2 * 12 * lanes) as f32);
    }

    #[test]
    fn every_layer_can_be_made_and_no_two_are_called_the_same() {
        let all = Work::all();
        let mut names: Vec<_> = all.iter().map(|work| (work.layer, work.pass)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        // The smallest of each kind; all of them run in `opticus bench kernels`.
        for name in ["mobilenet dw 960 5×5 @7", "relu 16×64×56×56"] {
            for work in all.iter().filter(|work| work.layer == name) {
                let mut ready = work.ready();
                ready.run();
                assert!(ready.bytes > 0.0, "{work:?}");
            }
        }
    }

    #[test]
    fn the_median_is_no_less_than_the_least() {
        let mut runs = 0;
        let [median, least] = time(Duration::ZERO, || runs += 1);
        assert!(median >= least);
        assert_eq!(runs, 4);
    }
}
