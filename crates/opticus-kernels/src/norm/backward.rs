//! Gradients of batch normalisation, in two passes of which the second finds its values in the cache.
//!
//! With `x̂ = (x − mean) / √(variance + ε)` and `N` values a channel:
//! `dβ = Σ dy`, `dγ = Σ dy·x̂`, and `dx = γ / √(variance + ε) · (dy − dβ/N − x̂·dγ/N)`.

use std::ops::Range;

use rayon::prelude::*;

use super::shape::{NormShape, Run};
use super::statistics::total;
use super::{Cut, by_runs, load, store};
use crate::partition::check_len;
use crate::simd::{Kernel, Shared, SharedMut, Simd};

/// What the gradients are computed from.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormUpstream<'a> {
    /// Input of the forward pass, `[batch, channels, plane]`.
    pub x: &'a [f32],
    /// Output of the forward pass, where that ended in relu.
    pub relu: Option<&'a [f32]>,
    /// Gradient of the output.
    pub dy: &'a [f32],
    /// Factor of each channel.
    pub gamma: &'a [f32],
    /// Mean of each channel, as the forward pass used it.
    pub mean: &'a [f32],
    /// Variance of each channel, as the forward pass used it.
    pub variance: &'a [f32],
    /// As in the forward pass.
    pub epsilon: f32,
    /// Whether mean and variance were given (inference, frozen layers), not those of the batch.
    pub frozen: bool,
}

/// Where the gradients go; all are overwritten.
#[derive(Debug)]
pub struct BatchNormGradients<'a> {
    /// Of the input.
    pub dx: &'a mut [f32],
    /// Of the factors.
    pub dgamma: &'a mut [f32],
    /// Of the summands.
    pub dbeta: &'a mut [f32],
    /// Of the residual: `dy` where the output was positive, if there was relu.
    pub dresidual: Option<&'a mut [f32]>,
}

/// Gradients of [`super::batch_norm_train`] and, with `frozen`, of [`super::batch_norm_infer`].
///
/// # Panics
/// If a slice has another length than `shape` says.
pub fn batch_norm_backward(shape: &NormShape, from: &BatchNormUpstream, to: BatchNormGradients) {
    check(shape, from, &to);
    let BatchNormGradients { dx, dgamma, dbeta, dresidual } = to;
    let task = Task {
        shape,
        x: Shared(from.x.as_ptr()),
        relu: from.relu.map(|out| Shared(out.as_ptr())),
        dy: Shared(from.dy.as_ptr()),
        dx: SharedMut(dx.as_mut_ptr()),
        dresidual: dresidual.map(|d| SharedMut(d.as_mut_ptr())),
    };
    let finish = |channel: usize, sums: Sums, dgamma: &mut f32, dbeta: &mut f32| {
        let inverse = 1.0 / (f64::from(from.variance[channel]) + f64::from(from.epsilon)).sqrt();
        let slope = f64::from(from.gamma[channel]) * inverse;
        let count = if from.frozen { f64::INFINITY } else { shape.per_channel() as f64 };
        *dgamma = (sums.products * inverse) as f32;
        *dbeta = sums.plain as f32;
        Coefficients {
            center: from.mean[channel],
            dy: slope as f32,
            distance: (-slope * inverse * inverse * sums.products / count) as f32,
            constant: (-slope * sums.plain / count) as f32,
        }
    };
    let whole = 0..shape.runs();
    let channel = |(channel, (dgamma, dbeta)): (usize, (&mut f32, &mut f32))| {
        let sums = task.sums(channel, whole.clone(), from.mean[channel]);
        task.write(channel, whole.clone(), finish(channel, sums, dgamma, dbeta));
    };
    match Cut::of(shape) {
        Cut::None => dgamma.iter_mut().zip(dbeta).enumerate().for_each(channel),
        Cut::Channels(least) => {
            dgamma.par_iter_mut().zip(dbeta).enumerate().with_min_len(least).for_each(channel);
        }
        Cut::Runs(per_task) => {
            let parts =
                by_runs(shape, per_task, |channel, runs| task.sums(channel, runs, from.mean[channel]));
            let coefficients: Vec<Coefficients> = parts
                .chunks(parts.len() / shape.channels)
                .zip(dgamma.iter_mut().zip(dbeta))
                .enumerate()
                .map(|(channel, (parts, (dgamma, dbeta)))| {
                    let sums = parts.iter().fold(Sums::default(), |all, part| Sums {
                        plain: all.plain + part.plain,
                        products: all.products + part.products,
                    });
                    finish(channel, sums, dgamma, dbeta)
                })
                .collect();
            by_runs(shape, per_task, |channel, runs| task.write(channel, runs, coefficients[channel]));
        }
    }
}

fn check(shape: &NormShape, from: &BatchNormUpstream, to: &BatchNormGradients) {
    for (what, got) in [
        ("input", from.x.len()),
        ("output", from.relu.map_or(shape.len(), <[f32]>::len)),
        ("output gradient", from.dy.len()),
        ("input gradient", to.dx.len()),
        ("residual gradient", to.dresidual.as_ref().map_or(shape.len(), |d| d.len())),
    ] {
        check_len(what, got, shape.len());
    }
    for (what, got) in [
        ("gamma", from.gamma.len()),
        ("mean", from.mean.len()),
        ("variance", from.variance.len()),
        ("gamma gradient", to.dgamma.len()),
        ("beta gradient", to.dbeta.len()),
    ] {
        check_len(what, got, shape.channels);
    }
}

