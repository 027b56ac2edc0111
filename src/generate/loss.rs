//! What the two networks play for, as functions of the discriminator's verdicts.
//!
//! | loss | discriminator on real `r` and made `f` | generator on made `f` | source |
//! |---|---|---|---|
//! | non-saturating | softplus(−r) + softplus(f) | softplus(−f) | Goodfellow et al. 2014, section 3 |
//! | hinge | max(0, 1 − r) + max(0, 1 + f) | −f | Lim and Ye 2017; Miyato et al. 2018, eq. 16 and 17 |
//! | Wasserstein | f − r | −f | Arjovsky et al. 2017, eq. 3; the bound on slopes is spectral normalisation |
//! | least squares | ½ (r − 1)² + ½ f² | ½ (f − 1)² | Mao et al. 2017, eq. 9 |

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// A pair of losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adversarial {
    /// The generator maximises the log of being taken for real.
    NonSaturating,
    /// Verdicts count up to a margin.
    #[default]
    Hinge,
    /// A distance between the two distributions of verdicts.
    Wasserstein,
    /// Verdicts as regression to 1 and 0.
    LeastSquares,
}

impl Adversarial {
    /// The discriminator's loss on real pictures, verdicts `[n]` to `[1]`.
    pub fn real(self, verdicts: Tensor<1>) -> Tensor<1> {
        match self {
            Self::NonSaturating => softplus(-verdicts),
            Self::Hinge => activation::relu(-verdicts + 1.0),
            Self::Wasserstein => -verdicts,
            Self::LeastSquares => (verdicts - 1.0).square() * 0.5,
        }
        .mean()
    }

    /// The discriminator's loss on made pictures, verdicts `[n]` to `[1]`.
    pub fn made(self, verdicts: Tensor<1>) -> Tensor<1> {
        match self {
            Self::NonSaturating => softplus(verdicts),
            Self::Hinge => activation::relu(verdicts + 1.0),
            Self::Wasserstein => verdicts,
            Self::LeastSquares => verdicts.square() * 0.5,
        }
        .mean()
    }

    /// The generator's loss, verdicts on made pictures `[n]` to `[1]`.
    pub fn generator(self, verdicts: Tensor<1>) -> Tensor<1> {
        match self {
            Self::NonSaturating => softplus(-verdicts),
            Self::Hinge | Self::Wasserstein => -verdicts,
            Self::LeastSquares => (verdicts - 1.0).square() * 0.5,
        }
        .mean()
    }
}

/// log(1 + eˣ) without overflow: max(x, 0) + log(1 + e^−|x|).
fn softplus(x: Tensor<1>) -> Tensor<1> {
    activation::relu(x.clone()) + ((-x.abs()).exp() + 1.0).log()
}

/// Half the mean squared norm of the verdicts' gradient at real pictures, from verdicts at two places `2·step` apart along
/// directions drawn from a standard normal: for such a direction `v`, E[(∇D·v)²] = |∇D|², so that R1 (Mescheder et
/// al. 2018, eq. 9) needs gradients of first order only.
pub fn gradient_penalty(forward: Tensor<1>, backward: Tensor<1>, step: f32) -> Tensor<1> {
    ((forward - backward) / (2.0 * step)).square().mean() * 0.5
}

