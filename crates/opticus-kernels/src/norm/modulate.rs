//! What follows a norm whose scale and shift come from a vector: one factor and one summand for each channel of each
//! image, then relu, and the gradients of all three inputs in one pass.

use rayon::prelude::*;

use super::shape::RUN;
use super::statistics::total;
use super::{load, store};
use crate::partition::{check_len, rows_per_task};
use crate::simd::{Kernel, Level, Simd};

/// What is modulated: `relu(gain · x + shift)`.
#[derive(Clone, Copy, Debug)]
pub struct Modulation<'a> {
    /// Input, `[planes, plane]`.
    pub x: &'a [f32],
    /// Factor of each plane.
    pub gain: &'a [f32],
    /// Summand of each plane.
    pub shift: &'a [f32],
}

/// What the gradients are computed from.
#[derive(Clone, Copy, Debug)]
pub struct ModulationUpstream<'a> {
    /// Input of the forward pass, `[planes, plane]`.
    pub x: &'a [f32],
    /// Factor of each plane.
    pub gain: &'a [f32],
    /// Output of the forward pass.
    pub y: &'a [f32],
    /// Gradient of the output.
    pub dy: &'a [f32],
}

/// Where the gradients go; all are overwritten.
#[derive(Debug)]
pub struct ModulationGradients<'a> {
    /// Of the input.
    pub dx: &'a mut [f32],
    /// Of the factors.
    pub dgain: &'a mut [f32],
    /// Of the summands.
    pub dshift: &'a mut [f32],
}

/// Values of a plane; 1 where there are no planes.
fn plane_of(x: &[f32], gain: &[f32]) -> usize {
    let plane = x.len().checked_div(gain.len()).unwrap_or(0);
    check_len("input", x.len(), gain.len() * plane);
    plane.max(1)
}

/// `out = relu(gain · x + shift)`. NaN stays NaN.
///
/// # Panics
/// If there are not as many factors as summands, as many values in each plane, and as many in `out` as in `x`.
pub fn modulate(job: &Modulation, out: &mut [f32]) {
    modulate_at(Level::best(), job, out);
}

/// Gradients of [`modulate`].
///
/// # Panics
/// As [`modulate`], for all lengths.
pub fn modulate_backward(from: &ModulationUpstream, to: ModulationGradients) {
    modulate_backward_at(Level::best(), from, to);
}

fn modulate_at(level: Level, job: &Modulation, out: &mut [f32]) {
    let plane = plane_of(job.x, job.gain);
    check_len("shift", job.shift.len(), job.gain.len());
    check_len("output", out.len(), job.x.len());
    let rows = rows_per_task(plane);
    let parts = out.par_chunks_mut(rows * plane).zip(job.x.par_chunks(rows * plane));
    parts.zip(job.gain.par_chunks(rows).zip(job.shift.par_chunks(rows))).for_each(
        |((out, x), (gain, shift))| {
            level.run(Forward { plane, job: Modulation { x, gain, shift }, out });
        },
    );
}

fn modulate_backward_at(level: Level, from: &ModulationUpstream, to: ModulationGradients) {
    let ModulationUpstream { x, gain, y, dy } = *from;
    let plane = plane_of(x, gain);
    let (values, planes) = (x.len(), gain.len());
    for (what, got, wanted) in [
        ("output", y.len(), values),
        ("output gradient", dy.len(), values),
        ("input gradient", to.dx.len(), values),
        ("gain gradient", to.dgain.len(), planes),
        ("shift gradient", to.dshift.len(), planes),
    ] {
        check_len(what, got, wanted);
    }
    if values == 0 {
        to.dgain.fill(0.0);
        to.dshift.fill(0.0);
        return;
    }
    let rows = rows_per_task(plane);
    let values = to.dx.par_chunks_mut(rows * plane).zip(x.par_chunks(rows * plane));
    let values = values.zip(y.par_chunks(rows * plane).zip(dy.par_chunks(rows * plane)));
    let planes = to.dgain.par_chunks_mut(rows).zip(to.dshift.par_chunks_mut(rows));
    values.zip(planes.zip(gain.par_chunks(rows))).for_each(
        |(((dx, x), (y, dy)), ((dgain, dshift), gain))| {
            let from = ModulationUpstream { x, gain, y, dy };
            level.run(Back { plane, from, to: ModulationGradients { dx, dgain, dshift } });
        },
    );
}

