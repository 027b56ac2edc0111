//! Fréchet distance (FID): Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", eq. 6.

use super::features::{Features, blocks, check_pair};
use super::symmetric::{Factor, Symmetric};
use crate::error::{Error, Result};

/// Pictures whose deviations from the mean are held in `f64` at a time.
const BLOCK: usize = 1024;

/// Mean and covariance of the features of a set: all that the Fréchet distance looks at. The mean has `width`
/// numbers, the covariance `width`² (divided by `count − 1`, as `numpy.cov`).
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    mean: Vec<f64>,
    covariance: Symmetric,
}

impl Statistics {
    /// Of these features.
    ///
    /// # Errors
    /// [`Error::Input`] for fewer than two pictures.
    pub fn new(features: &Features) -> Result<Self> {
        let (count, width) = (features.count(), features.width());
        if count < 2 {
            return Err(Error::Input(
                "the covariance of one picture is not defined; give at least two pictures".into(),
            ));
        }
        let mut mean = vec![0.0; width];
        for row in features.rows() {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        mean.iter_mut().for_each(|sum| *sum /= count as f64);
        let mut covariance = Symmetric::zero(width);
        for block in blocks(count, BLOCK) {
            let pictures = block.len();
            // One row a feature: their scalar products are what is summed.
            let mut deviations = vec![0.0; width * pictures];
            for (picture, row) in features.part(block).chunks_exact(width).enumerate() {
                for (feature, (value, mean)) in row.iter().zip(&mean).enumerate() {
                    deviations[feature * pictures + picture] = f64::from(*value) - mean;
                }
            }
            covariance.add_products(&deviations, &deviations, 1.0 / (count - 1) as f64);
        }
        Ok(Self { mean, covariance })
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// The mean of each feature.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance, row by row.
    pub fn covariance(&self) -> &[f64] {
        self.covariance.values()
    }

    /// `|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)`; at least 0.
    ///
    /// The square root's trace is the sum of the square roots of the eigenvalues of `Σ₁ Σ₂`. With `Σ₁ = Fᵀ F` those
    /// that are not zero are the eigenvalues of the symmetric, positive `F Σ₂ Fᵀ`, which is no larger than the rank
    /// of `Σ₁`. So fewer pictures than features are no special case: pytorch-fid adds 1e-6 to both diagonals
    /// where its square root is not finite, and keeps rounding noise where it is; here neither is needed.
    ///
    /// # Errors
    /// [`Error::Input`] if the features are of different width, or so large that the distance overflows.
    pub fn frechet_distance(&self, other: &Self) -> Result<f64> {
        if self.width() != other.width() {
            return Err(Error::Input(format!(
                "statistics of {} and of {} features cannot be compared; take both from the same network and layer",
                self.width(),
                other.width()
            )));
        }
        let between: f64 = self.mean.iter().zip(&other.mean).map(|(a, b)| (a - b) * (a - b)).sum();
        // Even of a set with itself only rounding is left, so equality needs no arithmetic.
        let within = if self.covariance == other.covariance {
            0.0
        } else {
            let spread = self.covariance.trace() + other.covariance.trace();
            spread - 2.0 * trace_of_root(&self.covariance, &other.covariance)
        };
        let distance = between + within.max(0.0);
        if !distance.is_finite() {
            return Err(Error::Input(
                "the features are too large for their distance to be computed; scale them down".into(),
            ));
        }
        Ok(distance)
    }
}

/// `tr (Σ₁ Σ₂)^½`.
fn trace_of_root(a: &Symmetric, b: &Symmetric) -> f64 {
    let (of_a, of_b) = (Factor::new(a), Factor::new(b));
    // The smaller rank: it leaves no eigenvalues that should be zero and are not quite.
    let (factor, other) = if of_a.rank() <= of_b.rank() { (of_a, b) } else { (of_b, a) };
    factor.congruence(other).eigenvalues().iter().map(|value| value.max(0.0).sqrt()).sum()
}

/// The Fréchet distance between the features of real and of made pictures (FID, where the features are those of
/// the Inception network's last pooling); 0 for equal sets, lower is better. It falls with the number of
/// pictures: compare only figures of as many.
///
/// # Errors
/// [`Error::Input`] for features of different width, or fewer than two pictures in a set.
pub fn frechet_distance(real: &Features, fake: &Features) -> Result<f64> {
    check_pair(real, fake, 2, "the Fréchet distance")?;
    Statistics::new(real)?.frechet_distance(&Statistics::new(fake)?)
}
