//! MEF-SSIM (Ma, Zeng and Wang 2015): of every patch, does the fused picture have the strongest contrast and the common
//! structure of the exposures?

use rayon::prelude::*;

use super::Luma;
use super::window::{uniform, windowed};

/// Side of a patch.
const PATCH: usize = 8;
/// (0.03 · 255)².
const C: f64 = 58.5225;
/// Bound of the power that prefers the strong.
const MOST: f64 = 10.0;
/// A patch is flat below this.
const FLAT: f64 = 1e-9;

/// At one scale, of luma. `None` for pictures smaller than a patch.
pub(crate) fn mef_ssim(sources: &[Luma], fused: &Luma) -> Option<f64> {
    let (size, taps) = (fused.size, uniform(PATCH));
    let values: Vec<Vec<f64>> = sources.iter().chain([fused]).map(Luma::values).collect();
    let (count, area) = (sources.len(), (PATCH * PATCH) as f64);
    let means: Vec<Vec<f64>> =
        values.iter().map(|v| windowed(size, &taps, |i| v[i]).map(|f| f.data)).collect::<Option<_>>()?;
    // Covariances of all pairs; the fused picture is the last.
    let pairs: Vec<(usize, usize)> = (0..=count).flat_map(|i| (i..=count).map(move |j| (i, j))).collect();
    let covariances: Vec<Vec<f64>> = pairs
        .par_iter()
        .map(|&(i, j)| {
            let products = windowed(size, &taps, |at| values[i][at] * values[j][at])?.data;
            let means = means[i].iter().zip(&means[j]);
            Some(products.into_iter().zip(means).map(|(p, (a, b))| p - a * b).collect())
        })
        .collect::<Option<_>>()?;
    let place = |i: usize, j: usize| {
        let (i, j) = (i.min(j), i.max(j));
        i * (count + 1) - i * i.saturating_sub(1) / 2 + j - i
    };
    let total: f64 = (0..means[0].len())
        .into_par_iter()
        .map(|at| {
            let covariance = |i: usize, j: usize| covariances[place(i, j)][at] * area;
            let norms: Vec<f64> = (0..count).map(|k| covariance(k, k).max(0.0).sqrt()).collect();
            let sum: f64 = norms.iter().sum();
            let double = |weight: &dyn Fn(usize) -> f64| -> f64 {
                let pairs = (0..count).flat_map(|i| (0..count).map(move |j| (i, j)));
                pairs.map(|(i, j)| weight(i) * weight(j) * covariance(i, j)).sum::<f64>().max(0.0).sqrt()
            };
            let together = if sum > FLAT { (double(&|_| 1.0) / sum).min(1.0 - 1e-12) } else { 0.0 };
            let power = (std::f64::consts::FRAC_PI_2 * together).tan().min(MOST);
            // Each unit patch times its weight.
            let share = |k: usize| if norms[k] > FLAT { norms[k].powf(power) / norms[k] } else { 0.0 };
            let shares: Vec<f64> = (0..count).map(share).collect();
            let length = double(&|k| shares[k]);
            let wanted = norms.iter().copied().fold(0.0, f64::max);
            let (with_fused, variance) = if length > FLAT {
                let sum: f64 = (0..count).map(|k| shares[k] * covariance(k, count)).sum();
                (wanted * sum / length / area, wanted * wanted / area)
            } else {
                (0.0, 0.0)
            };
            (2.0 * with_fused + C) / (variance + covariance(count, count) / area + C)
        })
        .collect::<Vec<f64>>()
        .iter()
        .sum();
    Some(total / means[0].len().max(1) as f64)
}
