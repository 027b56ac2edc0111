//! Visual information fidelity in the pixel domain (Sheikh and Bovik 2006, "Image Information and Visual Quality"; the authors'
//! `vifp_mscale`).

use super::window::{Field, gaussian, windowed};
use crate::geometry::Size;

/// Variance of the eye's noise.
const NOISE: f64 = 2.0;
const TINY: f64 = 1e-10;

/// How much of the reference's information a picture has; above 1 where it has more contrast. Planes of levels 0 to 255. `None` for
/// pictures too small for four scales, or a flat reference.
pub fn vif(reference: &[f64], picture: &[f64], size: Size) -> Option<f64> {
    let mut pair = [reference, picture].map(|data| Field { size, data: data.to_vec() });
    let (mut kept, mut all) = (0.0, 0.0);
    for scale in 1..=4 {
        let taps_of = |n: usize| gaussian(n, n as f64 / 5.0);
        let taps = taps_of((1 << (5 - scale)) + 1);
        if scale > 1 {
            for field in &mut pair {
                *field = every_second(&windowed(field.size, &taps, |i| field.data[i])?);
            }
        }
        let [a, b] = &pair;
        let size = a.size;
        let mean_a = windowed(size, &taps, |i| a.data[i])?;
        let mean_b = windowed(size, &taps, |i| b.data[i])?;
        let squares_a = windowed(size, &taps, |i| a.data[i].powi(2))?;
        let squares_b = windowed(size, &taps, |i| b.data[i].powi(2))?;
        let products = windowed(size, &taps, |i| a.data[i] * b.data[i])?;
        for i in 0..mean_a.data.len() {
            let (m, n) = (mean_a.data[i], mean_b.data[i]);
            let mut variance = (squares_a.data[i] - m * m).max(0.0);
            let other = (squares_b.data[i] - n * n).max(0.0);
            let covariance = products.data[i] - m * n;
            let mut gain = covariance / (variance + TINY);
            let mut rest = other - gain * covariance;
            if variance < TINY {
                (gain, rest, variance) = (0.0, other, 0.0);
            }
            if other < TINY {
                (gain, rest) = (0.0, 0.0);
            }
            if gain < 0.0 {
                (gain, rest) = (0.0, other);
            }
            kept += (1.0 + gain * gain * variance / (rest.max(TINY) + NOISE)).log10();
            all += (1.0 + variance / NOISE).log10();
        }
    }
    (all > 0.0).then(|| kept / all)
}

fn every_second(field: &Field) -> Field {
    let width = field.size.width as usize;
    let rows = field.data.chunks_exact(width).step_by(2);
    let data = rows.flat_map(|row| row.iter().copied().step_by(2)).collect();
    Field { size: Size::new(field.size.width.div_ceil(2), field.size.height.div_ceil(2)), data }
}
