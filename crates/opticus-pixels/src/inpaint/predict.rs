//! Linear prediction learnt on the spot.
//!
//! A lost pixel is the conditional mean, given the known pixels nearest to it, under a Gaussian model of its
//! neighbourhood. The model's covariance is that of the neighbourhoods around which look most like this one, shrunk
//! towards a smooth isotropic covariance: a locally learnt interpolator as in Li and Orchard, "New edge-directed
//! interpolation" (IEEE TIP 10, 2001), with examples weighted by their likeness as in Buades, Coll and Morel, "A
//! non-local algorithm for image denoising" (CVPR 2005). What lies deep in a hole keeps the value it comes with.

use rayon::prelude::*;

use super::Field;

/// Radius of a neighbourhood.
const RADIUS: i32 = 4;
/// Known pixels from which a lost one is predicted, at most.
const SUPPORT: usize = 24;
/// Radius of the window in which examples are sought.
const WINDOW: i32 = 12;
/// Examples, at most.
const EXAMPLES: usize = 120;
/// What one filled pixel adds to an example's unlikeness, as a part of it.
const FILLED: f32 = 0.03;
/// Weight of the isotropic covariance against the learnt one, both of unit variance. Like the other settings, the best
/// of those tried for thin scratches on photographs.
const PRIOR: f64 = 1.5;
/// Distance in pixels at which the isotropic correlation has fallen to 1/e.
const RANGE: f32 = 8.0;
/// Part of the isotropic variance that neighbours do not share.
const NUGGET: f64 = 0.01;
/// Pixels from a lost pixel to the middle of its support up to which predictions are believed wholly, and from which
/// they are not believed.
const NEAREST: f32 = 1.5;
const FARTHEST: f32 = 3.0;
/// Colours at once: red, green, blue and nothing.
const LANES: usize = 4;

/// Predicts what the mask marks, from a picture in which it is filled somehow.
pub(super) fn refine(field: &mut Field, mask: &[bool]) {
    let padded = Padded::new(field, mask);
    let lost: Vec<usize> = (0..mask.len()).filter(|i| mask[*i]).map(|i| padded.place(i)).collect();
    let predicted: Vec<[f32; LANES]> = lost
        .par_iter()
        .with_min_len(64)
        .map_init(Scratch::default, |scratch, at| padded.predict(*at, field.planes.len(), scratch))
        .collect();
    for (i, value) in (0..mask.len()).filter(|i| mask[*i]).zip(predicted) {
        for (plane, value) in field.planes.iter_mut().zip(value) {
            plane[i] = value;
        }
    }
}

/// The picture with a rim as wide as any neighbourhood of any example.
struct Padded {
    width: usize,
    stride: usize,
    pad: usize,
    colours: Vec<[f32; LANES]>,
    known: Vec<bool>,
    inside: Vec<bool>,
    /// Steps to the pixels around, nearest first, with their offsets.
    around: Vec<(isize, [f32; 2])>,
    /// Steps to where examples are sought.
    window: Vec<isize>,
}

/// Memory that is used again for each pixel.
#[derive(Default)]
struct Scratch {
    steps: Vec<(isize, [f32; 2])>,
    here: Vec<[f32; LANES]>,
    examples: Vec<(f32, u32)>,
    samples: Vec<f32>,
    matrix: Vec<f64>,
    weights: Vec<f64>,
}

