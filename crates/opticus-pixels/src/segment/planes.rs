//! A picture as `f32` planes, smoothed and differentiated.

use crate::geometry::Size;
use crate::image::Image8;

/// Channels of a picture, each row by row.
pub(crate) struct Planes {
    pub size: Size,
    pub channels: Vec<Vec<f32>>,
}

impl Planes {
    /// The channels as they are, 0..=255.
    pub fn of(image: &Image8) -> Self {
        let channel =
            |c| image.data.iter().skip(c).step_by(image.channels.max(1)).map(|v| f32::from(*v)).collect();
        Self { size: image.size, channels: (0..image.channels).map(channel).collect() }
    }

    /// Smoothed with a Gaussian of a width in pixels, not at all for 0; beyond the edges the picture goes on as it
    /// ends.
    pub fn smoothed(&self, sigma: f32) -> Self {
        let kernel = gaussian(sigma);
        self.map(|plane| self.columns(&self.rows(plane, &kernel), &kernel))
    }

    /// Derivatives along x and along y of the picture smoothed with a Gaussian, in levels a pixel.
    pub fn gradient(&self, sigma: f32) -> [Self; 2] {
        let smooth = gaussian(sigma);
        let slope = derivative(sigma);
        [
            self.map(|plane| self.columns(&self.rows(plane, &slope), &smooth)),
            self.map(|plane| self.columns(&self.rows(plane, &smooth), &slope)),
        ]
    }

    fn map(&self, f: impl Fn(&[f32]) -> Vec<f32>) -> Self {
        Self { size: self.size, channels: self.channels.iter().map(|plane| f(plane)).collect() }
    }

    fn rows(&self, plane: &[f32], kernel: &[f32]) -> Vec<f32> {
        let (width, radius) = (self.size.width as usize, kernel.len() / 2);
        let mut out = vec![0.0; plane.len()];
        let mut padded = vec![0.0; width + 2 * radius];
        for (row, out) in plane.chunks_exact(width.max(1)).zip(out.chunks_exact_mut(width.max(1))) {
            padded[..radius].fill(row[0]);
            padded[radius..radius + width].copy_from_slice(row);
            padded[radius + width..].fill(row[width - 1]);
            for (tap, weight) in kernel.iter().enumerate() {
                add(out, &padded[tap..tap + width], *weight);
            }
        }
        out
    }

    fn columns(&self, plane: &[f32], kernel: &[f32]) -> Vec<f32> {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let mut out = vec![0.0; plane.len()];
        for (y, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
            for (tap, weight) in kernel.iter().enumerate() {
                let from = (y + tap).saturating_sub(kernel.len() / 2).min(height - 1);
                add(out, &plane[from * width..(from + 1) * width], *weight);
            }
        }
        out
    }
}

fn add(out: &mut [f32], row: &[f32], weight: f32) {
    for (out, v) in out.iter_mut().zip(row) {
        *out += weight * v;
    }
}

/// A Gaussian that sums to 1, to four widths on either side.
fn gaussian(sigma: f32) -> Vec<f32> {
    if sigma.is_nan() || sigma <= 0.0 {
        return vec![1.0];
    }
    let sigma = sigma.min(100.0);
    let radius = (4.0 * sigma).ceil() as i32;
    let weights: Vec<f32> = (-radius..=radius).map(|x| (-0.5 * (x as f32 / sigma).powi(2)).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// The derivative of a Gaussian, such that a ramp of one level a pixel gives 1.
fn derivative(sigma: f32) -> Vec<f32> {
    let smooth = gaussian(sigma);
    let radius = (smooth.len() / 2) as f32;
    let weights: Vec<f32> = smooth.iter().enumerate().map(|(i, w)| (i as f32 - radius) * w).collect();
    let ramp: f32 = weights.iter().enumerate().map(|(i, w)| (i as f32 - radius) * w).sum();
    weights.into_iter().map(|w| if ramp > 0.0 { w / ramp } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(x: f32, y: f32) -> Planes {
        let value = |i: usize| x * (i % 40) as f32 + y * (i / 40) as f32;
        Planes { size: Size::new(40, 30), channels: vec![(0..1200).map(value).collect()] }
    }

    #[test]
    fn a_ramp_has_its_slope() {
        let [dx, dy] = ramp(2.0, -3.0).gradient(1.0);
        let at = 15 * 40 + 20;
        assert!((dx.channels[0][at] - 2.0).abs() < 1e-4 && (dy.channels[0][at] + 3.0).abs() < 1e-4);
    }

    #[test]
    fn smoothing_keeps_the_light_and_a_ramp() {
        let mut spot = Planes { size: Size::new(40, 30), channels: vec![vec![0.0; 1200]] };
        spot.channels[0][15 * 40 + 20] = 100.0;
        let smooth = spot.smoothed(1.5);
        assert!((smooth.channels[0].iter().sum::<f32>() - 100.0).abs() < 1e-3);
        // The middle of a Gaussian of two dimensions is 1 / (2 π σ²) high.
        let middle = 100.0 / (2.0 * std::f32::consts::PI * 1.5 * 1.5);
        assert!((smooth.channels[0][15 * 40 + 20] - middle).abs() < 0.01);
        let at = 15 * 40 + 20;
        assert!((ramp(1.0, 1.0).smoothed(2.0).channels[0][at] - 35.0).abs() < 1e-3);
        assert_eq!(ramp(1.0, 1.0).smoothed(0.0).channels, ramp(1.0, 1.0).channels);
    }
}
