//! Update rules of training, each one pass over a parameter, its gradient and what the rule remembers of it.
//!
//! The order of operations is PyTorch's. Every value depends on its own place only: the result is the same for any
//! number of threads and any instruction set.

use rayon::prelude::*;

use crate::partition::{CHUNK, check_len};
use crate::simd::{Kernel, Level, Simd};

/// Numbers of `torch.optim.SGD` (without dampening).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Weight decay, added to the gradient.
    pub decay: f32,
    /// What remains of the velocity; without momentum there is none.
    pub momentum: Option<f32>,
    /// Look ahead along the velocity (Sutskever et al. 2013).
    pub nesterov: bool,
    /// What the gradient is multiplied by first (clipping).
    pub scale: f32,
}

/// Numbers of `torch.optim.Adam` (Kingma and Ba 2015) and `torch.optim.AdamW` (Loshchilov and Hutter 2019), bias
/// corrections included.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Adam {
    /// Learning rate over the first moment's bias correction, `1 − β₁ᵗ`.
    pub step_size: f32,
    /// Adam: weight decay, added to the gradient; 0 for AdamW.
    pub decay: f32,
    /// AdamW: what the weight is multiplied by before the update, `1 − lr·decay`; 1 for Adam.
    pub shrink: f32,
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of squared gradients.
    pub beta2: f32,
    /// `1 − β₁`, rounded from the difference in double precision.
    pub rest1: f32,
    /// `1 − β₂`, rounded from the difference in double precision.
    pub rest2: f32,
    /// The root of the second moment's bias correction, `√(1 − β₂ᵗ)`.
    pub root_correction: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// What the gradient is multiplied by first (clipping).
    pub scale: f32,
}

/// An update rule with its numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Update {
    /// `g ← scale·g + decay·w`, then `b ← momentum·b + g` and `w ← w − lr·b`, or with Nesterov's look ahead
    /// `w ← w − lr·(g + momentum·b)`; without momentum `w ← w − lr·g`.
    Sgd(Sgd),
    /// `g ← scale·g + decay·w`, `m ← β₁·m + (1−β₁)·g`, `v ← β₂·v + (1−β₂)·g²`,
    /// `w ← shrink·w − step_size·m / (√v / root_correction + ε)`.
    Adam(Adam),
}

/// One parameter with all that an update reads and writes, flat.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// The values to change.
    pub weights: &'a mut [f32],
    /// Their gradient.
    pub gradient: &'a [f32],
    /// SGD's velocity or Adam's mean of gradients; empty for SGD without momentum.
    pub first: &'a mut [f32],
    /// Adam's mean of squared gradients; empty for SGD.
    pub second: &'a mut [f32],
}

/// Updates one parameter.
///
/// # Panics
/// If the parts of the parameter have other lengths than the rule needs.
pub fn update(rule: Update, parameter: Parameter) {
    update_all([(rule, parameter)]);
}

/// Updates many parameters at once, each by its own rule (weight decay often differs): small ones share threads,
/// large ones are spread over them.
///
/// # Panics
/// If the parts of a parameter have other lengths than its rule needs.
pub fn update_all<'a>(parameters: impl IntoIterator<Item = (Update, Parameter<'a>)>) {
    update_at(Level::best(), parameters);
}

pub(crate) fn update_at<'a>(level: Level, parameters: impl IntoIterator<Item = (Update, Parameter<'a>)>) {
    let mut chunks = Vec::new();
    for (rule, parameter) in parameters {
        rule.check(&parameter);
        rule.cut(parameter, &mut chunks);
    }
    let total: usize = chunks.iter().map(|chunk| chunk.parameter.weights.len()).sum();
    if total <= CHUNK {
        return chunks.into_iter().for_each(|chunk| level.run(chunk));
    }
    chunks.into_par_iter().for_each(|chunk| level.run(chunk));
}

/// `average ← keep·average + (1 − keep)·value`: the exponential moving average of weights.
///
/// # Panics
/// If the lengths differ.
pub fn update_average(averages: &mut [f32], values: &[f32], keep: f64) {
    check_len("average", averages.len(), values.len());
    let level = Level::best();
    let (keep, rest) = (keep as f32, (1.0 - keep) as f32);
    if averages.len() <= CHUNK {
        return level.run(Average { averages, values, keep, rest });
    }
    averages
        .par_chunks_mut(CHUNK)
        .zip(values.par_chunks(CHUNK))
        .for_each(|(averages, values)| level.run(Average { averages, values, keep, rest }));
}