impl Padded {
    fn new(field: &Field, mask: &[bool]) -> Self {
        let (width, height) = (field.size.width as usize, field.size.height as usize);
        let pad = (RADIUS + WINDOW) as usize;
        let stride = width + 2 * pad;
        let length = stride * (height + 2 * pad);
        let (mut colours, mut known, mut inside) =
            (vec![[0.0; LANES]; length], vec![false; length], vec![false; length]);
        for (i, lost) in mask.iter().enumerate() {
            let at = (i / width + pad) * stride + pad + i % width;
            (known[at], inside[at]) = (!lost, true);
            for (colour, plane) in colours[at].iter_mut().zip(&field.planes) {
                *colour = plane[i];
            }
        }
        let square =
            |radius: i32| (-radius..=radius).flat_map(move |dy| (-radius..=radius).map(move |dx| (dx, dy)));
        let step = |(dx, dy): (i32, i32)| dy as isize * stride as isize + dx as isize;
        let mut around: Vec<(i32, i32)> = square(RADIUS).filter(|d| *d != (0, 0)).collect();
        around.sort_by_key(|(dx, dy)| dx * dx + dy * dy);
        let around = around.into_iter().map(|d| (step(d), [d.0 as f32, d.1 as f32])).collect();
        let window = square(WINDOW).filter(|d| *d != (0, 0)).map(step).collect();
        Self { width, stride, pad, colours, known, inside, around, window }
    }

    fn place(&self, i: usize) -> usize {
        (i / self.width + self.pad) * self.stride + self.pad + i % self.width
    }

    fn predict(&self, at: usize, colours: usize, scratch: &mut Scratch) -> [f32; LANES] {
        let Scratch { steps, here, examples, samples, matrix, weights } = scratch;
        steps.clear();
        let known = self.around.iter().filter(|(step, _)| self.known[at.wrapping_add_signed(*step)]);
        steps.extend(known.take(SUPPORT).copied());
        let n = steps.len();
        let trust = trust(steps);
        if n < 4 || trust <= 0.0 {
            return self.colours[at];
        }
        here.clear();
        here.extend(steps.iter().map(|(step, _)| self.colours[at.wrapping_add_signed(*step)]));
        self.find(at, steps, here, examples);
        if examples.len() < 8 {
            return self.colours[at];
        }
        let (mean, length) = self.gather(steps, colours, examples, samples, here);
        // Covariances of the support with itself and with the lost pixel, which is the last variable.
        let variables: Vec<&[f32]> = samples.chunks_exact(length).collect();
        let mut power = 0.0;
        for variable in &variables {
            power += f64::from(dot(variable, variable));
        }
        let prior = PRIOR * power / (n + 1) as f64 + 1e-9;
        matrix.clear();
        matrix.resize(n * n, 0.0);
        weights.clear();
        let isotropic = |a: [f32; 2], b: [f32; 2]| {
            let square = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
            f64::from((-(square.sqrt()) / RANGE).exp())
        };
        for i in 0..n {
            for j in 0..=i {
                let covariance = f64::from(dot(variables[i], variables[j]));
                let same = if i == j { NUGGET } else { 0.0 };
                matrix[i * n + j] = covariance + prior * (isotropic(steps[i].1, steps[j].1) + same);
            }
            weights
                .push(f64::from(dot(variables[i], variables[n])) + prior * isotropic(steps[i].1, [0.0; 2]));
        }
        if !solve(matrix, weights) {
            return self.colours[at];
        }
        let mut out = mean;
        for (weight, value) in weights.iter().zip(&*here) {
            for c in 0..LANES {
                out[c] += *weight as f32 * (value[c] - mean[c]);
            }
        }
        let before = self.colours[at];
        std::array::from_fn(|c| before[c] + trust * (out[c] - before[c]))
    }

    /// The examples most like the neighbourhood, with their weights.
    fn find(
        &self,
        at: usize,
        steps: &[(isize, [f32; 2])],
        here: &[[f32; LANES]],
        examples: &mut Vec<(f32, u32)>,
    ) {
        examples.clear();
        for step in &self.window {
            let place = at.wrapping_add_signed(*step);
            if !self.known[place] {
                continue;
            }
            let mut sum = [0.0f32; LANES];
            let mut filled = 0u32;
            let mut inside = true;
            for ((step, _), here) in steps.iter().zip(here) {
                let q = place.wrapping_add_signed(*step);
                inside &= self.inside[q];
                filled += u32::from(!self.known[q]);
                let there = self.colours[q];
                for c in 0..LANES {
                    let difference = there[c] - here[c];
                    sum[c] += difference * difference;
                }
            }
            if inside {
                let far = (sum[0] + sum[1]) + (sum[2] + sum[3]);
                let penalty = 1.0 + FILLED * filled as f32;
                examples.push((far * penalty, place as u32));
            }
        }
        let count = EXAMPLES.min(examples.len());
        if count < examples.len() {
            examples.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            examples.truncate(count);
        }
        examples.sort_unstable_by_key(|(_, place)| *place);
        let mean = examples.iter().map(|(far, _)| far).sum::<f32>() / examples.len().max(1) as f32;
        let scale = 1.0 / mean.max(1e-9);
        examples.iter_mut().for_each(|(far, _)| *far = (-*far * scale).exp());
    }