/// How much two lots of pictures [n, c, h, w] differ that were made of the same wishes from other latent numbers
/// [n, latent]: the mean over pictures of min(|Δx| / |Δz|, bound), both mean absolute differences (Yang et al. 2019,
/// "Diversity-Sensitive Conditional Generative Adversarial Networks", eq. 2). The bound lets go of pictures that differ
/// enough.
pub fn diversity(pictures: [Tensor<4>; 2], latents: [Tensor<2>; 2], bound: f64) -> Tensor<1> {
    let [a, b] = pictures;
    let [n, c, h, w] = a.dims();
    let apart = (a - b).abs().reshape([n, c * h * w]).mean_dim(1);
    let [y, z] = latents;
    let moved = (y - z).abs().mean_dim(1) + 1e-6;
    (apart / moved).clamp_max(bound).mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn value(x: Tensor<1>) -> f64 {
        f64::from(x.into_scalar::<f32>())
    }

    #[test]
    fn losses_are_their_definitions() {
        let device = Device::flex();
        let verdicts = [-3.0f32, -0.5, 0.0, 0.7, 2.0];
        let t = || Tensor::<1>::from_floats(verdicts, &device);
        let mean = |f: &dyn Fn(f64) -> f64| verdicts.iter().map(|v| f(f64::from(*v))).sum::<f64>() / 5.0;
        let soft = |x: f64| (1.0 + x.exp()).ln();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-5, "{a} {b}");
        close(value(Adversarial::NonSaturating.real(t())), mean(&|v| soft(-v)));
        close(value(Adversarial::NonSaturating.made(t())), mean(&|v| soft(v)));
        close(value(Adversarial::NonSaturating.generator(t())), mean(&|v| soft(-v)));
        close(value(Adversarial::Hinge.real(t())), mean(&|v| (1.0 - v).max(0.0)));
        close(value(Adversarial::Hinge.made(t())), mean(&|v| (1.0 + v).max(0.0)));
        close(value(Adversarial::Hinge.generator(t())), mean(&|v| -v));
        close(value(Adversarial::Wasserstein.real(t())), mean(&|v| -v));
        close(value(Adversarial::Wasserstein.made(t())), mean(&|v| v));
        close(value(Adversarial::LeastSquares.real(t())), mean(&|v| (v - 1.0).powi(2) / 2.0));
        close(value(Adversarial::LeastSquares.made(t())), mean(&|v| v * v / 2.0));
        close(value(Adversarial::LeastSquares.generator(t())), mean(&|v| (v - 1.0).powi(2) / 2.0));
        let far = Tensor::<1>::from_floats([1e4, -1e4], &device);
        assert!(value(Adversarial::NonSaturating.real(far)).is_finite());
    }

    #[test]
    fn diversity_counts_up_to_its_bound() {
        let device = Device::flex();
        let pictures = |v: [f32; 4]| Tensor::<1>::from_floats(v, &device).reshape([2, 1, 1, 2]);
        let latents = |v: [f32; 4]| Tensor::<1>::from_floats(v, &device).reshape([2, 2]);
        let of = |bound| {
            let pictures = [pictures([0.0, 0.0, 1.0, 1.0]), pictures([0.1, -0.3, 0.0, -1.0])];
            value(diversity(pictures, [latents([0.0; 4]), latents([2.0, 0.0, 0.5, -0.5])], bound))
        };
        // 0.2 over 1 and 1.5 over 0.5.
        assert!((of(10.0) - (0.2 + 3.0) / 2.0).abs() < 1e-5);
        assert!((of(1.0) - (0.2 + 1.0) / 2.0).abs() < 1e-5);
        assert!((of(0.1) - 0.1).abs() < 1e-5);
    }

    #[test]
    fn the_penalty_is_the_gradients_norm() {
        // D(x) = w·x has the gradient w everywhere: E[(w·v)²] / 2 = |w|² / 2.
        let w = [0.3f32, -1.0, 0.5];
        let norm: f32 = w.iter().map(|w| w * w).sum();
        let (mut total, n) = (0.0, 20_000);
        for i in 0..n {
            // Independent directions of deviation one, in a fixed pattern of signs.
            let v = [0, 1, 2].map(|k| if (i >> k) & 1 == 0 { 1.0f32 } else { -1.0 });
            let slope: f32 = w.iter().zip(v).map(|(w, v)| w * v).sum();
            let at = |h: f32| Tensor::<1>::from_floats([slope * h], &Device::flex());
            total += value(gradient_penalty(at(0.01), at(-0.01), 0.01));
        }
        assert!((total / f64::from(n) - f64::from(norm) / 2.0).abs() < 1e-3);
    }
}
