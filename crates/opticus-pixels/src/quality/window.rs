//! Means over windows that lie wholly within the picture.

use rayon::prelude::*;

use crate::geometry::Size;

/// A plane of f64 values.
#[derive(Clone, Debug)]
pub struct Field {
    pub size: Size,
    pub data: Vec<f64>,
}

/// A Gaussian of `n` taps of sum 1.
pub fn gaussian(n: usize, sigma: f64) -> Vec<f64> {
    let middle = (n as f64 - 1.0) / 2.0;
    let taps: Vec<f64> =
        (0..n).map(|i| (-(i as f64 - middle).powi(2) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = taps.iter().sum();
    taps.into_iter().map(|t| t / sum).collect()
}

/// `n` equal taps of sum 1.
pub fn uniform(n: usize) -> Vec<f64> {
    vec![1.0 / n as f64; n]
}

/// The mean of `value(i)` over windows with these weights along both sides; `None` if the picture is smaller.
pub fn windowed(size: Size, taps: &[f64], value: impl Fn(usize) -> f64 + Sync) -> Option<Field> {
    let [w, h] = [size.width as usize, size.height as usize];
    let n = taps.len();
    if w < n || h < n {
        return None;
    }
    let (to_w, to_h) = (w - n + 1, h - n + 1);
    let mut across = vec![0.0f64; to_w * h];
    across.par_chunks_mut(to_w).enumerate().for_each(|(y, out)| {
        let row: Vec<f64> = (y * w..(y + 1) * w).map(&value).collect();
        for (k, tap) in taps.iter().enumerate() {
            out.iter_mut().zip(&row[k..]).for_each(|(out, v)| *out += tap * v);
        }
    });
    let mut data = vec![0.0f64; to_w * to_h];
    data.par_chunks_mut(to_w).enumerate().for_each(|(y, out)| {
        for (k, tap) in taps.iter().enumerate() {
            out.iter_mut().zip(&across[(y + k) * to_w..]).for_each(|(out, v)| *out += tap * v);
        }
    });
    Some(Field { size: Size::new(to_w as u32, to_h as u32), data })
}