/// `Σ dy` and `Σ dy · (x − mean)`.
#[derive(Clone, Copy, Default)]
struct Sums {
    plain: f64,
    products: f64,
}

/// `dx = dy · dy_factor + (x − center) · distance + constant`.
#[derive(Clone, Copy)]
struct Coefficients {
    center: f32,
    dy: f32,
    distance: f32,
    constant: f32,
}

#[derive(Clone, Copy)]
struct Task<'a> {
    shape: &'a NormShape,
    x: Shared,
    relu: Option<Shared>,
    dy: Shared,
    dx: SharedMut,
    dresidual: Option<SharedMut>,
}

impl Task<'_> {
    fn sums(&self, channel: usize, runs: Range<usize>, center: f32) -> Sums {
        let mut result = Sums::default();
        self.shape.level.run(AddUp { task: *self, channel, runs, center, result: &mut result });
        result
    }

    /// No two calls at once may be given the same run.
    fn write(&self, channel: usize, runs: Range<usize>, with: Coefficients) {
        self.shape.level.run(Write { task: *self, channel, runs, with });
    }
}

struct AddUp<'a> {
    task: Task<'a>,
    channel: usize,
    runs: Range<usize>,
    center: f32,
    result: &'a mut Sums,
}

impl Kernel for AddUp<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for index in self.runs {
            let run = self.task.shape.run(self.channel, index);
            let sums = match self.task.relu {
                None => add_up::<S, false>(s, &self.task, run, self.center),
                Some(_) => add_up::<S, true>(s, &self.task, run, self.center),
            };
            self.result.plain += sums.plain;
            self.result.products += sums.products;
        }
    }
}

#[inline(always)]
fn add_up<S: Simd, const RELU: bool>(s: S, task: &Task, run: Run, center: f32) -> Sums {
    let center = s.splat(center);
    let (mut plain, mut products) = ([s.zero(); 4], [s.zero(); 4]);
    for image in 0..run.images {
        let offset = run.start + image * run.stride;
        let x = task.x.get().wrapping_add(offset);
        let out = task.relu.unwrap_or(task.x).get().wrapping_add(offset);
        let dy = task.dy.get().wrapping_add(offset);
        let mut i = 0;
        // SAFETY: the run lies inside the tensors, whose lengths were checked.
        unsafe {
            while i + 2 * S::LANES <= run.len {
                for (k, i) in [(0, i), (1, i + S::LANES)] {
                    let mut d = s.load(dy.add(i));
                    if RELU {
                        d = s.where_positive(s.load(out.add(i)), d);
                    }
                    plain[k] = s.add(plain[k], d);
                    products[k] = s.fma(d, s.sub(s.load(x.add(i)), center), products[k]);
                }
                i += 2 * S::LANES;
            }
            while i < run.len {
                let n = run.len - i;
                // Lanes past the end: the gradient there is zero.
                let mut d = load(s, dy.add(i), n);
                if RELU {
                    d = s.where_positive(load(s, out.add(i), n), d);
                }
                plain[2] = s.add(plain[2], d);
                products[2] = s.fma(d, s.sub(load(s, x.add(i), n), center), products[2]);
                i += S::LANES;
            }
        }
    }
    Sums { plain: total(s, plain), products: total(s, products) }
}

struct Write<'a> {
    task: Task<'a>,
    channel: usize,
    runs: Range<usize>,
    with: Coefficients,
}

impl Kernel for Write<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for index in self.runs {
            let run = self.task.shape.run(self.channel, index);
            match (self.task.relu, self.task.dresidual) {
                (None, None) => write::<S, false, false>(s, &self.task, run, self.with),
                (None, Some(_)) => write::<S, false, true>(s, &self.task, run, self.with),
                (Some(_), None) => write::<S, true, false>(s, &self.task, run, self.with),
                (Some(_), Some(_)) => write::<S, true, true>(s, &self.task, run, self.with),
            }
        }
    }
}

#[inline(always)]
fn write<S: Simd, const RELU: bool, const RESIDUAL: bool>(s: S, task: &Task, run: Run, with: Coefficients) {
    let (center, constant) = (s.splat(with.center), s.splat(with.constant));
    let (by_dy, by_distance) = (s.splat(with.dy), s.splat(with.distance));
    for image in 0..run.images {
        let offset = run.start + image * run.stride;
        let x = task.x.get().wrapping_add(offset);
        let out = task.relu.unwrap_or(task.x).get().wrapping_add(offset);
        let dy = task.dy.get().wrapping_add(offset);
        let dx = task.dx.get().wrapping_add(offset);
        let dresidual = task.dresidual.unwrap_or(task.dx).get().wrapping_add(offset);
        for i in (0..run.len).step_by(S::LANES) {
            let n = run.len - i;
            // SAFETY: the run lies inside the tensors, whose lengths were checked; no other task has it.
            unsafe {
                let mut d = load(s, dy.add(i), n);
                if RELU {
                    d = s.where_positive(load(s, out.add(i), n), d);
                }
                // Everything is read before anything is written: tensors often begin at the same place of a page,
                // and the processor then takes a read after a write for one of the same address.
                let distance = s.sub(load(s, x.add(i), n), center);
                if RESIDUAL {
                    store(s, dresidual.add(i), d, n);
                }
                store(s, dx.add(i), s.fma(d, by_dy, s.fma(distance, by_distance, constant)), n);
            }
        }
    }
}
