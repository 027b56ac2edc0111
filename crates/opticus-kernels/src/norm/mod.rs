//! Batch normalisation (Ioffe and Szegedy 2015, "Batch Normalization", algorithm 1) with what usually follows it,
//! the sum with a residual and relu, and their gradients.
//!
//! The work goes channel by channel: a thread that has measured a channel transforms it while it is still in the
//! second cache, so that memory is read once and written once.

mod backward;
mod modulate;
mod shape;
mod statistics;

#[cfg(test)]
mod tests;

use rayon::prelude::*;

pub use backward::{BatchNormGradients, BatchNormUpstream, batch_norm_backward};
pub use modulate::{Modulation, ModulationGradients, ModulationUpstream, modulate, modulate_backward};
pub use shape::{NormFault, NormShape, NormShapeError};

use crate::partition::{CHUNK, check_len};
use crate::simd::{Kernel, Shared, SharedMut, Simd, first};
use shape::Run;
use statistics::{Measure, Moments};

/// What batch normalisation is given: `out = relu(gamma · (x − mean) / √(variance + epsilon) + beta + residual)`.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Input, `[batch, channels, plane]`.
    pub x: &'a [f32],
    /// Factor of each channel.
    pub gamma: &'a [f32],
    /// Summand of each channel.
    pub beta: &'a [f32],
    /// Added to the variance; above zero.
    pub epsilon: f32,
    /// Added to the result, of the shape of `x`.
    pub residual: Option<&'a [f32]>,
    /// Whether negative results become zero.
    pub relu: bool,
}

/// Normalises with the statistics of the batch, and gives them: the mean of each channel, and its variance
/// (divided by the number of values, not by one less).
///
/// # Panics
/// If a slice has another length than `shape` says, or `shape` was made for inference and has no values.
pub fn batch_norm_train(
    shape: &NormShape,
    job: &BatchNorm,
    out: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    job.check(shape, out.len());
    check_len("mean", mean.len(), shape.channels);
    check_len("variance", variance.len(), shape.channels);
    assert!(shape.per_channel() > 0, "the batch has no values");
    let task = Transform::new(shape, job, out);
    let measured = |channel: usize, moments: Moments, mean: &mut f32, variance: &mut f32| {
        (*mean, *variance) = (moments.mean as f32, moments.variance() as f32);
        Affine {
            center: *mean,
            scale: (f64::from(job.gamma[channel]) / (moments.variance() + f64::from(job.epsilon)).sqrt())
                as f32,
            shift: job.beta[channel],
        }
    };
    let whole = 0..shape.runs();
    let channel = |(channel, (mean, variance)): (usize, (&mut f32, &mut f32))| {
        let moments = Measure::of(shape, job.x, channel, whole.clone());
        task.run(channel, whole.clone(), measured(channel, moments, mean, variance));
    };
    match Cut::of(shape) {
        Cut::None => mean.iter_mut().zip(variance).enumerate().for_each(channel),
        Cut::Channels(least) => {
            mean.par_iter_mut().zip(variance).enumerate().with_min_len(least).for_each(channel);
        }
        Cut::Runs(per_task) => {
            let parts = by_runs(shape, per_task, |channel, runs| Measure::of(shape, job.x, channel, runs));
            let affine: Vec<Affine> = parts
                .chunks(parts.len() / shape.channels)
                .zip(mean.iter_mut().zip(variance))
                .enumerate()
                .map(|(channel, (parts, (mean, variance)))| {
                    let moments = parts.iter().fold(Moments::default(), |all, &part| all.merge(part));
                    measured(channel, moments, mean, variance)
                })
                .collect();
            by_runs(shape, per_task, |channel, runs| task.run(channel, runs, affine[channel]));
        }
    }
}

/// Normalises with statistics that are given for each channel: the running ones of an evaluated network.
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn batch_norm_infer(shape: &NormShape, job: &BatchNorm, mean: &[f32], variance: &[f32], out: &mut [f32]) {
    job.check(shape, out.len());
    check_len("mean", mean.len(), shape.channels);
    check_len("variance", variance.len(), shape.channels);
    let task = Transform::new(shape, job, out);
    let affine = |channel: usize| Affine {
        center: mean[channel],
        scale: job.gamma[channel] / (variance[channel] + job.epsilon).sqrt(),
        shift: job.beta[channel],
    };
    let whole = 0..shape.runs();
    match Cut::of(shape) {
        Cut::None => (0..shape.channels).for_each(|c| task.run(c, whole.clone(), affine(c))),
        Cut::Channels(least) => {
            let channels = (0..shape.channels).into_par_iter().with_min_len(least);
            channels.for_each(|c| task.run(c, whole.clone(), affine(c)));
        }
        Cut::Runs(per_task) => {
            by_runs(shape, per_task, |channel, runs| task.run(channel, runs, affine(channel)));
        }
    }
}

impl BatchNorm<'_> {
    fn check(&self, shape: &NormShape, out: usize) {
        check_len("input", self.x.len(), shape.len());
        check_len("gamma", self.gamma.len(), shape.channels);
        check_len("beta", self.beta.len(), shape.channels);
        check_len("output", out, shape.len());
        if let Some(residual) = self.residual {
            check_len("residual", residual.len(), shape.len());
        }
    }
}

