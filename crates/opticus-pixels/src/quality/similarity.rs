//! Structural similarity, at one scale and at five.

use super::window::{gaussian, windowed};
use crate::geometry::Size;

/// (K₁ L)² and (K₂ L)² for 8-bit levels.
const C: [f64; 2] = [6.5025, 58.5225];

/// Weights of the five scales (Wang, Simoncelli and Bovik 2003, section 3.2).
const SCALES: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// SSIM of two planes of levels 0 to 255: windows of 11×11 with a Gaussian of 1.5 pixels, those wholly within the
/// picture, as the authors' program. `None` for pictures below 11 pixels a side.
pub fn ssim(a: &[f64], b: &[f64], size: Size) -> Option<f64> {
    parts(a, b, size).map(|[whole, _]| whole)
}

/// The mean of the whole measure and of its part for contrast and structure.
fn parts(a: &[f64], b: &[f64], size: Size) -> Option<[f64; 2]> {
    let taps = gaussian(11, 1.5);
    let mean_a = windowed(size, &taps, |i| a[i])?;
    let mean_b = windowed(size, &taps, |i| b[i])?;
    let squares_a = windowed(size, &taps, |i| a[i] * a[i])?;
    let squares_b = windowed(size, &taps, |i| b[i] * b[i])?;
    let products = windowed(size, &taps, |i| a[i] * b[i])?;
    let (mut whole, mut contrast) = (0.0, 0.0);
    for i in 0..mean_a.data.len() {
        let (m, n) = (mean_a.data[i], mean_b.data[i]);
        let (va, vb) = (squares_a.data[i] - m * m, squares_b.data[i] - n * n);
        let cs = (2.0 * (products.data[i] - m * n) + C[1]) / (va + vb + C[1]);
        contrast += cs;
        whole += cs * (2.0 * m * n + C[0]) / (m * m + n * n + C[0]);
    }
    let count = mean_a.data.len() as f64;
    Some([whole / count, contrast / count])
}

/// MS-SSIM of two planes of levels 0 to 255. `None` for pictures below 176 pixels a side, or whose contrast is opposite
/// on average at a scale.
pub fn ms_ssim(a: &[f64], b: &[f64], size: Size) -> Option<f64> {
    let (mut a, mut b, mut size) = (a.to_vec(), b.to_vec(), size);
    let mut product = 1.0f64;
    for (scale, weight) in SCALES.into_iter().enumerate() {
        let [whole, contrast] = parts(&a, &b, size)?;
        let part = if scale == SCALES.len() - 1 { whole } else { contrast };
        if part < 0.0 {
            return None;
        }
        product *= part.powf(weight);
        let next = Size::new(size.width.div_ceil(2), size.height.div_ceil(2));
        [a, b] = [halved(&a, size), halved(&b, size)];
        size = next;
    }
    Some(product)
}

/// Means of two by two pixels; the last row and column are repeated.
fn halved(plane: &[f64], size: Size) -> Vec<f64> {
    let [w, h] = [size.width as usize, size.height as usize];
    let at = |x: usize, y: usize| plane[y.min(h - 1) * w + x.min(w - 1)];
    let block = |x: usize, y: usize| (at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1)) / 4.0;
    (0..h).step_by(2).flat_map(|y| (0..w).step_by(2).map(move |x| (x, y))).map(|(x, y)| block(x, y)).collect()
}
