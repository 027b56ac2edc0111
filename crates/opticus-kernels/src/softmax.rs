//! The loss of classification, with its gradient, in one pass over the logits.

use rayon::prelude::*;
use std::fmt;

use crate::elementwise::functions::exp;
use crate::partition::{CHUNK, check_len, rows_per_task};
use crate::simd::{Kernel, Level, Simd};

/// What the network should have said.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// The class of each row, mixed with the uniform distribution: `(1 − smoothing)` of the one and `smoothing` of
    /// the other (Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7).
    Classes {
        /// One class a row.
        classes: &'a [u32],
        /// 0 to 1.
        smoothing: f32,
    },
    /// The probability of each class in each row, `[rows, classes]`.
    Probabilities(&'a [f32]),
}

/// A class that there is no logit of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassError {
    row: usize,
    class: u32,
    classes: usize,
}

impl fmt::Display for ClassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClassError { row, class, classes } = self;
        write!(f, "row {row} is of class {class}, but there are {classes} classes, counted from 0")
    }
}

impl std::error::Error for ClassError {}

/// The mean over rows of `−Σ target · log softmax(logits)`, and its gradient.
///
/// `logits` and `dlogits` are `[rows, classes]`. No rows have the loss 0.
///
/// # Errors
/// If a row is of a class that is not there; nothing is written then.
///
/// # Panics
/// If a slice has another length than the shapes say, or there are no classes.
pub fn softmax_cross_entropy(
    classes: usize,
    logits: &[f32],
    targets: Targets,
    dlogits: &mut [f32],
) -> Result<f64, ClassError> {
    softmax_cross_entropy_at(Level::best(), classes, logits, targets, dlogits)
}

fn softmax_cross_entropy_at(
    level: Level,
    classes: usize,
    logits: &[f32],
    targets: Targets,
    dlogits: &mut [f32],
) -> Result<f64, ClassError> {
    assert!(
        classes > 0 && logits.len().is_multiple_of(classes),
        "{} logits of {classes} classes",
        logits.len()
    );
    let rows = logits.len() / classes;
    check_len("gradient", dlogits.len(), logits.len());
    match targets {
        Targets::Probabilities(probabilities) => {
            check_len("probabilities", probabilities.len(), logits.len())
        }
        Targets::Classes { classes: all, .. } => {
            check_len("classes", all.len(), rows);
            if let Some(row) = all.iter().position(|&class| class as usize >= classes) {
                return Err(ClassError { row, class: all[row], classes });
            }
        }
    }
    if rows == 0 {
        return Ok(0.0);
    }
    let per_task = rows_per_task(classes);
    let task = |(i, (logits, dlogits)): (usize, (&[f32], &mut [f32]))| {
        let mut loss = 0.0;
        let first = i * per_task;
        level.run(Rows { classes, rows, first, logits, targets, dlogits, loss: &mut loss });
        loss
    };
    let all = logits.len();
    let losses: Vec<f64> = if all <= CHUNK {
        vec![task((0, (logits, dlogits)))]
    } else {
        logits
            .par_chunks(per_task * classes)
            .zip(dlogits.par_chunks_mut(per_task * classes))
            .enumerate()
            .map(task)
            .collect()
    };
    Ok(losses.iter().sum::<f64>() / rows as f64)
}

/// Some rows.
struct Rows<'a> {
    classes: usize,
    /// Of the whole batch.
    rows: usize,
    first: usize,
    logits: &'a [f32],
    targets: Targets<'a>,
    dlogits: &'a mut [f32],
    loss: &'a mut f64,
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let classes = self.classes;
        let share = 1.0 / self.rows as f32;
        let all = self.logits.chunks(classes).zip(self.dlogits.chunks_mut(classes));
        for (i, (logits, gradient)) in all.enumerate() {
            let row = self.first + i;
            let most = maximum(logits);
            for (e, &z) in gradient.iter_mut().zip(logits) {
                *e = exp(z - most);
            }
            let total = sum(gradient);
            let log_total = total.ln() + f64::from(most);
            match self.targets {
                Targets::Classes { classes: labels, smoothing } => {
                    let label = labels[row] as usize;
                    let smoothing = f64::from(smoothing);
                    let hit = log_total - f64::from(logits[label]);
                    *self.loss += (1.0 - smoothing) * hit;
                    if smoothing != 0.0 {
                        *self.loss += smoothing * (log_total - sum(logits) / classes as f64);
                    }
                    let factor = (f64::from(share) / total) as f32;
                    let rest = (smoothing / classes as f64) as f32 * share;
                    for g in gradient.iter_mut() {
                        *g = *g * factor - rest;
                    }
                    gradient[label] -= (1.0 - smoothing) as f32 * share;
                }
                Targets::Probabilities(probabilities) => {
                    let probabilities = &probabilities[row * classes..][..classes];
                    let mass = sum(probabilities);
                    let products: f64 = probabilities
                        .iter()
                        .zip(logits)
                        // A class that is impossible and of which none is wanted costs nothing.
                        .map(
                            |(&p, &z)| if p == 0.0 { 0.0 } else { f64::from(p) * (log_total - f64::from(z)) },
                        )
                        .sum();
                    *self.loss += products;
                    let factor = (f64::from(share) * mass / total) as f32;
                    for (g, p) in gradient.iter_mut().zip(probabilities) {
                        *g = *g * factor - p * share;
                    }
                }
            }
        }
    }
}

