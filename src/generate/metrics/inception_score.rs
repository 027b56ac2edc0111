//! Inception score: Salimans et al. 2016, "Improved Techniques for Training GANs", section 4.

use super::features::Features;
use crate::error::{Error, Result};

/// How far a row of probabilities may be from a sum of 1: what single precision leaves of thousands of classes.
const SLACK: f64 = 1e-3;

/// The inception score over parts of the set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InceptionScore {
    /// Mean over the parts: from 1 (all alike, or nothing recognised) to the number of classes.
    pub mean: f64,
    /// Standard deviation over the parts (divided by their number).
    pub deviation: f64,
}

/// `exp(mean over pictures of KL(p(class | picture) ‖ p(class)))`, of each of `splits` parts of the pictures in their
/// order, as in the authors' code. The rows are probabilities over classes.
///
/// # Errors
/// [`Error::Config`] for no parts or more than pictures, [`Error::Input`] if a row is no distribution.
pub fn inception_score(probabilities: &Features, splits: usize) -> Result<InceptionScore> {
    let (count, classes) = (probabilities.count(), probabilities.width());
    if splits == 0 || splits > count {
        return Err(Error::Config(format!(
            "{count} pictures cannot be split into {splits} parts; ask for 1 to {count}"
        )));
    }
    for (picture, row) in probabilities.rows().enumerate() {
        let sum: f64 = row.iter().map(|p| f64::from(*p)).sum();
        if row.iter().any(|p| *p < 0.0) || (sum - 1.0).abs() > SLACK {
            return Err(Error::Input(format!(
                "the values of picture {picture} sum to {sum:.4}, or some are negative: these are no probabilities; \
                 give those after the softmax"
            )));
        }
    }
    let scores: Vec<f64> = (0..splits)
        .map(|split| {
            let pictures = split * count / splits..(split + 1) * count / splits;
            let number = pictures.len() as f64;
            let rows = probabilities.part(pictures);
            let mut marginal = vec![0.0; classes];
            for row in rows.chunks_exact(classes) {
                marginal.iter_mut().zip(row).for_each(|(sum, p)| *sum += f64::from(*p) / number);
            }
            let divergence: f64 = rows
                .chunks_exact(classes)
                .map(|row| {
                    row.iter().zip(&marginal).map(|(p, q)| relative_entropy(f64::from(*p), *q)).sum::<f64>()
                })
                .sum();
            (divergence / number).exp()
        })
        .collect();
    let mean = scores.iter().sum::<f64>() / splits as f64;
    let variance = scores.iter().map(|score| (score - mean) * (score - mean)).sum::<f64>() / splits as f64;
    Ok(InceptionScore { mean, deviation: variance.sqrt() })
}

/// `p ln(p / q)`, 0 where `p` is.
fn relative_entropy(p: f64, q: f64) -> f64 {
    if p > 0.0 { p * (p / q).ln() } else { 0.0 }
}