struct Forward<'a> {
    plane: usize,
    job: Modulation<'a>,
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plane, job, out } = self;
        let planes = job.x.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((x, out), (gain, shift)) in planes.zip(job.gain.iter().zip(job.shift)) {
            let (gain, shift) = (s.splat(*gain), s.splat(*shift));
            for i in (0..plane).step_by(S::LANES) {
                // SAFETY: both slices have `plane` values.
                unsafe {
                    let v = s.fma(load(s, x.as_ptr().add(i), plane - i), gain, shift);
                    // The operand order keeps NaN.
                    store(s, out.as_mut_ptr().add(i), s.max(s.zero(), v), plane - i);
                }
            }
        }
    }
}

struct Back<'a> {
    plane: usize,
    from: ModulationUpstream<'a>,
    to: ModulationGradients<'a>,
}

impl Kernel for Back<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plane, from: ModulationUpstream { x, gain, y, dy }, to } = self;
        for (i, gain) in gain.iter().enumerate() {
            let part = i * plane..(i + 1) * plane;
            let (x, y, dy) = (&x[part.clone()], &y[part.clone()], &dy[part.clone()]);
            let dx = &mut to.dx[part];
            let gain = s.splat(*gain);
            let (mut plain, mut products) = (0.0, 0.0);
            for block in (0..plane).step_by(RUN) {
                let (mut d_sums, mut product_sums) = ([s.zero(); 4], [s.zero(); 4]);
                for (step, at) in (block..plane.min(block + RUN)).step_by(S::LANES).enumerate() {
                    let (n, k) = (plane - at, step % 4);
                    // SAFETY: all four slices have `plane` values. Lanes past the end: the gradient there is zero.
                    unsafe {
                        let d =
                            s.where_positive(load(s, y.as_ptr().add(at), n), load(s, dy.as_ptr().add(at), n));
                        d_sums[k] = s.add(d_sums[k], d);
                        product_sums[k] = s.fma(d, load(s, x.as_ptr().add(at), n), product_sums[k]);
                        store(s, dx.as_mut_ptr().add(at), s.mul(d, gain), n);
                    }
                }
                plain += total(s, d_sums);
                products += total(s, product_sums);
            }
            to.dgain[i] = products as f32;
            to.dshift[i] = plain as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i + seed).wrapping_mul(2_654_435_761) % 1_000_003) as f32 / 500_001.5 - 1.0)
            .collect()
    }

    fn close(what: &str, ours: &[f32], wanted: impl Iterator<Item = f64>) {
        for (ours, wanted) in ours.iter().zip(wanted) {
            assert!(
                (f64::from(*ours) - wanted).abs() <= 1e-5 * wanted.abs().max(1.0),
                "{what}: {ours} {wanted}"
            );
        }
    }

    #[test]
    fn values_and_gradients_are_the_definitions_with_every_instruction_set() {
        for (planes, plane) in [(0, 3), (3, 0), (1, 1), (5, 49), (7, 64), (200, 333), (2, 40_000)] {
            let (x, y_gradient) = (values(planes * plane, 1), values(planes * plane, 77));
            let (gain, shift) = (values(planes, 5), values(planes, 9));
            let job = Modulation { x: &x, gain: &gain, shift: &shift };
            for level in Level::available() {
                let what = format!("{planes} planes of {plane}, {level:?}");
                let mut y = vec![f32::NAN; x.len()];
                modulate_at(level, &job, &mut y);
                let of = |i: usize| i / plane;
                let inner =
                    |i: usize| f64::from(x[i]).mul_add(f64::from(gain[of(i)]), f64::from(shift[of(i)]));
                close(&what, &y, (0..x.len()).map(|i| inner(i).max(0.0)));

                let (mut dx, mut dgain, mut dshift) =
                    (vec![f32::NAN; x.len()], vec![f32::NAN; planes], vec![f32::NAN; planes]);
                let to = ModulationGradients { dx: &mut dx, dgain: &mut dgain, dshift: &mut dshift };
                let from = ModulationUpstream { x: &x, gain: &gain, y: &y, dy: &y_gradient };
                modulate_backward_at(level, &from, to);
                let d = |i: usize| if y[i] > 0.0 { f64::from(y_gradient[i]) } else { 0.0 };
                close(&what, &dx, (0..x.len()).map(|i| d(i) * f64::from(gain[of(i)])));
                let sum =
                    |f: &dyn Fn(usize) -> f64, p: usize| (p * plane..(p + 1) * plane).map(f).sum::<f64>();
                close(&what, &dgain, (0..planes).map(|p| sum(&|i| d(i) * f64::from(x[i]), p)));
                close(&what, &dshift, (0..planes).map(|p| sum(&d, p)));
            }
        }
    }

    #[test]
    fn nan_stays() {
        let mut y = [0.0; 2];
        modulate(&Modulation { x: &[f32::NAN, 1.0], gain: &[1.0], shift: &[0.0] }, &mut y);
        assert!(y[0].is_nan() && y[1] == 1.0);
    }
}
