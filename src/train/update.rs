//! The update rules, each one pass over a parameter's values.
//!
//! Written on slices so that the compiler makes vector instructions of them; every value depends on its own place
//! only, so that the result is the same for any number of threads.

use rayon::prelude::*;

/// Values worked on by one thread at a time: few enough to balance, enough to pay for the hand-over.
const CHUNK: usize = 1 << 15;

/// Numbers of `torch.optim.SGD` (without dampening).
#[derive(Clone, Copy, Debug)]
pub(super) struct Sgd {
    pub(super) lr: f32,
    /// Weight decay, added to the gradient.
    pub(super) decay: f32,
    pub(super) momentum: f32,
    pub(super) nesterov: bool,
    /// What the gradient is multiplied by first (clipping).
    pub(super) scale: f32,
}

/// Numbers of `torch.optim.Adam` and `torch.optim.AdamW`, bias corrections included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adam {
    /// Learning rate over the first moment's bias correction.
    pub(super) step_size: f32,
    /// Adam: weight decay, added to the gradient; 0 for AdamW.
    pub(super) decay: f32,
    /// AdamW: what the weight is multiplied by before the update; 1 for Adam.
    pub(super) shrink: f32,
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    /// `1 - beta1` and `1 - beta2`, rounded from the difference in double precision.
    pub(super) rest1: f32,
    pub(super) rest2: f32,
    /// The root of the second moment's bias correction.
    pub(super) root_correction: f32,
    pub(super) epsilon: f32,
    /// What the gradient is multiplied by first (clipping).
    pub(super) scale: f32,
}

impl Sgd {
    /// Without momentum: `w ← w − lr·(g + decay·w)`.
    pub(super) fn plain(self, weights: &mut [f32], gradient: &[f32]) {
        let Self { lr, decay, scale, .. } = self;
        let work = |weights: &mut [f32], gradient: &[f32]| {
            for (w, g) in weights.iter_mut().zip(gradient) {
                *w -= lr * (g * scale + decay * *w);
            }
        };
        if weights.len() <= CHUNK {
            return work(weights, gradient);
        }
        weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).for_each(|(w, g)| work(w, g));
    }

    /// `b ← momentum·b + g`, then `w ← w − lr·b`, or with Nesterov's look ahead `w ← w − lr·(g + momentum·b)`.
    pub(super) fn with_momentum(self, weights: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
        let Self { lr, decay, momentum, nesterov, scale } = self;
        let work = |weights: &mut [f32], gradient: &[f32], velocity: &mut [f32]| {
            for ((w, g), b) in weights.iter_mut().zip(gradient).zip(velocity) {
                let g = g * scale + decay * *w;
                *b = momentum * *b + g;
                *w -= lr * if nesterov { g + momentum * *b } else { *b };
            }
        };
        if weights.len() <= CHUNK {
            return work(weights, gradient, velocity);
        }
        weights
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(velocity.par_chunks_mut(CHUNK))
            .for_each(|((w, g), b)| work(w, g, b));
    }
}

impl Adam {
    /// `m ← β₁·m + (1−β₁)·g`, `v ← β₂·v + (1−β₂)·g²`, `w ← shrink·w − step_size·m / (√v / root_correction + ε)`.
    pub(super) fn update(self, weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let work = |weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]| {
            for (((w, g), m), v) in weights.iter_mut().zip(gradient).zip(first).zip(second) {
                let g = g * self.scale + self.decay * *w;
                *m = self.beta1 * *m + self.rest1 * g;
                *v = self.beta2 * *v + self.rest2 * g * g;
                let denominator = v.sqrt() / self.root_correction + self.epsilon;
                *w = self.shrink * *w - self.step_size * (*m / denominator);
            }
        };
        if weights.len() <= CHUNK {
            return work(weights, gradient, first, second);
        }
        weights
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|(((w, g), m), v)| work(w, g, m, v));
    }
}

/// `average ← keep·average + (1 − keep)·value`.
pub(super) fn average(averages: &mut [f32], values: &[f32], keep: f64) {
    let (keep, rest) = (keep as f32, (1.0 - keep) as f32);
    let work = |averages: &mut [f32], values: &[f32]| {
        for (average, value) in averages.iter_mut().zip(values) {
            *average = keep * *average + rest * value;
        }
    };
    if averages.len() <= CHUNK {
        return work(averages, values);
    }
    averages.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(a, v)| work(a, v));
}

/// The sum of squares, to double precision, independent of the number of threads.
pub(super) fn sum_of_squares(values: &[f32]) -> f64 {
    // Sixteen sums side by side fill vector registers; a chunk's partial sums are short enough for single precision.
    const LANES: usize = 16;
    const RUN: usize = 1 << 10;
    let run = |values: &[f32]| -> f64 {
        let mut lanes = [0f32; LANES];
        let mut groups = values.chunks_exact(LANES);
        for group in &mut groups {
            for (lane, value) in lanes.iter_mut().zip(group) {
                *lane += value * value;
            }
        }
        let rest: f32 = groups.remainder().iter().map(|value| value * value).sum();
        lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + f64::from(rest)
    };
    let chunk = |values: &[f32]| values.chunks(RUN).map(run).sum::<f64>();
    if values.len() <= CHUNK {
        return chunk(values);
    }
    let partial: Vec<f64> = values.par_chunks(CHUNK).map(chunk).collect();
    partial.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_squares_is_right_for_any_length() {
        for length in [0, 1, 15, 16, 17, 1024, 1025, CHUNK, CHUNK + 1, 3 * CHUNK + 77] {
            let values: Vec<f32> = (0..length).map(|i| ((i % 11) as f32 - 5.0) / 4.0).collect();
            let expected: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
            assert!((sum_of_squares(&values) - expected).abs() <= 1e-6 * expected, "{length}");
        }
    }
}