/// The sum of squares, for the norm that gradients are clipped by. Accurate to double precision between runs of a
/// thousand values.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let level = Level::best();
    let of = |values: &[f32]| {
        let mut sum = 0.0;
        level.run(Squares { values, sum: &mut sum });
        sum
    };
    if values.len() <= CHUNK {
        return of(values);
    }
    let parts: Vec<f64> = values.par_chunks(CHUNK).map(of).collect();
    parts.iter().sum()
}

impl Update {
    fn check(&self, parameter: &Parameter) {
        let len = parameter.weights.len();
        let (first, second) = match self {
            Update::Sgd(Sgd { momentum: None, .. }) => (0, 0),
            Update::Sgd(_) => (len, 0),
            Update::Adam(_) => (len, len),
        };
        check_len("gradient", parameter.gradient.len(), len);
        check_len("first moment", parameter.first.len(), first);
        check_len("second moment", parameter.second.len(), second);
    }

    /// Appends the pieces of a parameter.
    fn cut<'a>(self, parameter: Parameter<'a>, chunks: &mut Vec<Chunk<'a>>) {
        let Parameter { weights, gradient, first, second } = parameter;
        // Moments that the rule does not have are cut into empty pieces.
        let mut first = first.chunks_mut(CHUNK);
        let mut second = second.chunks_mut(CHUNK);
        for (weights, gradient) in weights.chunks_mut(CHUNK).zip(gradient.chunks(CHUNK)) {
            let (first, second) = (first.next().unwrap_or_default(), second.next().unwrap_or_default());
            chunks.push(Chunk { rule: self, parameter: Parameter { weights, gradient, first, second } });
        }
    }
}

/// A piece of a parameter.
struct Chunk<'a> {
    rule: Update,
    parameter: Parameter<'a>,
}

impl Kernel for Chunk<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Parameter { weights, gradient, first, second } = self.parameter;
        match self.rule {
            Update::Sgd(sgd) => match sgd.momentum {
                None => plain(sgd, weights, gradient),
                Some(momentum) if sgd.nesterov => {
                    with_momentum::<true>(sgd, momentum, weights, gradient, first);
                }
                Some(momentum) => with_momentum::<false>(sgd, momentum, weights, gradient, first),
            },
            Update::Adam(rule) => adam(rule, weights, gradient, first, second),
        }
    }
}

#[inline(always)]
fn plain(rule: Sgd, weights: &mut [f32], gradient: &[f32]) {
    let Sgd { lr, decay, scale, .. } = rule;
    for (w, g) in weights.iter_mut().zip(gradient) {
        *w -= lr * (g * scale + decay * *w);
    }
}

#[inline(always)]
fn with_momentum<const NESTEROV: bool>(
    rule: Sgd,
    momentum: f32,
    weights: &mut [f32],
    gradient: &[f32],
    velocity: &mut [f32],
) {
    let Sgd { lr, decay, scale, .. } = rule;
    for ((w, g), b) in weights.iter_mut().zip(gradient).zip(velocity) {
        let g = g * scale + decay * *w;
        *b = momentum * *b + g;
        *w -= lr * if NESTEROV { g + momentum * *b } else { *b };
    }
}

#[inline(always)]
fn adam(rule: Adam, weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
    for (((w, g), m), v) in weights.iter_mut().zip(gradient).zip(first).zip(second) {
        let g = g * rule.scale + rule.decay * *w;
        *m = rule.beta1 * *m + rule.rest1 * g;
        *v = rule.beta2 * *v + rule.rest2 * g * g;
        let denominator = v.sqrt() / rule.root_correction + rule.epsilon;
        *w = rule.shrink * *w - rule.step_size * (*m / denominator);
    }
}

struct Average<'a> {
    averages: &'a mut [f32],
    values: &'a [f32],
    keep: f32,
    rest: f32,
}

impl Kernel for Average<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (average, value) in self.averages.iter_mut().zip(self.values) {
            *average = self.keep * *average + self.rest * value;
        }
    }
}

struct Squares<'a> {
    values: &'a [f32],
    sum: &'a mut f64,
}

impl Kernel for Squares<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // Sixteen sums side by side fill vector registers; a run's are short enough for single precision.
        const LANES: usize = 16;
        const RUN: usize = 1 << 10;
        for run in self.values.chunks(RUN) {
            let mut lanes = [0f32; LANES];
            let mut groups = run.chunks_exact(LANES);
            for group in &mut groups {
                for (lane, value) in lanes.iter_mut().zip(group) {
                    *lane += value * value;
                }
            }
            let rest: f32 = groups.remainder().iter().map(|value| value * value).sum();
            *self.sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + f64::from(rest);
        }
    }
}

#[cfg(test)]
mod tests;