/// How the work is spread over threads.
enum Cut {
    /// Not at all.
    None,
    /// By channel, so many at least to a task.
    Channels(usize),
    /// Where channels are too few: also within channels, so many runs to a task.
    Runs(usize),
}

/// Fewer channels than this cannot keep the threads of a machine busy.
const FEW_CHANNELS: usize = 16;

impl Cut {
    fn of(shape: &NormShape) -> Cut {
        if shape.len() <= CHUNK {
            return Cut::None;
        }
        let values = shape.per_channel();
        if shape.channels < FEW_CHANNELS && values > CHUNK {
            return Cut::Runs((CHUNK * shape.runs()).div_ceil(values));
        }
        // Neighbours in one task: threads do not write to the same cache lines.
        let lines = 256usize.div_ceil(shape.plane.max(1));
        Cut::Channels((CHUNK / values.max(1)).max(lines).clamp(1, shape.channels))
    }
}

/// Calls `f` with each channel and each block of `per_task` of its runs, on all threads; the results in order.
fn by_runs<T: Send>(
    shape: &NormShape,
    per_task: usize,
    f: impl Fn(usize, std::ops::Range<usize>) -> T + Sync,
) -> Vec<T> {
    let runs = shape.runs();
    let blocks = runs.div_ceil(per_task);
    (0..shape.channels * blocks)
        .into_par_iter()
        .map(|i| {
            let first = i % blocks * per_task;
            f(i / blocks, first..(first + per_task).min(runs))
        })
        .collect()
}

/// The transform of one channel: `(x − center) · scale + shift`.
#[derive(Clone, Copy)]
struct Affine {
    center: f32,
    scale: f32,
    shift: f32,
}

/// The transform of a tensor.
#[derive(Clone, Copy)]
struct Transform<'a> {
    shape: &'a NormShape,
    x: Shared,
    residual: Option<Shared>,
    relu: bool,
    out: SharedMut,
}

impl<'a> Transform<'a> {
    fn new(shape: &'a NormShape, job: &BatchNorm, out: &mut [f32]) -> Transform<'a> {
        Transform {
            shape,
            x: Shared(job.x.as_ptr()),
            residual: job.residual.map(|r| Shared(r.as_ptr())),
            relu: job.relu,
            out: SharedMut(out.as_mut_ptr()),
        }
    }

    /// Transforms some runs of a channel. No two calls at once may be given the same run.
    fn run(&self, channel: usize, runs: std::ops::Range<usize>, affine: Affine) {
        self.shape.level.run(TransformRuns { task: *self, channel, runs, affine });
    }
}

struct TransformRuns<'a> {
    task: Transform<'a>,
    channel: usize,
    runs: std::ops::Range<usize>,
    affine: Affine,
}

impl Kernel for TransformRuns<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for index in self.runs.clone() {
            let run = self.task.shape.run(self.channel, index);
            match (self.task.residual, self.task.relu) {
                (None, false) => transform::<S, false, false>(s, &self.task, self.affine, run),
                (None, true) => transform::<S, false, true>(s, &self.task, self.affine, run),
                (Some(_), false) => transform::<S, true, false>(s, &self.task, self.affine, run),
                (Some(_), true) => transform::<S, true, true>(s, &self.task, self.affine, run),
            }
        }
    }
}

#[inline(always)]
fn transform<S: Simd, const RESIDUAL: bool, const RELU: bool>(
    s: S,
    task: &Transform,
    affine: Affine,
    run: Run,
) {
    let (center, scale, shift) = (s.splat(affine.center), s.splat(affine.scale), s.splat(affine.shift));
    for image in 0..run.images {
        let offset = run.start + image * run.stride;
        let x = task.x.get().wrapping_add(offset);
        let residual = task.residual.unwrap_or(task.x).get().wrapping_add(offset);
        let out = task.out.get().wrapping_add(offset);
        for i in (0..run.len).step_by(S::LANES) {
            let n = run.len - i;
            // SAFETY: the run lies inside the tensors, whose lengths were checked; no other task has it.
            unsafe {
                let mut y = s.fma(s.sub(load(s, x.add(i), n), center), scale, shift);
                if RESIDUAL {
                    y = s.add(y, load(s, residual.add(i), n));
                }
                if RELU {
                    // The operand order keeps NaN.
                    y = s.max(s.zero(), y);
                }
                store(s, out.add(i), y, n);
            }
        }
    }
}

/// The next vector, of which `n` values are there.
///
/// # Safety
/// `n` values, or `LANES` if that is less, must be readable.
#[inline(always)]
unsafe fn load<S: Simd>(s: S, p: *const f32, n: usize) -> S::V {
    // SAFETY: forwarded.
    unsafe { if n >= S::LANES { s.load(p) } else { s.load_masked(p, first(n)) } }
}

/// Writes the next vector, of which `n` values are there.
///
/// # Safety
/// `n` values, or `LANES` if that is less, must be writable.
#[inline(always)]
unsafe fn store<S: Simd>(s: S, p: *mut f32, v: S::V, n: usize) {
    // SAFETY: forwarded.
    unsafe { if n >= S::LANES { s.store(p, v) } else { s.store_masked(p, v, first(n)) } }
}
