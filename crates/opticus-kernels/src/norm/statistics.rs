//! Mean and variance of a channel in one pass over memory.
//!
//! Each run is measured while it is in the first cache: its mean, then the squares of the distances to that mean,
//! both in single precision lanes. Runs are merged in double precision (Chan, Golub and LeVeque 1979, "Updating
//! formulae and a pairwise algorithm for computing sample variances"), so that a mean far from zero costs no digits.

use std::ops::Range;

use super::load;
use super::shape::{NormShape, Run};
use crate::simd::{Kernel, Simd};

/// Number, mean and summed squared distance to the mean of some values.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Moments {
    pub count: f64,
    pub mean: f64,
    pub squares: f64,
}

impl Moments {
    /// Of both sets of values.
    #[inline(always)]
    pub fn merge(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let (distance, part) = (other.mean - self.mean, other.count / count);
        Moments {
            count,
            mean: self.mean + distance * part,
            squares: self.squares + other.squares + distance * distance * self.count * part,
        }
    }

    /// Divided by the number of values.
    pub fn variance(&self) -> f64 {
        self.squares / self.count
    }
}

/// Measures some runs of a channel.
pub(super) struct Measure<'a> {
    shape: &'a NormShape,
    x: &'a [f32],
    channel: usize,
    runs: Range<usize>,
    result: &'a mut Moments,
}

impl Measure<'_> {
    pub fn of(shape: &NormShape, x: &[f32], channel: usize, runs: Range<usize>) -> Moments {
        let mut result = Moments::default();
        shape.level.run(Measure { shape, x, channel, runs, result: &mut result });
        result
    }
}

impl Kernel for Measure<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut all = Moments::default();
        for index in self.runs {
            let run = self.shape.run(self.channel, index);
            let count = run.count() as f64;
            let mean = sum(s, self.x, run) / count;
            // Distances are to the rounded mean; what the rounding added to their squares is taken off.
            let center = mean as f32;
            let off = mean - f64::from(center);
            let squares = (sum_of_squares(s, self.x, run, center) - count * off * off).max(0.0);
            all = all.merge(Moments { count, mean, squares });
        }
        *self.result = all;
    }
}

#[inline(always)]
fn sum<S: Simd>(s: S, x: &[f32], run: Run) -> f64 {
    let mut sums = [s.zero(); 4];
    for image in 0..run.images {
        let x = x[run.start + image * run.stride..][..run.len].as_ptr();
        let mut i = 0;
        // SAFETY: inside the slice taken above.
        unsafe {
            while i + 4 * S::LANES <= run.len {
                sums[0] = s.add(sums[0], s.load(x.add(i)));
                sums[1] = s.add(sums[1], s.load(x.add(i + S::LANES)));
                sums[2] = s.add(sums[2], s.load(x.add(i + 2 * S::LANES)));
                sums[3] = s.add(sums[3], s.load(x.add(i + 3 * S::LANES)));
                i += 4 * S::LANES;
            }
            while i < run.len {
                sums[0] = s.add(sums[0], load(s, x.add(i), run.len - i));
                i += S::LANES;
            }
        }
    }
    total(s, sums)
}

#[inline(always)]
fn sum_of_squares<S: Simd>(s: S, x: &[f32], run: Run, center: f32) -> f64 {
    let centers = s.splat(center);
    let mut sums = [s.zero(); 4];
    let mut rest = 0.0;
    for image in 0..run.images {
        let x = &x[run.start + image * run.stride..][..run.len];
        let mut i = 0;
        // SAFETY: inside the slice taken above.
        unsafe {
            let x = x.as_ptr();
            while i + 4 * S::LANES <= run.len {
                let a = s.sub(s.load(x.add(i)), centers);
                let b = s.sub(s.load(x.add(i + S::LANES)), centers);
                let c = s.sub(s.load(x.add(i + 2 * S::LANES)), centers);
                let d = s.sub(s.load(x.add(i + 3 * S::LANES)), centers);
                sums[0] = s.fma(a, a, sums[0]);
                sums[1] = s.fma(b, b, sums[1]);
                sums[2] = s.fma(c, c, sums[2]);
                sums[3] = s.fma(d, d, sums[3]);
                i += 4 * S::LANES;
            }
            while i + S::LANES <= run.len {
                let a = s.sub(s.load(x.add(i)), centers);
                sums[0] = s.fma(a, a, sums[0]);
                i += S::LANES;
            }
        }
        for &x in &x[i..] {
            let distance = f64::from(x) - f64::from(center);
            rest += distance * distance;
        }
    }
    total(s, sums) + rest
}

/// The sum of all lanes of four vectors, in double precision.
#[inline(always)]
pub(super) fn total<S: Simd>(s: S, sums: [S::V; 4]) -> f64 {
    let mut lanes = [0.0f32; 64];
    for (i, &sum) in sums.iter().enumerate() {
        // SAFETY: a vector has at most sixteen values.
        unsafe { s.store(lanes.as_mut_ptr().add(i * S::LANES), sum) };
    }
    lanes[..4 * S::LANES].iter().map(|&lane| f64::from(lane)).sum()
}