    /// One row per variable (the support, then the pixel itself), one column per example and colour; neighbourhoods
    /// without their mean. Also this neighbourhood's mean.
    fn gather(
        &self,
        steps: &[(isize, [f32; 2])],
        colours: usize,
        examples: &[(f32, u32)],
        samples: &mut Vec<f32>,
        here: &[[f32; LANES]],
    ) -> ([f32; LANES], usize) {
        let n = steps.len();
        let length = examples.len() * colours;
        samples.clear();
        samples.resize((n + 1) * length, 0.0);
        let scale = 1.0 / n as f32;
        for (e, (weight, place)) in examples.iter().enumerate() {
            let place = *place as usize;
            let root = weight.sqrt();
            let mut mean = [0.0f32; LANES];
            for (step, _) in steps {
                let there = self.colours[place.wrapping_add_signed(*step)];
                for c in 0..LANES {
                    mean[c] += scale * there[c];
                }
            }
            let all = steps.iter().map(|(step, _)| *step).chain([0]);
            for (v, step) in all.enumerate() {
                let there = self.colours[place.wrapping_add_signed(step)];
                for c in 0..colours {
                    samples[v * length + e * colours + c] = root * (there[c] - mean[c]);
                }
            }
        }
        let mut mean = [0.0f32; LANES];
        for value in here {
            for c in 0..LANES {
                mean[c] += scale * value[c];
            }
        }
        (mean, length)
    }
}

/// How far a prediction is believed: wholly amid the support, not at all where all of it lies to one side, in the depth
/// of a hole, where predictions fall back to the support's mean and the surface carries slopes on.
fn trust(steps: &[(isize, [f32; 2])]) -> f32 {
    let sum = steps.iter().fold([0.0f32; 2], |sum, (_, [x, y])| [sum[0] + x, sum[1] + y]);
    let offset = (sum[0].powi(2) + sum[1].powi(2)).sqrt() / steps.len().max(1) as f32;
    ((FARTHEST - offset) / (FARTHEST - NEAREST)).clamp(0.0, 1.0)
}

/// Sum of products, in eight sums so that vector instructions apply.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Solves a symmetric positive definite system in place by Cholesky's decomposition of its lower half; false where it
/// is not positive definite.
fn solve(matrix: &mut [f64], right: &mut [f64]) -> bool {
    let n = right.len();
    for i in 0..n {
        for j in 0..=i {
            let (row_i, row_j) = (&matrix[i * n..i * n + j], &matrix[j * n..j * n + j]);
            let rest = matrix[i * n + j] - row_i.iter().zip(row_j).map(|(a, b)| a * b).sum::<f64>();
            if i == j {
                if rest <= 0.0 || !rest.is_finite() {
                    return false;
                }
                matrix[i * n + i] = rest.sqrt();
            } else {
                matrix[i * n + j] = rest / matrix[j * n + j];
            }
        }
    }
    for i in 0..n {
        let sum: f64 = (0..i).map(|j| matrix[i * n + j] * right[j]).sum();
        right[i] = (right[i] - sum) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|j| matrix[j * n + i] * right[j]).sum();
        right[i] = (right[i] - sum) / matrix[i * n + i];
    }
    true
}
