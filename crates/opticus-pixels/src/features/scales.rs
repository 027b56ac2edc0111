//! A picture at rising smoothness, in octaves of halved size (Lowe 2004, section 3).

use pulp::Arch;

use crate::geometry::Size;

/// Scales an octave at which points are sought.
pub const SCALES: usize = 3;
/// Smoothed pictures an octave: one difference more on either side.
pub const LEVELS: usize = SCALES + 3;
/// Standard deviation of the first one in an octave, in its pixels.
pub const SIGMA: f32 = 1.6;
/// Smoothness that a camera's picture has already.
const CAMERA: f32 = 0.5;
/// Pixels a side of the smallest octave.
const SMALLEST: u32 = 24;

/// One octave: planes of one size.
pub struct Octave {
    pub width: usize,
    pub height: usize,
    /// `LEVELS` planes; their standard deviations grow by 2^(1/SCALES).
    pub levels: Vec<Vec<f32>>,
}

pub struct Octaves(pub Vec<Octave>);

impl Octaves {
    pub fn of(grey: &[f32], size: Size, arch: Arch) -> Self {
        let mut octaves: Vec<Octave> = Vec::new();
        let factor = 2f32.powf(1.0 / SCALES as f32);
        let mut next = (size, blurred(grey, size, (SIGMA * SIGMA - CAMERA * CAMERA).sqrt(), arch));
        loop {
            let (size, first) = next;
            let mut levels = vec![first];
            for level in 1..LEVELS {
                let had = SIGMA * factor.powi(level as i32 - 1);
                let more = had * (factor * factor - 1.0).sqrt();
                let plane = blurred(&levels[level - 1], size, more, arch);
                levels.push(plane);
            }
            let [width, height] = [size.width as usize, size.height as usize];
            let halved = Size::new(size.width / 2, size.height / 2);
            let base = &levels[SCALES];
            let rows = (0..halved.height as usize).map(|y| &base[2 * y * width..][..width]);
            let half = rows.flat_map(|row| row.iter().step_by(2).take(width / 2)).copied().collect();
            octaves.push(Octave { width, height, levels });
            if halved.width.min(halved.height) < SMALLEST {
                return Self(octaves);
            }
            next = (halved, half);
        }
    }

    /// Pixels of the picture to one of this octave.
    pub fn step(&self, octave: usize) -> f32 {
        2f32.powi(octave as i32)
    }
}

/// Gaussian smoothing, the edge pixel repeated.
fn blurred(plane: &[f32], size: Size, sigma: f32, arch: Arch) -> Vec<f32> {
    let [w, h] = [size.width as usize, size.height as usize];
    let radius = (3.5 * sigma).ceil() as usize;
    let weights: Vec<f32> = (0..=radius).map(|i| (-((i * i) as f32) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f32 = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
    let weights: Vec<f32> = weights.iter().map(|v| v / sum).collect();
    let mut out = vec![0.0f32; w * h];
    let mut wide = vec![0.0f32; w + 2 * radius];
    for (y, out) in out.chunks_exact_mut(w).enumerate() {
        let row = |d: isize| {
            let y = (y as isize + d).clamp(0, h as isize - 1) as usize;
            &plane[y * w..][..w]
        };
        let inside = &mut wide[radius..radius + w];
        arch.dispatch(|| scale(row(0), weights[0], inside));
        for (d, weight) in weights.iter().enumerate().skip(1) {
            arch.dispatch(|| add_pair(row(-(d as isize)), row(d as isize), *weight, inside));
        }
        let (first, last) = (wide[radius], wide[radius + w - 1]);
        wide[..radius].fill(first);
        wide[radius + w..].fill(last);
        arch.dispatch(|| scale(&wide[radius..], weights[0], out));
        for (d, weight) in weights.iter().enumerate().skip(1) {
            arch.dispatch(|| add_pair(&wide[radius - d..], &wide[radius + d..], *weight, out));
        }
    }
    out
}

#[inline(always)]
fn scale(from: &[f32], weight: f32, out: &mut [f32]) {
    out.iter_mut().zip(from).for_each(|(out, v)| *out = v * weight);
}

#[inline(always)]
fn add_pair(a: &[f32], b: &[f32], weight: f32, out: &mut [f32]) {
    let n = out.len();
    let (a, b) = (&a[..n], &b[..n]);
    for i in 0..n {
        out[i] += (a[i] + b[i]) * weight;
    }
}
