//! Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019), as torchvision's classification reference does them.
//!
//! Each picture of a batch is mixed with the one before it (the first with the last: `batch.roll(1, 0)`), all
//! with one λ. With both switched on, each batch gets one of them, with equal chance.

use opticus_pixels::Size;
use rand::{Rng, RngExt};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::sampler::DataRng;
use crate::error::{Error, Result};

/// Which batches are mixed, and how strongly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MixConfig {
    /// Mixup: λ is drawn from Beta(α, α); 0 switches it off. 0.2 is usual.
    pub mixup: f64,
    /// CutMix: likewise; 1 is usual.
    pub cutmix: f64,
}

impl MixConfig {
    /// Whether nothing is ever mixed.
    pub fn is_off(&self) -> bool {
        self.mixup == 0.0 && self.cutmix == 0.0
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the value.
    pub fn validate(&self) -> Result<()> {
        for (name, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if !(0.0..=100.0).contains(&alpha) {
                return Err(Error::Config(format!("{name} = {alpha}: it is between 0 (off) and 100")));
            }
        }
        Ok(())
    }

    /// Decides how a batch of `count` pictures of `size` is mixed; `None` if not at all.
    pub fn draw(&self, count: usize, size: Size, rng: &mut DataRng) -> Option<MixPlan> {
        if count < 2 || self.is_off() {
            return None;
        }
        let cut = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (true, true) => rng.random_bool(0.5),
            (_, cut) => cut,
        };
        if !cut {
            return Some(MixPlan { lambda: symmetric_beta(self.mixup, rng), region: None });
        }
        let lambda = symmetric_beta(self.cutmix, rng);
        let (width, height) = (i64::from(size.width), i64::from(size.height));
        let x = rng.random_range(0..width);
        let y = rng.random_range(0..height);
        let r = 0.5 * (1.0 - lambda).sqrt();
        let (half_width, half_height) = ((r * width as f64) as i64, (r * height as f64) as i64);
        let region = Region {
            x1: (x - half_width).max(0) as usize,
            y1: (y - half_height).max(0) as usize,
            x2: (x + half_width).min(width) as usize,
            y2: (y + half_height).min(height) as usize,
        };
        let cut = (region.x2 - region.x1) * (region.y2 - region.y1);
        Some(MixPlan { lambda: 1.0 - cut as f64 / size.area() as f64, region: Some(region) })
    }
}

/// The pixels `x1..x2`, `y1..y2` that CutMix takes from the partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub x1: usize,
    /// First row.
    pub y1: usize,
    /// Column after the last.
    pub x2: usize,
    /// Row after the last.
    pub y2: usize,
}

/// How a batch is mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixPlan {
    /// Share of the picture itself, 0..=1; its partner has the rest.
    pub lambda: f64,
    /// CutMix's region; `None` for mixup.
    pub region: Option<Region>,
}

impl MixPlan {
    /// The picture that picture `i` of `count` is mixed with.
    pub const fn partner(i: usize, count: usize) -> usize {
        (i + count - 1) % count
    }

    /// Mixes the pictures of an NCHW batch in place.
    pub fn apply(&self, images: &mut [f32], channels: usize, size: Size) {
        let plane = size.area() as usize;
        let stride = channels * plane;
        if stride == 0 || images.len() < 2 * stride {
            return;
        }
        let before = images.to_vec();
        let count = images.len() / stride;
        let width = size.width as usize;
        images.par_chunks_mut(stride).enumerate().for_each(|(i, image)| {
            let partner = &before[Self::partner(i, count) * stride..][..stride];
            match self.region {
                None => {
                    let (own, other) = (self.lambda as f32, (1.0 - self.lambda) as f32);
                    for (a, b) in image.iter_mut().zip(partner) {
                        *a = *a * own + *b * other;
                    }
                }
                Some(Region { x1, y1, x2, y2 }) => {
                    for (to, from) in image.chunks_exact_mut(plane).zip(partner.chunks_exact(plane)) {
                        for y in y1..y2 {
                            let row = y * width + x1..y * width + x2;
                            to[row.clone()].copy_from_slice(&from[row]);
                        }
                    }
                }
            }
        });
    }

    /// Targets as probabilities, `targets.len() * classes` values: λ for the picture's own class, 1 - λ for its
    /// partner's, then smoothed: `(1 - smoothing) * q + smoothing / classes`.
    pub fn soft_targets(&self, targets: &[usize], classes: usize, smoothing: f64) -> Vec<f32> {
        let mut soft = vec![(smoothing / classes as f64) as f32; targets.len() * classes];
        for (i, row) in soft.chunks_exact_mut(classes.max(1)).enumerate() {
            row[targets[i]] += ((1.0 - smoothing) * self.lambda) as f32;
            let partner = targets[Self::partner(i, targets.len())];
            row[partner] += ((1.0 - smoothing) * (1.0 - self.lambda)) as f32;
        }
        soft
    }
}