/// The greatest value; NaN where there is one only if all are.
#[inline(always)]
fn maximum(values: &[f32]) -> f32 {
    let (groups, rest) = values.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for group in groups {
        for (lane, &value) in lanes.iter_mut().zip(group) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &v| if v > most { v } else { most })
}

/// The sum, in lanes of single precision and double precision from there.
#[inline(always)]
fn sum(values: &[f32]) -> f64 {
    let (groups, rest) = values.as_chunks::<16>();
    let mut lanes = [0.0f32; 16];
    for group in groups {
        for (lane, &value) in lanes.iter_mut().zip(group) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).map(|&v| f64::from(v)).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn values(len: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// Loss and gradient of dense targets.
    fn definition(classes: usize, logits: &[f64], targets: &[f64]) -> (f64, Vec<f64>) {
        let rows = (logits.len() / classes) as f64;
        let (mut loss, mut gradient) = (0.0, Vec::new());
        for (logits, targets) in logits.chunks(classes).zip(targets.chunks(classes)) {
            let total: f64 = logits.iter().map(|z| z.exp()).sum();
            let mass: f64 = targets.iter().sum();
            for (z, t) in logits.iter().zip(targets) {
                loss -= t * (z.exp() / total).ln() / rows;
                gradient.push((z.exp() / total * mass - t) / rows);
            }
        }
        (loss, gradient)
    }

    fn check(rows: usize, classes: usize, smoothing: f32) {
        let logits: Vec<f32> = values(rows * classes, 1).iter().map(|v| v * 9.0).collect();
        let labels: Vec<u32> = (0..rows).map(|i| (i * 7 % classes) as u32).collect();
        let soft: Vec<f32> = values(rows * classes, 2).iter().map(|v| v.abs() / classes as f32).collect();
        let hard: Vec<f64> = (0..rows * classes)
            .map(|i| {
                let hit = labels[i / classes] as usize == i % classes;
                f64::from(smoothing) / classes as f64 + if hit { 1.0 - f64::from(smoothing) } else { 0.0 }
            })
            .collect();
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| f64::from(v)).collect() };
        for (targets, dense) in [
            (Targets::Classes { classes: &labels, smoothing }, hard),
            (Targets::Probabilities(&soft), wide(&soft)),
        ] {
            let (loss, gradient) = definition(classes, &wide(&logits), &dense);
            for level in Level::available() {
                let mut got = vec![f32::NAN; logits.len()];
                let got_loss = softmax_cross_entropy_at(level, classes, &logits, targets, &mut got).unwrap();
                assert!((got_loss - loss).abs() < 1e-5 * loss.abs().max(1.0), "{got_loss}, not {loss}");
                for (got, wanted) in got.iter().zip(&gradient) {
                    // Of a row's share.
                    let error = (f64::from(*got) - wanted).abs() * rows as f64;
                    assert!(error < 2e-6, "{rows}×{classes} by {level:?}: {got}, not {wanted}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_shape_equals_its_definition(rows in 1..20usize, classes in 1..70usize, smoothing in 0.0..0.5f32) {
            check(rows, classes, smoothing);
        }
    }

    #[test]
    fn large_batches_equal_their_definition_on_any_number_of_threads() {
        check(64, 1000, 0.1);
        let logits = values(64 * 1000, 3);
        let labels = vec![5; 64];
        let with = |threads: usize| {
            let mut gradient = vec![0.0; logits.len()];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let targets = Targets::Classes { classes: &labels, smoothing: 0.1 };
            let loss = pool.install(|| softmax_cross_entropy(1000, &logits, targets, &mut gradient)).unwrap();
            (loss.to_bits(), gradient)
        };
        let one = with(1);
        assert!(one == with(2) && one == with(4));
    }

    #[test]
    fn huge_logits_are_no_trouble_and_what_is_no_number_shows() {
        let mut gradient = [0.0; 3];
        let targets = Targets::Classes { classes: &[1], smoothing: 0.0 };
        let loss = softmax_cross_entropy(3, &[3e38, -3e38, 0.0], targets, &mut gradient).unwrap();
        assert!(loss > 5e38 && gradient == [1.0, -1.0, 0.0]);
        let loss = softmax_cross_entropy(3, &[f32::NEG_INFINITY, 1.0, 1.0], targets, &mut gradient).unwrap();
        assert!((loss - 2f64.ln()).abs() < 1e-6 && gradient == [0.0, -0.5, 0.5]);
        for at in 0..3 {
            let mut logits = [0.5; 3];
            logits[at] = f32::NAN;
            assert!(softmax_cross_entropy(3, &logits, targets, &mut gradient).unwrap().is_nan());
            assert!(gradient.iter().all(|g| g.is_nan()));
        }
    }

    #[test]
    fn a_class_that_is_not_there_is_named() {
        let mut gradient = [7.0; 4];
        let targets = Targets::Classes { classes: &[1, 2], smoothing: 0.0 };
        let error = softmax_cross_entropy(2, &[0.0; 4], targets, &mut gradient).unwrap_err();
        assert_eq!(error.to_string(), "row 1 is of class 2, but there are 2 classes, counted from 0");
        assert_eq!(gradient, [7.0; 4]);
        let none = Targets::Classes { classes: &[], smoothing: 0.0 };
        assert_eq!(softmax_cross_entropy(2, &[], none, &mut []), Ok(0.0));
    }
}