/// A draw from Beta(α, α): X / (X + Y) for two Gamma(α) variates, by their logarithms, since for a small α
/// both may be too small for a number.
fn symmetric_beta(alpha: f64, rng: &mut impl Rng) -> f64 {
    let (x, y) = (log_gamma_variate(alpha, rng), log_gamma_variate(alpha, rng));
    1.0 / (1.0 + (y - x).exp())
}

/// The logarithm of a Gamma(α, 1) variate: Marsaglia and Tsang 2000, with their boost U^(1/α) below 1.
fn log_gamma_variate(alpha: f64, rng: &mut impl Rng) -> f64 {
    let (shape, boost) = if alpha < 1.0 {
        // 1 - U is in (0, 1]: its logarithm is finite.
        (alpha + 1.0, (1.0 - rng.random::<f64>()).ln() / alpha)
    } else {
        (alpha, 0.0)
    };
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v <= 0.0 {
            continue;
        }
        let u = 1.0 - rng.random::<f64>();
        if u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d.ln() + v.ln() + boost;
        }
    }
}

/// A standard normal variate (Box–Muller).
pub(crate) fn normal(rng: &mut (impl Rng + ?Sized)) -> f64 {
    let u = 1.0 - rng.random::<f64>();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    (-2.0 * u.ln()).sqrt() * angle.cos()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::sampler::{Purpose, rng_for};

    fn rng(i: u64) -> DataRng {
        rng_for(5, Purpose::Mix, 0, i)
    }

    /// Beta(α, α) has mean 1/2 and variance 1 / (4 (2α + 1)).
    #[test]
    fn beta_has_its_moments() {
        for alpha in [0.01, 0.2, 1.0, 4.0] {
            let mut rng = rng(0);
            let n = 40_000;
            let draws: Vec<f64> = (0..n).map(|_| symmetric_beta(alpha, &mut rng)).collect();
            assert!(draws.iter().all(|d| (0.0..=1.0).contains(d)));
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / f64::from(n);
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01, "α {alpha}: mean {mean}");
            assert!((variance - expected).abs() < 0.03 * expected + 1e-3, "α {alpha}: variance {variance}");
        }
    }

    #[test]
    fn mixup_is_a_weighted_sum_with_the_picture_before() {
        let plan = MixPlan { lambda: 0.75, region: None };
        let mut images = vec![0.0, 0.0, 4.0, 4.0, 8.0, 8.0];
        plan.apply(&mut images, 1, Size::new(2, 1));
        assert_eq!(images, [2.0, 2.0, 3.0, 3.0, 7.0, 7.0]);
        let soft = plan.soft_targets(&[0, 1, 1], 2, 0.0);
        assert_eq!(soft, [0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
        let smooth = plan.soft_targets(&[0, 1, 1], 2, 0.2);
        assert!((smooth[0] - 0.7).abs() < 1e-6 && (smooth[4] - 0.1).abs() < 1e-6);
    }

    #[test]
    fn cutmix_takes_the_region_and_lambda_is_what_is_left() {
        let size = Size::new(8, 4);
        let config = MixConfig { mixup: 0.0, cutmix: 1.0 };
        for i in 0..200 {
            let plan = config.draw(2, size, &mut rng(i)).unwrap();
            let mut images = [vec![0f32; 2 * 32], vec![1f32; 2 * 32]].concat();
            plan.apply(&mut images, 2, size);
            let cut = f64::from(images[..32].iter().sum::<f32>()) / 32.0;
            assert!((1.0 - cut - plan.lambda).abs() < 1e-9);
            assert_eq!(images[..32], images[32..64], "all channels alike");
        }
    }

    #[test]
    fn both_switched_on_take_turns_and_off_is_off() {
        let both = MixConfig { mixup: 0.2, cutmix: 1.0 };
        let cut = (0..400).filter(|i| both.draw(4, Size::new(8, 8), &mut rng(*i)).unwrap().region.is_some());
        assert!((150..250).contains(&cut.count()));
        assert!(MixConfig::default().draw(4, Size::new(8, 8), &mut rng(0)).is_none());
        assert!(both.draw(1, Size::new(8, 8), &mut rng(0)).is_none());
        assert!(MixConfig { mixup: -1.0, cutmix: 0.0 }.validate().is_err());
        assert!(MixConfig { mixup: f64::NAN, cutmix: 0.0 }.validate().is_err());
    }
}
